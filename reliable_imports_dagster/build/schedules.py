"""A schedule for each processor that names one."""

import dagster as dg

from reliable_imports import BaseProcessor, InvalidProcessor
from reliable_imports.sources import file_name
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import import_name
from reliable_imports_dagster.partitions import last_partitions
from reliable_imports_dagster.run.params import required_params
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator


def build_import_schedule(
    processor: type[BaseProcessor],
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
) -> dg.ScheduleDefinition:
    """The schedule `import_<type>_schedule`, which launches the job `import_<type>` as `processor.schedule` says.

    If the asset has partitions, a run is launched for the last one that has ended; for each partition, if they have
    no time; for each of that time, if they have several dimensions.

    Raises:
        InvalidProcessor: it has no `schedule`, or no `source` that a run without config could import, or
            required `Params`.
    """
    if processor.schedule is None:
        raise InvalidProcessor(processor.__qualname__, "it has no schedule")
    if processor.source is None:
        raise InvalidProcessor(processor.__qualname__, "it has a schedule but no source to import")
    if missing := required_params(processor):
        raise InvalidProcessor(
            processor.__qualname__, f"it has a schedule, but its Params have no default for {', '.join(missing)}"
        )
    job = import_name(processor.batch_type)
    partitions = (translator or DagsterReliableImportsTranslator()).get_asset_spec(processor).partitions_def

    @dg.schedule(
        name=f"{job}_schedule",
        job_name=job,
        cron_schedule=processor.schedule,
        description=f"Imports {file_name(processor.source)} as {processor.batch_type}.",
        default_status=default_status,
    )
    def import_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        if partitions is None:
            return [dg.RunRequest()]
        keys = last_partitions(partitions, context.scheduled_execution_time, _instance_of(context))
        if not keys:
            return dg.SkipReason(f"{processor.batch_type} has no partition that has ended yet")
        if len(keys) == 1:
            return [dg.RunRequest(partition_key=keys[0])]
        # Dagster tells several runs of a tick apart by their keys.
        return [dg.RunRequest(run_key=f"{context.scheduled_execution_time}:{key}", partition_key=key) for key in keys]

    return import_schedule


def _instance_of(context: dg.ScheduleEvaluationContext) -> dg.DagsterInstance | None:
    """None in a test that gives none, or an ephemeral one, which Dagster does not pass on."""
    return None if context.instance_ref is None else context.instance


def build_import_schedules(
    packages: Packages,
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
) -> list[dg.ScheduleDefinition]:
    """The schedules of all processors in *packages* that have a `schedule`."""
    return [
        build_import_schedule(processor, translator=translator, default_status=default_status)
        for processor in discover(packages)
        if processor.schedule is not None
    ]
