"""The suite's processors as a code location of Dagster; its database is the variable's."""

from __future__ import annotations

from reliable_imports_dagster import build_reliable_imports_defs

defs = build_reliable_imports_defs("tests.faults.targets")
