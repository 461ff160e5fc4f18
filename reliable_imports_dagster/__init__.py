"""Reliable imports as Dagster assets, ops, jobs, sensors and schedules.

A run works a batch, and a batch may have many runs: the truth about both is in PostgreSQL, table
`reliable_imports.import_runs`, and the runs' tags mirror it.
"""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from dagster_shared.libraries import DagsterLibraryRegistry

from reliable_imports_dagster.assets import build_import_asset, build_import_assets, reliable_imports_assets
from reliable_imports_dagster.component import ReliableImportsComponent
from reliable_imports_dagster.config import ImportConfig, ReprocessConfig
from reliable_imports_dagster.definitions import build_reliable_imports_defs
from reliable_imports_dagster.file_sensor import build_file_sensor
from reliable_imports_dagster.jobs import build_import_job, build_import_jobs
from reliable_imports_dagster.ops import build_import_op
from reliable_imports_dagster.options import AssetOptions
from reliable_imports_dagster.report import FailRunOn
from reliable_imports_dagster.reprocess import build_reprocess_job, build_reprocess_op
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.schedules import build_import_schedule, build_import_schedules
from reliable_imports_dagster.sensors.all_failures import build_all_failures_sensor
from reliable_imports_dagster.sensors.changed_code import build_changed_code_sensor
from reliable_imports_dagster.sensors.references import build_missing_references_sensor
from reliable_imports_dagster.sensors.report import build_report_sensor
from reliable_imports_dagster.sensors.reprocess import build_reprocess_sensor
from reliable_imports_dagster.sensors.resume import (
    build_abandoned_batches_sensor,
    build_run_ended_sensors,
    build_waiting_batches_sensor,
)
from reliable_imports_dagster.storage import dagster_postgres_url
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, build_import_asset_specs
from reliable_imports_dagster.upstream import upstream_batch
from reliable_imports_dagster.workers import build_parallel_import_job

__all__ = [
    "AssetOptions",
    "DagsterReliableImportsTranslator",
    "FailRunOn",
    "ImportConfig",
    "ReliableImportsComponent",
    "ReliableImportsResource",
    "ReprocessConfig",
    "build_abandoned_batches_sensor",
    "build_all_failures_sensor",
    "build_changed_code_sensor",
    "build_file_sensor",
    "build_import_asset",
    "build_import_asset_specs",
    "build_import_assets",
    "build_import_job",
    "build_import_jobs",
    "build_import_op",
    "build_import_schedule",
    "build_import_schedules",
    "build_missing_references_sensor",
    "build_parallel_import_job",
    "build_reliable_imports_defs",
    "build_report_sensor",
    "build_reprocess_job",
    "build_reprocess_op",
    "build_reprocess_sensor",
    "build_run_ended_sensors",
    "build_waiting_batches_sensor",
    "dagster_postgres_url",
    "reliable_imports_assets",
    "upstream_batch",
]

with suppress(PackageNotFoundError):  # run from a source tree
    DagsterLibraryRegistry.register("reliable-imports", version("reliable-imports"), is_dagster_package=False)
