"""From a wish to its result: accept a batch, work it, report it."""

from collections.abc import Sequence

import dagster as dg

from reliable_imports import BaseProcessor, BatchManager, BatchSummary
from reliable_imports_dagster.config import FailThisRunOn, ImportConfig
from reliable_imports_dagster.delivery import accept
from reliable_imports_dagster.execution import work_batch
from reliable_imports_dagster.refusal import refusals_explained
from reliable_imports_dagster.report import CHECKS, BatchReport, FailRunOn, failure_of, report


def check_specs_of(asset_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks that every import of the asset, and every reprocess batch of it, evaluates."""
    return [dg.AssetCheckSpec(name, asset=asset_key, description=told) for name, told in CHECKS.items()]


def import_asset_batch(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    processor: type[BaseProcessor],
    config: ImportConfig,
    asset_key: dg.AssetKey,
) -> BatchReport:
    """One batch, and what there is to tell of it; whether the run fails is to be decided after that is out."""
    with refusals_explained():
        batch_id = accept(context, manager, processor, config)
    summary = work_batch(context, manager, batch_id)
    return report(context, manager, summary, asset_key)


def raise_failure_of(
    summaries: Sequence[BatchSummary], fail_run_on: FailRunOn, wished: FailThisRunOn = "as_defined"
) -> None:
    """Fail the run if these batches are a reason to, as the code says unless the run's config *wished* otherwise."""
    failure = failure_of(summaries, fail_run_on if wished == "as_defined" else wished)
    if failure is not None:
        raise failure
