"""A processor's `partitions` as Dagster's."""

import dagster as dg

from reliable_imports import BaseProcessor


def partitions_of(processor: type[BaseProcessor]) -> dg.TimeWindowPartitionsDefinition | None:
    """What `partitions` declares: `daily from 2024-01-01`."""
    if processor.partitions is None:
        return None
    unit, _, start = processor.partitions.split(" ")
    match unit:
        case "hourly":
            return dg.HourlyPartitionsDefinition(start_date=f"{start}-00:00")
        case "daily":
            return dg.DailyPartitionsDefinition(start_date=start)
        case "weekly":
            return dg.WeeklyPartitionsDefinition(start_date=start)
    return dg.MonthlyPartitionsDefinition(start_date=start)
