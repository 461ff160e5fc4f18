"""Everything for a team's processors in one call."""

from functools import partial

import dagster as dg
from typing_extensions import Unpack

from reliable_imports import ProcessorRegistry
from reliable_imports_dagster.build.assets import Execute, assets_of, import_asset
from reliable_imports_dagster.build.jobs import build_import_jobs
from reliable_imports_dagster.build.reprocess import build_reprocess_job
from reliable_imports_dagster.build.schedules import build_import_schedules
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import RESOURCE
from reliable_imports_dagster.options import AssetOptions, of_a_job
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run.report.run_failure import FailRunOn
from reliable_imports_dagster.sensors.abandoned import build_abandoned_batches_sensor
from reliable_imports_dagster.sensors.changed_code import build_changed_code_sensor
from reliable_imports_dagster.sensors.ended_runs import build_run_ended_sensors
from reliable_imports_dagster.sensors.references import build_missing_references_sensor
from reliable_imports_dagster.sensors.report import build_report_sensor
from reliable_imports_dagster.sensors.reprocess import build_reprocess_sensor
from reliable_imports_dagster.sensors.waiting import build_waiting_batches_sensor
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, WithOptions


def build_reliable_imports_defs(
    package_or_packages: Packages,
    *,
    resource: ReliableImportsResource | None = None,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
    pool: str | None = None,
    executor: dg.ExecutorDefinition | None = dg.in_process_executor,
    sensor_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    reprocess_sensor_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    schedule_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
    **options: Unpack[AssetOptions],
) -> dg.Definitions:
    """Assets, jobs, schedules and sensors for all processors; touches no database.

    For each processor an asset, the jobs `import_<type>` and `reprocess_<type>`, and a schedule if it names one; for
    all the job `reprocess_failed_items` and the sensors. Combine it with a team's own by `dg.Definitions.merge`.

    Args:
        package_or_packages: where the processors are, or a registry of them.
        resource: the database; by default as a ReliableImportsResource without arguments finds it.
        fail_run_on: when a run fails because of its items: `failed`, if none was completed; `any_failure`; `never`.
        pool: a pool of Dagster's that imports and reprocess runs take a slot of.
        sensor_status: whether the sensors run from the start, all but the next one.
        reprocess_sensor_status: that of `reprocess_failed_items_sensor`.
        executor: for the jobs, and for assets that are materialized by hand; None leaves the latter to Dagster.
        options: of all assets, see `AssetOptions`; hooks, retries and the tags of ops also of the jobs that reprocess.

    Raises:
        DiscoveryError, DuplicateBatchType, InvalidProcessor: a package or a processor cannot be used.
    """
    registry = discover(package_or_packages)
    translator = WithOptions(translator, options)
    return dg.Definitions.merge(
        processor_defs(
            registry,
            translator=translator,
            fail_run_on=fail_run_on,
            pool=pool,
            executor=executor,
            schedule_status=schedule_status,
            options=options,
        ),
        shared_defs(
            registry,
            translator=translator,
            fail_run_on=fail_run_on,
            pool=pool,
            executor=executor,
            sensor_status=sensor_status,
            reprocess_sensor_status=reprocess_sensor_status,
            options=options,
        ),
        dg.Definitions(resources={RESOURCE: resource or ReliableImportsResource()}, executor=executor),
    )


def processor_defs(
    registry: ProcessorRegistry,
    *,
    translator: DagsterReliableImportsTranslator | None,
    fail_run_on: FailRunOn,
    pool: str | None,
    executor: dg.ExecutorDefinition | None,
    schedule_status: dg.DefaultScheduleStatus,
    options: AssetOptions | None = None,
    execute: Execute | None = None,
) -> dg.Definitions:
    """What there is for each processor by itself, but for its import job."""
    return dg.Definitions(
        assets=assets_of(
            registry, translator, execute or partial(import_asset, fail_run_on=fail_run_on), pool, options or {}
        ),
        jobs=[
            build_reprocess_job(
                registry,
                batch_type=processor.batch_type,
                translator=translator,
                fail_run_on=fail_run_on,
                pool=pool,
                executor=executor,
                **of_a_job(options or {}),
            )
            for processor in registry
        ],
        schedules=build_import_schedules(registry, translator=translator, default_status=schedule_status),
    )


def shared_defs(
    registry: ProcessorRegistry,
    *,
    translator: DagsterReliableImportsTranslator | None,
    fail_run_on: FailRunOn,
    pool: str | None,
    executor: dg.ExecutorDefinition | None,
    sensor_status: dg.DefaultSensorStatus,
    reprocess_sensor_status: dg.DefaultSensorStatus,
    options: AssetOptions | None = None,
) -> dg.Definitions:
    """What there is once in a code location: the sensors, and the jobs that they start.

    These stay together, for the sensors must hold the very job objects: Dagster takes an equal one for a second job of
    the name, and copies the jobs of each component as it loads them.
    """
    import_jobs = build_import_jobs(registry, translator=translator, executor=executor)
    sensors = [
        build_reprocess_sensor(registry, default_status=reprocess_sensor_status),
        build_missing_references_sensor(registry, default_status=sensor_status),
        build_changed_code_sensor(registry, default_status=sensor_status),
        build_report_sensor(registry, translator=translator, default_status=sensor_status),
    ]
    if import_jobs:
        sensors += [
            build_waiting_batches_sensor(registry, import_jobs, default_status=sensor_status),
            build_abandoned_batches_sensor(registry, import_jobs, default_status=sensor_status),
            *build_run_ended_sensors(registry, import_jobs, default_status=sensor_status),
        ]
    reprocess = build_reprocess_job(
        registry,
        translator=translator,
        fail_run_on=fail_run_on,
        pool=pool,
        executor=executor,
        **of_a_job(options or {}),
    )
    return dg.Definitions(jobs=[*import_jobs, reprocess], sensors=sensors)
