"""What Dagster shows of a batch: a materialization or an observation, the checks, and whether the run fails."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote

import dagster as dg

from reliable_imports import (
    Batch,
    BatchManager,
    BatchStatus,
    BatchSummary,
    FailureReason,
    ReasonState,
    ReasonSummary,
    RunRecord,
)
from reliable_imports_dagster.names import FAILURE_RATE, NO_FAILED_ITEMS, RECONCILED, REPROCESS, reprocess_name
from reliable_imports_dagster.run.accept import PARTITION, repeated_runs
from reliable_imports_dagster.run.failed_values import commonest_values, masked_fields
from reliable_imports_dagster.run.report_page import report_page
from reliable_imports_dagster.run.step import (
    asset_graph_of,
    has_no_partitions,
    key_of_partition,
    partitions_of_asset,
    resource_of,
    run_id_of,
    run_of,
)
from reliable_imports_dagster.run.target_table import table_metadata, tables_of

FailRunOn = Literal["failed", "any_failure", "never"]
"""When a run fails because of its items: if none was completed, if any failed, or never."""

_DATA_VERSION = "dagster/data_version"
_MAX_REASONS = 20
_MAX_CAUSES_NAMED = 3
_MAX_LINKED = 20
_ALL_LOST = (BatchStatus.FAILED, BatchStatus.PAUSED, BatchStatus.CANCELLED)
_STORED = (BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_FAILURES)


CHECKS = {
    NO_FAILED_ITEMS: "Every item of the batch is in, or was skipped for a reason; no failure waits to be reprocessed.",
    FAILURE_RATE: "No larger share of the batch failed than the processor's max_failed_share, or a twentieth.",
    RECONCILED: "Counted again, item by item: what the source held is what was stored, and all of it has one outcome.",
}
_USUAL_FAILED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class BatchCheck:
    """What one check says of a batch."""

    name: str
    passed: bool
    severity: dg.AssetCheckSeverity
    description: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """A batch as it stood when a run left it.

    Attributes:
        partition: the asset's; None if it has none, or the batch is for none of them.
        materializes: the asset holds what the batch delivered; else the batch is no more than an observation of it.
        data_version: changes with every batch that stores something, and by that alone.
        is_of_a_run: false where a test calls an op directly; there Dagster takes no checks.
    """

    summary: BatchSummary
    asset_key: dg.AssetKey
    metadata: dict[str, Any]
    checks: Sequence[BatchCheck]
    partition: str | None
    materializes: bool
    data_version: str
    is_of_a_run: bool = True

    @property
    def is_stored(self) -> bool:
        """The asset holds what the batch delivered, though it may have been told before."""
        return self.summary.status in _STORED

    def results(self) -> Iterator[Any]:
        """For an asset to yield, whose output must be optional."""
        if self.materializes:
            yield dg.MaterializeResult(
                asset_key=self.asset_key, metadata=self.metadata, data_version=dg.DataVersion(self.data_version)
            )
        else:
            yield self._observation()
        for check in self.checks:
            yield dg.AssetCheckResult(
                asset_key=self.asset_key,
                check_name=check.name,
                passed=check.passed,
                severity=check.severity,
                description=check.description,
                metadata=check.metadata,
            )

    def events(self) -> Iterator[Any]:
        """For an op or a sensor, which materializes nothing by itself: the events that `results` would make.

        To be yielded: what an op only logs is lost if it raises afterwards.
        """
        if self.materializes:
            yield dg.AssetMaterialization(
                asset_key=self.asset_key,
                metadata=self.metadata,
                partition=self.partition,
                tags={_DATA_VERSION: self.data_version},
            )
        else:
            yield self._observation()
        # A materialization without its check would turn the last evaluation into "not evaluated".
        yield from self.evaluations()

    def evaluations(self) -> Iterator[dg.AssetCheckEvaluation]:
        """The checks, as events; none where a test calls an op directly."""
        for check in self.checks if self.is_of_a_run else []:
            yield dg.AssetCheckEvaluation(
                asset_key=self.asset_key,
                check_name=check.name,
                passed=check.passed,
                severity=check.severity,
                description=check.description,
                metadata=check.metadata,
                partition=self.partition,
            )

    def _observation(self) -> dg.AssetObservation:
        return dg.AssetObservation(
            asset_key=self.asset_key,
            description=self.checks[0].description,
            metadata=self.metadata,
            partition=self.partition,
        )


class ToldBefore:
    """What the runs that this one repeats have told of an asset; they are asked for it once, and if need be."""

    def __init__(self, context: dg.OpExecutionContext, asset_key: dg.AssetKey) -> None:
        self._context = context
        self._asset_key = asset_key

    @cached_property
    def runs(self) -> Sequence[str]:
        return repeated_runs(self._context)[1:]

    @cached_property
    def batch_ids(self) -> frozenset[str]:
        """The batches that have materialized it."""
        events = [
            record.event_log_entry.asset_materialization
            for run_id in self.runs
            for record in self._context.instance.get_records_for_run(
                run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            ).records
        ]
        return frozenset(
            str(event.metadata["batch_id"].value)
            for event in events
            if event is not None and event.asset_key == self._asset_key
        )


def report(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    summary: BatchSummary,
    asset_key: dg.AssetKey,
    *,
    is_unchanged: bool = False,
    told_before: ToldBefore | None = None,
) -> BatchReport:
    """Ask the database what is to be told of the batch, at the end of a run that was given it.

    Args:
        is_unchanged: the run has found that the source holds what the batch has stored. So the asset is as new as can
            be, which a materialization says, with the version of the data that it has.
    """
    run = run_of(context)
    code = None if run is None else run.job_code_origin
    module = None if code is None else getattr(code.repository_origin.code_pointer, "module", None)
    lineage = manager.list_runs(lineage=summary.first_batch_id)
    run_id = run_id_of(context)
    runs = [run for run in lineage if run.batch_id == summary.batch_id]
    own = [run for run in runs if run.dagster_run_id == run_id]
    # A run that was given a finished batch has done nothing, unless it stands in for one that died before it told.
    did_it = (
        bool(own)
        or is_unchanged
        or _was_left_untold(runs, summary.batch_id, told_before or ToldBefore(context, asset_key))
    )
    told = _report(context, manager, summary, asset_key, lineage, own=own, did_it=did_it, module=module)
    if is_unchanged and not own:
        told.metadata["unchanged"] = True
        told = replace(told, data_version=_version_now(context, told) or told.data_version)
    return told if run is not None else replace(told, is_of_a_run=False)


def _version_now(context: dg.OpExecutionContext, told: BatchReport) -> str | None:
    """The version of the asset's data, or of its partition's, by its latest materialization."""
    if run_of(context) is None:
        return None
    partitions = None if told.partition is None else [told.partition]
    wanted = dg.AssetRecordsFilter(asset_key=told.asset_key, asset_partitions=partitions)
    for record in context.instance.fetch_materializations(wanted, limit=1).records:
        event = record.asset_materialization
        return None if event is None else (event.tags or {}).get(_DATA_VERSION)
    return None


def report_elsewhere(
    context: dg.SensorEvaluationContext, manager: BatchManager, summary: BatchSummary, asset_key: dg.AssetKey
) -> BatchReport:
    """The same of a batch that was worked outside Dagster."""
    lineage = manager.list_runs(lineage=summary.first_batch_id)
    return _report(context, manager, summary, asset_key, lineage, own=[], did_it=True, module=None)


def _report(
    context: dg.OpExecutionContext | dg.SensorEvaluationContext,
    manager: BatchManager,
    summary: BatchSummary,
    asset_key: dg.AssetKey,
    lineage: Sequence[RunRecord],
    *,
    own: Sequence[RunRecord],
    did_it: bool,
    module: str | None,
) -> BatchReport:
    """
    Args:
        lineage: the runs of all batches of its lineage, oldest first.
        own: those of this batch by the Dagster run that reports.
        did_it: the batch was worked, and nobody has reported it yet.
        module: the code location's, for commands to paste.
    """
    outstanding = manager.count_outstanding(summary.batch_id)
    ignored = manager.count_ignored(summary.batch_id) if outstanding else 0
    causes = manager.failures(summary.batch_id) if outstanding else []
    reasons = manager.failure_reasons(summary.batch_id) if summary.failed_items else []
    batch = manager.get_batch(summary.batch_id)
    # In the order in which the UI shows them: how it stands, why, and what to do; then the rest.
    metadata: dict[str, Any] = {
        "batch_id": str(summary.batch_id),
        "status": summary.status.value,
        "total_items": summary.total_items,
        "completed_items": summary.completed_items,
        "failed_items": summary.failed_items,
        "skipped_items": summary.skipped_items,
        "outstanding_failures": outstanding,
    }
    if summary.pause_reason is not None:
        metadata["pause_reason"] = summary.pause_reason
    if summary.warnings:
        metadata["warnings"] = dg.MetadataValue.md("\n".join(f"- {warning}" for warning in summary.warnings))
    if reasons:
        metadata["reasons"] = _reasons_table(reasons)
        values = _values_of(context, manager, summary, reasons)
        if values:
            metadata["commonest_values"] = _values_table(values)
    if outstanding:
        metadata["reprocess"] = _ways_to_reprocess(module, summary)
    if folder := getattr(resource_of(context), "report_folder", None):
        metadata["report"] = report_page(manager, summary, folder)
    metadata["runs"] = _runs_links(batch, lineage)
    if summary.reprocess_of is not None:
        metadata["reprocess_of"] = str(summary.reprocess_of)
    if summary.source is not None:
        metadata["source"] = summary.source
    metadata.update(_speed(own))
    named = batch.metadata.get(PARTITION)
    partitions_def = partitions_of_asset(context, asset_key)
    partition = None
    if isinstance(named, str) and not has_no_partitions(context, asset_key):
        partition = key_of_partition(partitions_def, named)
    tables = tables_of(asset_graph_of(context))
    metadata.update(
        table_metadata(manager, summary.batch_type, asset_key=asset_key, partition=partition, tables=tables)
    )
    checks = [
        BatchCheck(
            NO_FAILED_ITEMS,
            passed=outstanding == ignored and summary.open_items == 0,
            severity=dg.AssetCheckSeverity.ERROR if summary.status in _ALL_LOST else dg.AssetCheckSeverity.WARN,
            description=_description(summary, reasons, causes, outstanding, ignored),
            metadata={name: metadata[name] for name in ("batch_id", "failed_items", "outstanding_failures")},
        ),
        _failure_rate(manager, summary),
        _reconciled(manager, summary),
    ]
    if partition is not None:
        # A check is the whole asset's: it says which partition it has looked at.
        checks = [replace(check, metadata={**check.metadata, "partition": partition}) for check in checks]
    return BatchReport(
        summary,
        asset_key,
        metadata,
        checks=checks,
        partition=partition,
        materializes=did_it and summary.status in _STORED,
        data_version=str(summary.batch_id),
    )


def _was_left_untold(runs: Sequence[RunRecord], batch_id: int, told_before: ToldBefore) -> bool:
    """Whether a run that this one repeats has worked the batch, and its process died before it could report it."""
    return bool(runs) and runs[-1].dagster_run_id in told_before.runs and str(batch_id) not in told_before.batch_ids


def failure_of(summaries: Sequence[BatchSummary], fail_run_on: FailRunOn) -> dg.Failure | None:
    """The failure to raise for these batches, after their results are out; None if the run is to succeed."""
    stopped = [summary for summary in summaries if summary.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED)]
    if stopped:
        return dg.Failure("; ".join(map(_why_stopped, stopped)), allow_retries=False)
    if fail_run_on == "never":
        return None
    bad = [
        summary
        for summary in summaries
        if summary.status is BatchStatus.FAILED or (fail_run_on == "any_failure" and summary.failed_items)
    ]
    if not bad:
        return None
    told = "; ".join(
        f"batch {summary.batch_id}: {summary.failed_items:,} of {_items(summary.total_items)} failed" for summary in bad
    )
    return dg.Failure(
        f"{told}; `reliable-imports failures {bad[0].batch_id}` shows why",
        # The batch is closed: a retry would find nothing to do.
        allow_retries=False,
    )


def _failure_rate(manager: BatchManager, summary: BatchSummary) -> BatchCheck:
    """An error beyond what the processor declares; a warning beyond what is usual."""
    declared = manager.registry.get(summary.batch_type).max_failed_share
    limit = _USUAL_FAILED_SHARE if declared is None else declared
    share = summary.failed_items / summary.total_items if summary.total_items else 0.0
    return BatchCheck(
        FAILURE_RATE,
        passed=share <= limit,
        severity=dg.AssetCheckSeverity.WARN if declared is None else dg.AssetCheckSeverity.ERROR,
        description=f"{share:.2%} of {_items(summary.total_items)} failed; up to {limit:.2%} pass",
        metadata={"batch_id": str(summary.batch_id), "failed_share": round(share, 4)},
    )


def _reconciled(manager: BatchManager, summary: BatchSummary) -> BatchCheck:
    """Always an error: what does not add up is a fault of ours, or somebody's hand in the tables."""
    [found] = manager.verify(summary.batch_id)
    problems = list(found.problems)
    return BatchCheck(
        RECONCILED,
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(problems[:10]) or f"{_items(found.items)} counted again, and all counts agree",
        metadata={"batch_id": str(summary.batch_id), "stored_items": found.items},
    )


def _why_stopped(summary: BatchSummary) -> str:
    """A stopped batch fails its run whatever the team says of failed items: it is not done."""
    left = f"{_items(summary.open_items)} of {summary.total_items:,} left pending"
    if summary.status is BatchStatus.CANCELLED:
        return f"batch {summary.batch_id} was cancelled, {left}: `reliable-imports reprocess {summary.batch_id}`"
    return (
        f"batch {summary.batch_id} is paused, {left}: {summary.pause_reason or 'somebody asked for it'}; when the "
        f"cause is gone, re-execute this run or `reliable-imports process {summary.batch_id}` to go on"
    )


def _speed(own: Sequence[RunRecord]) -> dict[str, Any]:
    """Of this run's own work: a batch that was resumed a day later was not that slow."""
    if not own:
        return {}
    items = own[-1].completed + own[-1].failed + own[-1].skipped
    seconds = own[-1].seconds
    speed: dict[str, Any] = {"seconds": round(seconds, 3)}
    if seconds > 0:
        speed["items_per_second"] = round(items / seconds, 1)
    return speed


def _values_of(
    context: dg.OpExecutionContext | dg.SensorEvaluationContext,
    manager: BatchManager,
    summary: BatchSummary,
    reasons: Sequence[FailureReason],
) -> Mapping[str, str]:
    """The commonest values of each reason, in words; nothing unless the resource allows it."""
    if not getattr(resource_of(context), "show_failed_values", False):
        return {}
    masked = masked_fields(manager.registry.get(summary.batch_type))
    listed = [reason.reason for reason in reasons[:_MAX_REASONS]]
    return commonest_values(manager, summary.batch_id, summary.batch_type, listed, masked)


def _reasons_table(reasons: Sequence[FailureReason]) -> dg.TableMetadataValue:
    """No wider than the UI shows, whose column for it is narrow."""
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "items": reason.items,
                    "reason": reason.reason,
                    "title": reason.title,
                    "sample": reason.sample_item_number,
                }
            )
            for reason in reasons[:_MAX_REASONS]
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("items", "int", description="how many items failed for it"),
                dg.TableColumn("reason", "string", description="its id, which reprocess takes"),
                dg.TableColumn("title", "string", description="what went wrong"),
                dg.TableColumn("sample", "int", description="the number of the first of these items"),
            ]
        ),
    )


def _values_table(values: Mapping[str, str]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[dg.TableRecord({"reason": reason, "values": told}) for reason, told in values.items()],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("reason", "string", description="its id"),
                dg.TableColumn("values", "string", description="what most of its items have in the field at fault"),
            ]
        ),
    )


def _ways_to_reprocess(module: str | None, summary: BatchSummary) -> dg.MarkdownMetadataValue:
    """A link to the launchpad, filled in, and commands to paste, in lines so short that the UI shows all of them."""
    batch_id = summary.batch_id
    config = json.dumps({"ops": {REPROCESS: {"config": {"batch_id": batch_id}}}}).replace(": {", ":\n  {")
    commands = [
        f"reliable-imports reprocess {batch_id}",
        f"dg launch --job {REPROCESS} \\\n  --config-json '{config}'",
    ]
    if module is not None:
        commands.append(
            f"echo '{config}' \\\n  > reprocess.yaml &&\ndagster job execute \\\n"
            f"  -m {module} \\\n  -j {REPROCESS} \\\n  -c reprocess.yaml"
        )
    blocks = "\n\nor\n\n".join(f"```\n{command}\n```" for command in commands)
    return dg.MetadataValue.md(f"[in the launchpad]({_launchpad(summary)}), or from a shell\n\n{blocks}")


def _launchpad(summary: BatchSummary) -> str:
    """`/guess` leads to the job whatever the code location is called: a run in a process of its own does not know.

    To the job of one batch type, for that of all is in each code location, and between several jobs of a name
    Dagster lets people choose and forgets the config.
    """
    job = reprocess_name(summary.batch_type)
    config = f"ops:\n  {job}:\n    config:\n      batch_id: {summary.batch_id}\n"
    return f"/guess/{job}/playground/setup?config={quote(config, safe='')}"


def _runs_links(batch: Batch, lineage: Sequence[RunRecord]) -> dg.MarkdownMetadataValue:
    """By the runs' ids, as the database knows them: a tag names only one batch of a run that works several."""
    links = [_runs_link(f"runs of batch {batch.id}", [run for run in lineage if run.batch_id == batch.id])]
    if batch.reprocess_of is not None:
        links.append(_runs_link(f"runs of its lineage, from batch {batch.first_batch_id} on", lineage))
    return dg.MetadataValue.md("\n\n".join(links))


def _runs_link(told: str, runs: Sequence[RunRecord]) -> str:
    ids = list(dict.fromkeys(run.dagster_run_id for run in runs if run.dagster_run_id is not None))[-_MAX_LINKED:]
    if not ids:
        return f"{told}: none of Dagster's"
    filtered = "&".join(f"q%5B{number}%5D=id%3A{run_id}" for number, run_id in enumerate(ids))
    return f"[{told}](/runs?{filtered})"


def _description(
    summary: BatchSummary,
    reasons: Sequence[FailureReason],
    causes: Sequence[ReasonSummary],
    outstanding: int,
    ignored: int,
) -> str:
    if summary.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED):
        return _why_stopped(summary)
    if summary.open_items:
        said = f"batch {summary.batch_id} is not finished: {_items(summary.open_items)} are with another run"
    elif summary.failed_items:
        count = f"{len(reasons)} reason{'' if len(reasons) == 1 else 's'}"
        said = f"{summary.failed_items:,} of {_items(summary.total_items)} failed for {count}"
    elif not summary.total_items:
        said = "the source had no items"
    else:
        said = f"none of {_items(summary.total_items)} failed"
    if outstanding > ignored:
        wait = f"{outstanding - ignored:,} wait to be reprocessed: `reliable-imports reprocess {summary.batch_id}`"
        said = "; ".join(filter(None, [said, _causes_in_words(summary, causes), wait]))
    return f"{said}; {ignored:,} failed for what people ignore" if ignored else said


def _causes_in_words(summary: BatchSummary, causes: Sequence[ReasonSummary]) -> str:
    """What is back first, then what this batch has met first; of the rest the table of reasons tells."""
    told = [
        f"{word} {cause.title} ({cause.outstanding:,})"
        for word, named in (
            ("back:", [each for each in causes if each.state is ReasonState.BACK]),
            ("new:", [each for each in causes if each.state is ReasonState.OPEN and _is_new(summary, each)]),
        )
        for cause in named
    ]
    more = f", and {len(told) - _MAX_CAUSES_NAMED:,} more" if len(told) > _MAX_CAUSES_NAMED else ""
    return ", ".join(told[:_MAX_CAUSES_NAMED]) + more


def _is_new(summary: BatchSummary, cause: ReasonSummary) -> bool:
    return cause.met_first_in == summary.batch_id and cause.continues is None


def _items(count: int) -> str:
    return f"{count:,} item{'' if count == 1 else 's'}"
