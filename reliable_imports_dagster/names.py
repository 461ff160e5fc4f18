"""What things are called in Dagster; jobs, ops and config all use the same words."""

import re

RESOURCE = "reliable_imports"
GROUP = "reliable_imports"
REPROCESS = "reprocess_failed_items"
NO_FAILED_ITEMS = "no_failed_items"
FAILURE_RATE = "failure_rate"
RECONCILED = "reconciled"


def asset_op_name(batch_type: str) -> str:
    """Of the op that materializes the asset; run config calls it by this name."""
    # Dagster takes nothing else in the names of ops and jobs.
    return re.sub(r"[^A-Za-z0-9_]", "_", batch_type)


def import_name(batch_type: str) -> str:
    """Of the job that imports one batch type."""
    return f"import_{asset_op_name(batch_type)}"


def reprocess_name(batch_type: str | None) -> str:
    """Of the job that runs failed items again, and of the op in it; of all batch types if None."""
    return REPROCESS if batch_type is None else f"reprocess_{asset_op_name(batch_type)}"


def definition_name(job: str) -> str:
    """Of the definition of a job's op: within one code location Dagster wants no op named as a job is."""
    return f"{job}_op"
