"""Where a step is: in a run of Dagster's, or called directly, as tests call an asset or an op."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.errors import DagsterInvalidPropertyError  # it has no public name
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
