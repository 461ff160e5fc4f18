"""What earlier runs have told of an asset, so that nothing is told twice and nothing never."""

from collections.abc import Sequence
from functools import cached_property

import dagster as dg

from reliable_imports import RunRecord
from reliable_imports_dagster.run.accept import repeated_runs
from reliable_imports_dagster.run.step import run_of

DATA_VERSION = "dagster/data_version"


class ToldBefore:
    """What the runs that this one repeats have told of an asset; they are asked for it once, and if need be."""

    def __init__(self, context: dg.OpExecutionContext, asset_key: dg.AssetKey) -> None:
        self._context = context
        self._asset_key = asset_key

    @cached_property
    def runs(self) -> Sequence[str]:
        return repeated_runs(self._context)[1:]

    @cached_property
    def batch_ids(self) -> frozenset[str]:
        """The batches that have materialized it."""
        events = [
            record.event_log_entry.asset_materialization
            for run_id in self.runs
            for record in self._context.instance.get_records_for_run(
                run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            ).records
        ]
        return frozenset(
            str(event.metadata["batch_id"].value)
            for event in events
            if event is not None and event.asset_key == self._asset_key
        )


def was_left_untold(runs: Sequence[RunRecord], batch_id: int, told_before: ToldBefore) -> bool:
    """Whether a run that this one repeats has worked the batch, and its process died before it could report it."""
    return bool(runs) and runs[-1].dagster_run_id in told_before.runs and str(batch_id) not in told_before.batch_ids


def data_version_now(context: dg.OpExecutionContext, asset_key: dg.AssetKey, partition: str | None) -> str | None:
    """The version of an asset's data, or of one partition's, by its latest materialization."""
    if run_of(context) is None:
        return None
    partitions = None if partition is None else [partition]
    wanted = dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=partitions)
    for record in context.instance.fetch_materializations(wanted, limit=1).records:
        event = record.asset_materialization
        return None if event is None else (event.tags or {}).get(DATA_VERSION)
    return None
