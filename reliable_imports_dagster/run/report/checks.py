"""The checks that Dagster shows of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from reliable_imports import BatchManager, BatchStatus, BatchSummary, ReasonState, ReasonSummary
from reliable_imports_dagster.names import FAILURE_RATE, NO_FAILED_ITEMS, RECONCILED
from reliable_imports_dagster.run.report.failures import Failures
from reliable_imports_dagster.run.report.run_failure import why_stopped
from reliable_imports_dagster.run.report.words import count_of_items

_MAX_CAUSES_NAMED = 3
_USUAL_FAILED_SHARE = 0.05
_ALL_LOST = (BatchStatus.FAILED, BatchStatus.PAUSED, BatchStatus.CANCELLED)
CHECKS = {
    NO_FAILED_ITEMS: "Every item of the batch is in, or was skipped for a reason; no failure waits to be reprocessed.",
    FAILURE_RATE: "No larger share of the batch failed than the processor's max_failed_share, or a twentieth.",
    RECONCILED: "Counted again, item by item: what the source held is what was stored, and all of it has one outcome.",
}


@dataclass(frozen=True, slots=True)
class BatchCheck:
    """What one check says of a batch."""

    name: str
    passed: bool
    severity: dg.AssetCheckSeverity
    description: str
    metadata: dict[str, Any]


def checks_of(
    manager: BatchManager, summary: BatchSummary, failures: Failures, partition: str | None
) -> list[BatchCheck]:
    """The first tells most; its description is that of an observation, too."""
    checks = [_no_failed_items(summary, failures), _failure_rate(manager, summary), _reconciled(manager, summary)]
    if partition is None:
        return checks
    # A check is the whole asset's: it says which partition it has looked at.
    return [replace(check, metadata={**check.metadata, "partition": partition}) for check in checks]


def _no_failed_items(summary: BatchSummary, failures: Failures) -> BatchCheck:
    return BatchCheck(
        NO_FAILED_ITEMS,
        passed=failures.outstanding == failures.ignored and summary.open_items == 0,
        severity=dg.AssetCheckSeverity.ERROR if summary.status in _ALL_LOST else dg.AssetCheckSeverity.WARN,
        description=_description(summary, failures),
        metadata={
            "batch_id": str(summary.batch_id),
            "failed_items": summary.failed_items,
            "outstanding_failures": failures.outstanding,
        },
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
        description=f"{share:.2%} of {count_of_items(summary.total_items)} failed; up to {limit:.2%} pass",
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
        description="; ".join(problems[:10]) or f"{count_of_items(found.items)} counted again, and all counts agree",
        metadata={"batch_id": str(summary.batch_id), "stored_items": found.items},
    )


def _description(summary: BatchSummary, failures: Failures) -> str:
    outstanding, ignored = failures.outstanding, failures.ignored
    if summary.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED):
        return why_stopped(summary)
    if summary.open_items:
        said = f"batch {summary.batch_id} is not finished: {count_of_items(summary.open_items)} are with another run"
    elif summary.failed_items:
        count = f"{len(failures.reasons)} reason{'' if len(failures.reasons) == 1 else 's'}"
        said = f"{summary.failed_items:,} of {count_of_items(summary.total_items)} failed for {count}"
    elif not summary.total_items:
        said = "the source had no items"
    else:
        said = f"none of {count_of_items(summary.total_items)} failed"
    if outstanding > ignored:
        wait = f"{outstanding - ignored:,} wait to be reprocessed: `reliable-imports reprocess {summary.batch_id}`"
        said = "; ".join(filter(None, [said, _causes_in_words(summary, failures.causes), wait]))
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
