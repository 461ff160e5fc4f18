"""Reliable imports as Dagster assets, ops, jobs, sensors and schedules.

A run works a batch, and a batch may have many runs: the truth about both is in PostgreSQL, table
`reliable_imports.import_runs`, and the runs' tags mirror it.

Each of these imports only from those below it:

dev/             the command `reliable-imports dev`
components/      ReliableImportsComponent, for `dg`
definitions      everything for a team's processors in one call
sensors/         what launches runs by itself
build/           builders of assets, ops, jobs and schedules
asset_decorator  a decorator for several processors in one step
upstream         what an upstream import did, for assets that build on it
resource         ReliableImportsResource, the database
translator       how a processor appears among Dagster's assets
run/             what a run does with a batch: accept, work, report
options          what a team may say of all its assets in Dagster's own words
partitions       a processor's `partitions` as Dagster's
freshness        how old an asset may be, from its processor's schedule
storage          Dagster's own storage in the same database
discovery        from the names of packages to a registry of processors
names            what things are called in Dagster
"""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

try:
    from dagster_shared.libraries import DagsterLibraryRegistry
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "Dagster is not installed: pip install 'reliable-imports[dagster]'", name=error.name
    ) from error

from reliable_imports_dagster.asset_decorator import reliable_imports_assets
from reliable_imports_dagster.build.assets import build_import_asset, build_import_assets
from reliable_imports_dagster.build.jobs import build_import_job, build_import_jobs
from reliable_imports_dagster.build.ops import build_import_op
from reliable_imports_dagster.build.parallel import build_parallel_import_job
from reliable_imports_dagster.build.reprocess import build_reprocess_job, build_reprocess_op
from reliable_imports_dagster.build.schedules import build_import_schedule, build_import_schedules
from reliable_imports_dagster.components.component import ReliableImportsComponent
from reliable_imports_dagster.definitions import build_reliable_imports_defs
from reliable_imports_dagster.options import AssetOptions
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run.config import ImportConfig, ReprocessConfig
from reliable_imports_dagster.run.report.run_failure import FailRunOn
from reliable_imports_dagster.sensors.abandoned import build_abandoned_batches_sensor
from reliable_imports_dagster.sensors.all_failures import build_all_failures_sensor
from reliable_imports_dagster.sensors.changed_code import build_changed_code_sensor
from reliable_imports_dagster.sensors.ended_runs import build_run_ended_sensors
from reliable_imports_dagster.sensors.files import build_file_sensor
from reliable_imports_dagster.sensors.references import build_missing_references_sensor
from reliable_imports_dagster.sensors.report import build_report_sensor
from reliable_imports_dagster.sensors.reprocess import build_reprocess_sensor
from reliable_imports_dagster.sensors.waiting import build_waiting_batches_sensor
from reliable_imports_dagster.storage import dagster_postgres_url
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, build_import_asset_specs
from reliable_imports_dagster.upstream import upstream_batch

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
