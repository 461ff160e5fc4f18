"""What things are called in Dagster; jobs, ops and config all use the same words."""

import re

from dagster._core.definitions.utils import DISALLOWED_NAMES  # no public name

RESOURCE = "reliable_imports"
GROUP = "reliable_imports"
REPROCESS = "reprocess_failed_items"
NO_FAILED_ITEMS = "no_failed_items"
FAILURE_RATE = "failure_rate"
RECONCILED = "reconciled"


def legal_name(batch_type: str) -> str:
    """Dagster takes nothing else in the names of ops, jobs and tags."""
    return re.sub(r"[^A-Za-z0-9_]", "_", batch_type)


def asset_op_name(batch_type: str) -> str:
    """Of the op that materializes the asset; run config calls it by this name. Words that Dagster keeps for itself,
    such as `type` and `input`, get a `_`."""
    name = legal_name(batch_type)
    return f"{name}_" if name in DISALLOWED_NAMES else name


def import_name(batch_type: str) -> str:
    """Of the job that imports one batch type."""
    return f"import_{legal_name(batch_type)}"


def reprocess_name(batch_type: str | None) -> str:
    """Of the job that runs failed items again, and of the op in it; of all batch types if None."""
    return REPROCESS if batch_type is None else f"reprocess_{legal_name(batch_type)}"


def definition_name(job: str) -> str:
    """Of the definition of a job's op: within one code location Dagster wants no op named as a job is."""
    return f"{job}_op"
