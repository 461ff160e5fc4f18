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
    """The summary of the batch of *batch_type* that this run has worked: the last of them if it was several.

    If neither this run nor one that it repeats has worked any, such as where the asset is materialized by itself, the
    batch of the upstream asset's latest materialization; of the same partition, where this run has one. Whatever is
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
    run = run_of(op_context)
    while run is not None:
        worked = manager.list_runs(dagster_run_id=run.run_id, batch_type=batch_type)
        if worked:
            return manager.get_summary(worked[-1].batch_id)
        run = None if run.parent_run_id is None else op_context.instance.get_run_by_id(run.parent_run_id)
    key = dg.AssetKey.from_coercible(asset_key or batch_type)
    partition = partition_of(op_context)
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
    for record in op_context.instance.fetch_materializations(wanted, limit=1).records:
        metadata = record.event_log_entry.asset_materialization.metadata
        if "batch_id" in metadata:
            return manager.get_summary(int(metadata["batch_id"].value))
    raise ConfigurationError(
        f"no batch of {batch_type!r} was worked by this run, and none has materialized asset {key.to_user_string()}"
        + ("" if partition is None else f", partition {partition}")
        + "; import one first"
    )
