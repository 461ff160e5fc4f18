"""A run that only tries: what it says is in its log and in an observation of the asset, and nothing is materialized."""

from collections.abc import Generator
from typing import Any

import dagster as dg

from reliable_imports import BaseProcessor, BatchManager, ConfigurationError, TryReport
from reliable_imports_dagster.run import tags
from reliable_imports_dagster.run.accept import PARTITION, source_of
from reliable_imports_dagster.run.config import ImportConfig

_MOST_REASONS = 10


def try_import(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    processor: type[BaseProcessor],
    config: ImportConfig,
    partition: str | None,
) -> TryReport:
    """Say what a run with this config would import.

    Raises:
        ConfigurationError, SourceError: as of `accept`.
    """
    options: dict[str, Any] = {"sample": config.sample, "with_effects": config.with_effects}
    if config.batch_id is not None:
        return manager.try_items(processor.batch_type, config.batch_id, **options)
    options |= {"params": config.params, PARTITION: None if partition is None else str(partition)}
    if config.items is not None:
        return manager.try_items(processor.batch_type, config.items, **options)
    path = config.path or source_of(processor, partition)
    if path is None:
        raise ConfigurationError(f"{processor.__qualname__} declares no `source`; give path, batch_id or items to try")
    return manager.try_items(processor.batch_type, manager.open_source(processor.batch_type, path), **options)


def tell_of_try(
    context: dg.OpExecutionContext, report: TryReport, asset_key: dg.AssetKey, partition: str | None
) -> Generator[Any, None, None]:
    """Log what a try came to, and yield an observation of the asset with its counts."""
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in report.counts.items())
    context.log.info(
        f"tried {len(report.items):,} of {report.total_items:,} items of {report.batch_type}, nothing was kept: {told}"
    )
    for warning in report.warnings:
        context.log.warning(warning)
    reasons = report.reasons[:_MOST_REASONS]
    for reason in reasons:
        context.log.warning(f"{reason.items:,} would fail ({reason.same:,} as before): {reason.reason}, {reason.title}")
    tags.tag_run(context, {tags.OUTCOME: tags.TRIED})
    yield dg.AssetObservation(
        asset_key=asset_key,
        description="A try: nothing was kept.",
        metadata={
            "try": True,
            "tried_items": len(report.items),
            "total_items": report.total_items,
            **report.counts,
            "would_fail_for": {reason.reason: {"items": reason.items, "title": reason.title} for reason in reasons},
        },
        partition=partition,
    )
