"""A processor's `partitions` as Dagster's, and which of them a schedule imports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

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


def last_partitions(
    partitions: dg.PartitionsDefinition[Any], at: datetime, instance: dg.DagsterInstance
) -> Sequence[str]:
    """The last partition that has ended at that time, which the definition's `end_offset` moves; of several dimensions,
    all partitions of the last time, and all there are if none of them is a time."""
    with dg.partition_loading_context(effective_dt=at, dynamic_partitions_store=instance):
        if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
            last = partitions.get_last_partition_key()
            return [] if last is None else [last]
        keys = partitions.get_partition_keys()
        if not isinstance(partitions, dg.MultiPartitionsDefinition):
            return keys
        times = [
            (dimension.name, dimension.partitions_def.get_last_partition_key())
            for dimension in partitions.partitions_defs
            if isinstance(dimension.partitions_def, dg.TimeWindowPartitionsDefinition)
        ]
        return [key for key in keys if all(_dimensions(key)[name] == last for name, last in times)]


def _dimensions(key: str) -> Any:
    return key.keys_by_dimension if isinstance(key, dg.MultiPartitionKey) else {}
