"""How old an asset may be, from its processor's schedule."""

from datetime import datetime, timedelta
from itertools import pairwise

import dagster as dg

from reliable_imports import BaseProcessor

_LOOKED_AT = 10


def freshness_of(processor: type[BaseProcessor]) -> dg.FreshnessPolicy | None:
    """From the longest pause of the schedule: a warning a quarter of it after the import was due, then a failure when
    the next one is due too."""
    if processor.schedule is None:
        return None
    pause = _longest_pause(processor.schedule)
    return dg.FreshnessPolicy.time_window(fail_window=pause * 2, warn_window=pause * 1.25)


def _longest_pause(cron_schedule: str) -> timedelta:
    """Between the first few ticks of a year: a schedule of working days has a pause of three days."""
    ticks = dg.TimeWindowPartitionsDefinition(
        cron_schedule=cron_schedule, start="2024-01-01", fmt="%Y-%m-%d", end_offset=0
    )
    window = ticks.get_next_partition_window(datetime(2024, 1, 1))
    starts: list[datetime] = []
    while window is not None and len(starts) < _LOOKED_AT:
        starts.append(window.start)
        window = ticks.get_next_partition_window(window.end)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    return max(pauses, default=timedelta(days=1))
