"""From a wish to its result: accept a batch, work it, report it; for several partitions one after the other."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from reliable_imports import BaseProcessor, BatchManager, BatchSummary, ConfigurationError
from reliable_imports_dagster.names import import_name
from reliable_imports_dagster.options import without_stability_warnings
from reliable_imports_dagster.run.accept import Accepted, accept
from reliable_imports_dagster.run.config import FailThisRunOn, ImportConfig
from reliable_imports_dagster.run.refusal import refusals_explained
from reliable_imports_dagster.run.report.batch_report import BatchReport
from reliable_imports_dagster.run.report.checks import CHECKS
from reliable_imports_dagster.run.report.reporting import report
from reliable_imports_dagster.run.report.run_failure import FailRunOn, failure_of
from reliable_imports_dagster.run.report.told_before import ToldBefore
from reliable_imports_dagster.run.step import partitions_of_asset, partitions_of_step
from reliable_imports_dagster.run.tie import work_batch
from reliable_imports_dagster.run.trying import tell_of_try, try_import

_MAX_REFUSALS = 10


def check_specs_of(spec: dg.AssetSpec) -> list[dg.AssetCheckSpec]:
    """The checks that every import of the asset, and every reprocess batch of it, evaluates: for each partition."""
    with without_stability_warnings():  # partitions of checks
        return [
            dg.AssetCheckSpec(name, asset=spec.key, description=told, partitions_def=spec.partitions_def)
            for name, told in CHECKS.items()
        ]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of the import of an asset.

    Attributes:
        refused: why some of several partitions have no batch.
    """

    summaries: Sequence[BatchSummary]
    refused: Mapping[str, str] = field(default_factory=dict)


def import_asset_batches(
    context: dg.AssetExecutionContext,
    manager: BatchManager,
    processor: type[BaseProcessor],
    config: ImportConfig,
    asset_key: dg.AssetKey,
) -> Generator[Any, None, Imported]:
    """One batch, or one for each of the partitions that the run is for. Yields what there is to tell of them; whether
    the run fails is to be decided after that is out."""
    op_context = context.op_execution_context
    partitions = partitions_of_step(op_context, asset_key)
    if config.only_try:
        with refusals_explained():
            if len(partitions) > 1:
                raise ConfigurationError("try: true tries one partition; launch a run for each")
            tried = try_import(op_context, manager, processor, config, partitions[0])
        yield from tell_of_try(op_context, tried, asset_key, partitions[0])
        yield from _outputs_of_checks(context, asset_key)
        return Imported([])
    if len(partitions) == 1:
        told = _import_batch(op_context, manager, processor, config, asset_key, partitions[0])
        yield from told.results()
        return Imported([told.summary])
    with refusals_explained():
        _require_one_wish_for_all(processor, config)
    reports: list[BatchReport] = []
    refused: dict[str, str] = {}
    told_before = ToldBefore(op_context, asset_key)
    try:
        for number, partition in enumerate(partitions, 1):
            context.log.info(f"partition {partition}, {number} of {len(partitions)}")
            try:
                reports.append(_import_batch(op_context, manager, processor, config, asset_key, partition, told_before))
            except dg.Failure as refusal:  # such as a file that is missing: a reason to fail, not to leave the others
                refused[str(partition)] = refusal.description or str(refusal)
                context.log.error(f"partition {partition}: {refusal.description}")
    except BaseException:  # Dagster stops a run by an exception that is no Exception
        # What is done is told; who repeats the run imports the others.
        yield from _events(reports)
        raise
    yield from _results_of_all(context, asset_key, reports, is_complete=not refused)
    return Imported([told.summary for told in reports], refused)


def _import_batch(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    processor: type[BaseProcessor],
    config: ImportConfig,
    asset_key: dg.AssetKey,
    partition: str | None,
    told_before: ToldBefore | None = None,
) -> BatchReport:
    accepted = _accept(context, manager, processor, config, asset_key, partition)
    return work_and_report(context, manager, accepted, asset_key, told_before)


def work_and_report(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    accepted: Accepted,
    asset_key: dg.AssetKey,
    told_before: ToldBefore | None = None,
) -> BatchReport:
    """Work what is left of a batch, and ask what there is to tell of it."""
    summary = work_batch(context, manager, accepted)
    return report(context, manager, summary, asset_key, is_unchanged=accepted.is_unchanged, told_before=told_before)


def _events(reports: Sequence[BatchReport]) -> Iterator[Any]:
    for told in reports:
        yield from told.events()


def _results_of_all(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, reports: Sequence[BatchReport], *, is_complete: bool
) -> Iterator[Any]:
    """Of several partitions. A result stands for all of them, and lets what depends on the asset begin: so there is one
    only if all of them are in."""
    if is_complete and all(told.is_stored for told in reports) and any(told.materializes for told in reports):
        for told in reports:
            context.add_asset_metadata(told.metadata, asset_key=asset_key, partition_key=told.partition)
        versions = [told.data_version for told in reports]
        yield dg.MaterializeResult(asset_key=asset_key, data_version=dg.DataVersion(f"{versions[0]}-{versions[-1]}"))
        for told in reports:
            yield from told.evaluations()
    else:
        yield from _events(reports)
    yield from _outputs_of_checks(context, asset_key)


def _outputs_of_checks(context: dg.AssetExecutionContext, asset_key: dg.AssetKey) -> Iterator[Any]:
    for check in context.assets_def.check_specs:
        if check.asset_key == asset_key:
            yield dg.Output(None, output_name=check.get_python_identifier())  # Dagster wants one of each check


def accept_batch(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    processor: type[BaseProcessor],
    config: ImportConfig,
    asset_key: dg.AssetKey,
) -> Accepted:
    """The one batch to work, for an op of a job; what was asked for wrongly fails the step."""
    if config.only_try:
        raise dg.Failure(
            "try: true is for an asset, or for a job that reprocesses; this op puts out a batch", allow_retries=False
        )
    partitions = partitions_of_step(context, asset_key)
    if len(partitions) > 1:
        raise dg.Failure(
            f"a run was given the partitions from {partitions[0]} to {partitions[-1]}, and this step imports one; "
            "launch a run for each",
            allow_retries=False,
        )
    return _accept(context, manager, processor, config, asset_key, partitions[0])


def _accept(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    processor: type[BaseProcessor],
    config: ImportConfig,
    asset_key: dg.AssetKey,
    partition: str | None,
) -> Accepted:
    with refusals_explained():
        if partition is None and _takes_source(config):
            _require_no_partition(processor, partitions_of_asset(context, asset_key))
        return accept(context, manager, processor, config, partition)


def _takes_source(config: ImportConfig) -> bool:
    return config.path is None and config.batch_id is None and config.items is None


def _require_one_wish_for_all(processor: type[BaseProcessor], config: ImportConfig) -> None:
    given = [name for name in ("path", "batch_id", "items", "idempotency_key") if getattr(config, name) is not None]
    if given:
        raise ConfigurationError(
            f"{import_name(processor.batch_type)} was given several partitions and {' and '.join(given)}; each "
            "partition has a batch of its own, from the processor's `source`"
        )


def _require_no_partition(processor: type[BaseProcessor], partitions_def: dg.PartitionsDefinition[Any] | None) -> None:
    """Else a file would be looked for that has `{partition}` in its name."""
    dimensions = (
        partitions_def.partition_dimension_names if isinstance(partitions_def, dg.MultiPartitionsDefinition) else []
    )
    if any(f"{{{name}}}" in str(processor.source) for name in ("partition", *dimensions)):
        raise ConfigurationError(
            f"{import_name(processor.batch_type)} was given no partition, and its source {processor.source} is of one: "
            "choose one in the launchpad, or add `--partition KEY` to `dg launch` or `dagster asset materialize`"
        )


def raise_failure_of(
    summaries: Sequence[BatchSummary],
    fail_run_on: FailRunOn,
    wished: FailThisRunOn = "as_defined",
    *,
    refused: Mapping[str, str] | None = None,
) -> None:
    """Fail the run if these batches are a reason to, as the code says unless the run's config *wished* otherwise.

    Args:
        refused: partitions that have no batch, and why: always a reason.
    """
    failure = failure_of(summaries, fail_run_on if wished == "as_defined" else wished)
    if refused:
        told = [f"partition {name}: {why}" for name, why in list(refused.items())[:_MAX_REFUSALS]]
        if len(refused) > _MAX_REFUSALS:
            told.append(f"and {len(refused) - _MAX_REFUSALS} more partitions")
        if failure is not None:
            told.append(failure.description or "")
        raise dg.Failure("; ".join(told), allow_retries=False)
    if failure is not None:
        raise failure
