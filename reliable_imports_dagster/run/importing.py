"""From a wish to its result: accept a batch, work it, report it."""

from collections.abc import Sequence

import dagster as dg

from reliable_imports import BaseProcessor, BatchManager, BatchSummary, ConfigurationError
from reliable_imports_dagster.names import import_name
from reliable_imports_dagster.run.accept import accept
from reliable_imports_dagster.run.config import FailThisRunOn, ImportConfig
from reliable_imports_dagster.run.refusal import refusals_explained
from reliable_imports_dagster.run.report import CHECKS, BatchReport, FailRunOn, failure_of, report
from reliable_imports_dagster.run.work import work_batch


def check_specs_of(asset_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks that every import of the asset, and every reprocess batch of it, evaluates."""
    return [dg.AssetCheckSpec(name, asset=asset_key, description=told) for name, told in CHECKS.items()]


def accept_batch(
    context: dg.OpExecutionContext, manager: BatchManager, processor: type[BaseProcessor], config: ImportConfig
) -> int:
    """The id of the batch to work; what was asked for wrongly fails the step."""
    with refusals_explained():
        if _takes_source(config):
            _require_partition(context, processor)
        return accept(context, manager, processor, config)


def _takes_source(config: ImportConfig) -> bool:
    return config.path is None and config.batch_id is None and config.items is None


def _require_partition(context: dg.OpExecutionContext, processor: type[BaseProcessor]) -> None:
    """Else a file would be looked for that has `{partition}` in its name."""
    if "{partition}" in str(processor.source) and not (context.has_partition_key or context.has_partition_key_range):
        raise ConfigurationError(
            f"{import_name(processor.batch_type)} was given no partition, and its source {processor.source} is of one: "
            "choose one in the launchpad, or add `--partition KEY` to `dg launch` or `dagster asset materialize`"
        )


def import_asset_batch(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    processor: type[BaseProcessor],
    config: ImportConfig,
    asset_key: dg.AssetKey,
) -> BatchReport:
    """One batch, and what there is to tell of it; whether the run fails is to be decided after that is out."""
    summary = work_batch(context, manager, accept_batch(context, manager, processor, config))
    return report(context, manager, summary, asset_key)


def raise_failure_of(
    summaries: Sequence[BatchSummary], fail_run_on: FailRunOn, wished: FailThisRunOn = "as_defined"
) -> None:
    """Fail the run if these batches are a reason to, as the code says unless the run's config *wished* otherwise."""
    failure = failure_of(summaries, fail_run_on if wished == "as_defined" else wished)
    if failure is not None:
        raise failure
