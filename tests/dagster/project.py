"""A code location as a team would have it, for subprocesses too; its database is the variable's."""

from __future__ import annotations

import dagster as dg

from reliable_imports_dagster import build_reliable_imports_defs

defs = build_reliable_imports_defs("tests.dagster.doubles")


def import_notes() -> dg.JobDefinition:
    return defs.resolve_job_def("import_notes")


def reprocess_failed_items() -> dg.JobDefinition:
    return defs.resolve_job_def("reprocess_failed_items")
