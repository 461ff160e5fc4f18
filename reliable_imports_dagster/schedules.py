"""A schedule for each processor that names one."""

import dagster as dg

from reliable_imports import BaseProcessor, InvalidProcessor
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import import_name


def build_import_schedule(
    processor: type[BaseProcessor], *, default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED
) -> dg.ScheduleDefinition:
    """The schedule `import_<type>_schedule`, which launches the job `import_<type>` as `processor.schedule` says.

    Raises:
        InvalidProcessor: it has no `schedule`, or no `source` that a run without config could import.
    """
    if processor.schedule is None:
        raise InvalidProcessor(processor.__qualname__, "it has no schedule")
    if processor.source is None:
        raise InvalidProcessor(processor.__qualname__, "it has a schedule but no source to import")
    job = import_name(processor.batch_type)
    return dg.ScheduleDefinition(
        name=f"{job}_schedule",
        job_name=job,
        cron_schedule=processor.schedule,
        description=f"Imports {processor.source.name} as {processor.batch_type}.",
        default_status=default_status,
    )


def build_import_schedules(
    packages: Packages, *, default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED
) -> list[dg.ScheduleDefinition]:
    """The schedules of all processors in *packages* that have a `schedule`."""
    return [
        build_import_schedule(processor, default_status=default_status)
        for processor in discover(packages)
        if processor.schedule is not None
    ]
