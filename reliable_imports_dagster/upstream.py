"""What an upstream import did, for assets, checks and ops that build on it."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from reliable_imports import BatchManager, BatchSummary, ConfigurationError
from reliable_imports_dagster.names import RESOURCE
from reliable_imports_dagster.run.step import partition_of, run_of


def upstream_batch(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext,
    batch_type: str,
    *,
    asset_key: dg.AssetKey | Sequence[str] | str | None = None,
) -> BatchSummary:
    """The summary of the batch of *batch_type* that this run has worked, or was given: the last of them if several.

    If neither this run nor one that it repeats has imported any, such as where the asset is materialized by itself, the
    batch of the upstream asset's latest materialization; of the same partition, where both have partitions. Whatever is
    imported meanwhile makes no difference to a run that imports for itself.

        @dg.asset(deps=["customers"], required_resource_keys={"reliable_imports"})
        def letters(context: dg.AssetExecutionContext) -> None:
            batch = upstream_batch(context, "customers")

    Args:
        asset_key: of the upstream asset, if that is not the batch type.

    Raises:
        ConfigurationError: the asset has never been materialized by a batch.
    """
    op_context: Any = getattr(context, "op_execution_context", context)
    manager: BatchManager = getattr(op_context.resources, RESOURCE).manager()
    key = dg.AssetKey.from_coercible(asset_key or batch_type)
    run = run_of(op_context)
    while run is not None:
        batch_id = _batch_of(op_context.instance, manager, run.run_id, batch_type, key)
        if batch_id is not None:
            return manager.get_summary(batch_id)
        run = None if run.parent_run_id is None else op_context.instance.get_run_by_id(run.parent_run_id)
    partition = partition_of(op_context)
    batch_id = _latest(op_context.instance, key, partition)
    if batch_id is not None:
        return manager.get_summary(batch_id)
    raise ConfigurationError(
        f"no batch of {batch_type!r} was worked by this run, and none has materialized asset {key.to_user_string()}"
        + ("" if partition is None else f", partition {partition}")
        + "; import one first"
    )


def _batch_of(
    instance: dg.DagsterInstance, manager: BatchManager, run_id: str, batch_type: str, key: dg.AssetKey
) -> int | None:
    """The batch that a run has worked last, or, if it was finished before, has told of."""
    worked = manager.list_runs(dagster_run_id=run_id, batch_type=batch_type)
    if worked:
        return worked[-1].batch_id
    events = instance.get_records_for_run(
        run_id, of_type={dg.DagsterEventType.ASSET_OBSERVATION, dg.DagsterEventType.ASSET_MATERIALIZATION}
    )
    for record in reversed(events.records):
        entry = record.event_log_entry
        told = entry.asset_observation or entry.asset_materialization
        if told is not None and told.asset_key == key and "batch_id" in told.metadata:
            return int(str(told.metadata["batch_id"].value))
    return None


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> int | None:
    """The batch that has materialized an asset last; of a partition, unless the asset has none."""
    of_partition = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
    found = list(instance.fetch_materializations(of_partition, limit=1).records)
    if not found and partition is not None:
        latest = instance.fetch_materializations(key, limit=1).records
        found = [record for record in latest if record.partition_key is None]
    for record in found:
        told = record.asset_materialization
        if told is not None and "batch_id" in told.metadata:
            return int(str(told.metadata["batch_id"].value))
    return None
