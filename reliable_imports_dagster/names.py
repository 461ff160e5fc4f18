"""What things are called in Dagster; jobs, ops and config all use the same words."""

import re

RESOURCE = "reliable_imports"
GROUP = "reliable_imports"
REPROCESS = "reprocess_failed_items"
NO_FAILED_ITEMS = "no_failed_items"


def import_name(batch_type: str) -> str:
    """Of the op, and of the job, that imports one batch type."""
    return f"import_{_identifier(batch_type)}"


def reprocess_name(batch_type: str | None) -> str:
    """Of the op, and of the job, that runs failed items again; of all batch types if None."""
    return REPROCESS if batch_type is None else f"reprocess_{_identifier(batch_type)}"


def _identifier(batch_type: str) -> str:
    # Dagster takes nothing else in names of ops and jobs.
    return re.sub(r"[^A-Za-z0-9_]", "_", batch_type)
