"""Where a step is: in a run of Dagster's, or called directly, as tests call an asset or an op."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.errors import DagsterInvalidPropertyError, DagsterInvariantViolationError  # no public names
from dagster_shared.check import CheckError

from reliable_imports_dagster.names import RESOURCE


def run_of(context: dg.OpExecutionContext) -> dg.DagsterRun | None:
    """The run, as it was when it began; None if there is none."""
    try:
        return context.run
    except DagsterInvalidPropertyError:
        return None


def run_id_of(context: dg.OpExecutionContext) -> str | None:
    return None if run_of(context) is None else context.run_id


def own_id(context: dg.OpExecutionContext) -> str:
    """The run's id; of a call without a run, one of its own every time."""
    return run_id_of(context) or f"call:{uuid4()}"


def path_of(context: dg.OpExecutionContext) -> Sequence[str]:
    """The step's name, after those of the graphs that it is in."""
    return [context.op_def.name] if run_of(context) is None else context.op_handle.path


def partition_of(context: dg.OpExecutionContext) -> str | None:
    """The one partition that the step is for, if it is for one."""
    return context.partition_key if context.has_partition_key else None


def resource_of(context: dg.OpExecutionContext | dg.SensorEvaluationContext) -> Any:
    """The ReliableImportsResource; None where a test has called an op directly and passed it as an argument."""
    return getattr(context.resources, RESOURCE, None)


def asset_graph_of(context: dg.OpExecutionContext | dg.SensorEvaluationContext) -> Any:
    """All assets of the code location; those of the job, where that runs in the process of a test; else None."""
    if isinstance(context, dg.SensorEvaluationContext):
        return None if context.repository_def is None else context.repository_def.asset_graph
    try:
        return context.repository_def.asset_graph
    except DagsterInvalidPropertyError:  # called directly
        return None
    except CheckError:  # the run has a job, and no code location
        return context.job_def.asset_layer.asset_graph


def partitions_of_asset(
    context: dg.OpExecutionContext | dg.SensorEvaluationContext, asset_key: dg.AssetKey
) -> dg.PartitionsDefinition[Any] | None:
    """Those of an asset, as the code location defines it; None if it has none, or is not there."""
    spec = _spec_of(context, asset_key)
    return None if spec is None else spec.partitions_def


def has_no_partitions(context: dg.OpExecutionContext | dg.SensorEvaluationContext, asset_key: dg.AssetKey) -> bool:
    """Whether the code location has the asset, and it has no partitions."""
    spec = _spec_of(context, asset_key)
    return spec is not None and spec.partitions_def is None


def _spec_of(context: dg.OpExecutionContext | dg.SensorEvaluationContext, asset_key: dg.AssetKey) -> Any:
    graph = asset_graph_of(context)
    if graph is not None:
        return graph.get(asset_key) if graph.has(asset_key) else None
    if isinstance(context, dg.SensorEvaluationContext):  # evaluated by a test, outside a code location
        return None
    try:
        specs = context.assets_def.specs_by_key
    except (CheckError, DagsterInvalidPropertyError):  # an op, called directly
        return None
    return specs.get(asset_key)


def partitions_of_step(context: dg.OpExecutionContext, asset_key: dg.AssetKey) -> Sequence[str | None]:
    """The partitions of the asset that the step is for, as a single-run backfill has several; [None] if for none.

    A run may have partitions for the sake of other assets alone.
    """
    if has_no_partitions(context, asset_key):
        return [None]
    if context.has_partition_key:
        return [context.partition_key]
    return list(context.partition_keys) if context.has_partition_key_range else [None]


def key_of_partition(partitions_def: dg.PartitionsDefinition[Any] | None, name: str) -> str:
    """The key of a partition, as Dagster's events want it, from the text that a batch keeps."""
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        try:
            return partitions_def.get_partition_key_from_str(name)
        except (CheckError, DagsterInvariantViolationError):  # there were other dimensions when the batch was made
            return name
    return name
