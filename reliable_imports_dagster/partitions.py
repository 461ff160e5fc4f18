"""A processor's `partitions` as Dagster's, and which of them a schedule imports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from reliable_imports import BaseProcessor, ConfigurationError


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
    partitions: dg.PartitionsDefinition[Any], at: datetime, instance: dg.DagsterInstance | None
) -> Sequence[str]:
    """The last partition that has ended at that time, which the definition's `end_offset` moves; of several dimensions,
    all partitions of the last time, and all there are if none of them is a time.

    Args:
        instance: which knows dynamic partitions; None in a test whose instance keeps nothing.

    Raises:
        ConfigurationError: there are dynamic partitions, and no instance.
    """
    if instance is None and _are_dynamic(partitions):
        raise ConfigurationError(
            "dynamic partitions are known to an instance that keeps them: give the context one, such as "
            "DagsterInstance.local_temp(), and no ephemeral one"
        )
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


def _are_dynamic(partitions: dg.PartitionsDefinition[Any]) -> bool:
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return any(_are_dynamic(dimension.partitions_def) for dimension in partitions.partitions_defs)
    return isinstance(partitions, dg.DynamicPartitionsDefinition)


def _dimensions(key: str) -> Any:
    return key.keys_by_dimension if isinstance(key, dg.MultiPartitionKey) else {}
