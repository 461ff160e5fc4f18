"""A schedule for each processor that names one."""

import dagster as dg

from reliable_imports import BaseProcessor, InvalidProcessor
from reliable_imports.sources import file_name
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import import_name
from reliable_imports_dagster.partitions import partitions_of
from reliable_imports_dagster.run.params import required_params


def build_import_schedule(
    processor: type[BaseProcessor], *, default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED
) -> dg.ScheduleDefinition:
    """The schedule `import_<type>_schedule`, which launches the job `import_<type>` as `processor.schedule` says.

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
    partitions = partitions_of(processor)

    @dg.schedule(
        name=f"{job}_schedule",
        job_name=job,
        cron_schedule=processor.schedule,
        description=f"Imports {file_name(processor.source)} as {processor.batch_type}.",
        default_status=default_status,
    )
    def import_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if partitions is None:
            return dg.RunRequest()
        # The last one that has ended by now.
        with dg.partition_loading_context(effective_dt=context.scheduled_execution_time):
            partition = partitions.get_last_partition_key()
        if partition is None:
            return dg.SkipReason(f"the first partition of {processor.batch_type} has not ended yet")
        return dg.RunRequest(partition_key=partition)

    return import_schedule


def build_import_schedules(
    packages: Packages, *, default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED
) -> list[dg.ScheduleDefinition]:
    """The schedules of all processors in *packages* that have a `schedule`."""
    return [
        build_import_schedule(processor, default_status=default_status)
        for processor in discover(packages)
        if processor.schedule is not None
    ]
