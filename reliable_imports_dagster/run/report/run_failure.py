"""Whether a run fails because of its batches, and in which words."""

from collections.abc import Sequence
from typing import Literal

import dagster as dg

from reliable_imports import BatchStatus, BatchSummary
from reliable_imports_dagster.run.report.words import count_of_items

FailRunOn = Literal["failed", "any_failure", "never"]
"""When a run fails because of its items: if none was completed, if any failed, or never."""


def failure_of(summaries: Sequence[BatchSummary], fail_run_on: FailRunOn) -> dg.Failure | None:
    """The failure to raise for these batches, after their results are out; None if the run is to succeed."""
    stopped = [summary for summary in summaries if summary.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED)]
    if stopped:
        return dg.Failure("; ".join(map(why_stopped, stopped)), allow_retries=False)
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
        f"batch {summary.batch_id}: {summary.failed_items:,} of {count_of_items(summary.total_items)} failed"
        for summary in bad
    )
    return dg.Failure(
        f"{told}; `reliable-imports failures {bad[0].batch_id}` shows why",
        # The batch is closed: a retry would find nothing to do.
        allow_retries=False,
    )


def why_stopped(summary: BatchSummary) -> str:
    """A stopped batch fails its run whatever the team says of failed items: it is not done."""
    left = f"{count_of_items(summary.open_items)} of {summary.total_items:,} left pending"
    if summary.status is BatchStatus.CANCELLED:
        return f"batch {summary.batch_id} was cancelled, {left}: `reliable-imports reprocess {summary.batch_id}`"
    return (
        f"batch {summary.batch_id} is paused, {left}: {summary.pause_reason or 'somebody asked for it'}; when the "
        f"cause is gone, re-execute this run or `reliable-imports process {summary.batch_id}` to go on"
    )
