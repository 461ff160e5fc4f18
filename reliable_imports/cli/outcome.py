"""How a batch stands and why its items failed, as several commands tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from reliable_imports.cli.exit_status import ExitStatus
from reliable_imports.cli.output import Column, Output, as_json_value, stored_value
from reliable_imports.cli.text import count, duration, number
from reliable_imports.statuses import BatchStatus

if TYPE_CHECKING:
    from reliable_imports.causes import FailureReason, OutstandingReason
    from reliable_imports.manager import BatchManager
    from reliable_imports.models import BatchSummary

_SHORTLY = 5


def tell_outcome(
    output: Output, manager: BatchManager, summary: BatchSummary, *, repeats: Mapping[int, int] | None = None
) -> None:
    """Say how the work on a batch ended, and end the command with the status that tells the same.

    Args:
        repeats: for a JSON document: how many items of which batches it repeats.
    """
    reasons, outstanding = [], 0
    if summary.failed_items or output.as_json:
        with manager.connected():
            reasons = manager.failure_reasons(summary.batch_id) if summary.failed_items else []
            outstanding = manager.count_outstanding(summary.batch_id)
    output.document(
        {
            **as_json_value(summary),
            "items_per_second": items_per_second(summary),
            "outstanding_failures": outstanding,
            "reasons": [reason_document(reason) for reason in reasons],
            **({} if repeats is None else {"repeats": repeats}),
        }
    )
    output.say(outcome_line(summary))
    for warning in summary.warnings:
        output.say(f"warning: {warning}")
    if summary.status is BatchStatus.PAUSED:
        output.headline(f"paused with {count(summary.open_items, 'open item')}: {summary.pause_reason}")
        output.commands([(f"reliable-imports process {summary.batch_id}", "resume it, once that is repaired")])
    elif summary.status is BatchStatus.CANCELLED:
        output.headline(f"cancelled with {count(summary.open_items, 'open item')}")
    elif summary.open_items:
        output.say(f"{count(summary.open_items, 'item')} still open, held by others who work the batch")
    if not summary.total_items:
        output.say("warning: the batch has no items")
    if summary.failed_items:
        output.say()
        output.headline(failed_for(summary.failed_items, reasons))
        reasons_table(output, reasons[:_SHORTLY])
        if len(reasons) > _SHORTLY:
            output.say(f"and {count(len(reasons) - _SHORTLY, 'more reason')}")
        output.commands(what_next(summary.batch_id, outstanding))
        raise click.exceptions.Exit(ExitStatus.DONE_WITH_FAILURES)
    if summary.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED):
        raise click.exceptions.Exit(ExitStatus.COULD_NOT)


def outcome_line(summary: BatchSummary) -> str:
    counts = (
        f"{number(summary.completed_items)} completed, {number(summary.failed_items)} failed, "
        f"{number(summary.skipped_items)} skipped of {count(summary.total_items, 'item')}"
    )
    rate = items_per_second(summary)
    speed = f" ({rate:,.0f} items/s)" if rate is not None else ""
    return f"batch {summary.batch_id} {status_words(summary.status)}: {counts} in {duration(summary.seconds)}{speed}"


def status_words(status: BatchStatus) -> str:
    """`completed with failures`, for a sentence."""
    return status.value.replace("_", " ")


def items_per_second(summary: BatchSummary) -> float | None:
    done = summary.total_items - summary.open_items
    return round(done / summary.seconds, 1) if summary.seconds and done else None


def failed_for(failed_items: int, reasons: Sequence[FailureReason]) -> str:
    return f"{count(failed_items, 'item')} failed for {count(len(reasons), 'reason')}"


def reasons_table(output: Output, reasons: Sequence[FailureReason | OutstandingReason]) -> None:
    """Why items failed; of outstanding failures, which are those of a whole lineage, also in which batch."""
    from reliable_imports.causes import OutstandingReason

    batches = [str(reason.batch_id) if isinstance(reason, OutstandingReason) else None for reason in reasons]
    is_of_lineage = any(batches)
    output.table(
        [
            Column("items", is_number=True),
            *([Column("batch", is_number=True)] if is_of_lineage else []),
            Column("reason", is_whole=True),
            *([] if is_of_lineage else [Column("stage", is_whole=True)]),
            Column("what"),
            Column("sample", dispensable=1),
        ],
        [
            [
                number(reason.items),
                *([batch] if batch is not None else []),
                reason.reason or "-",
                *([] if batch is not None else [str(reason.stage)]),
                reason.title or "not processed: the batch was cancelled",
                f"item {number(reason.sample_item_number)}: {reason.sample_source_data}",
            ]
            for reason, batch in zip(reasons, batches, strict=True)
        ],
    )


def reason_document(reason: FailureReason | OutstandingReason) -> dict[str, Any]:
    document: dict[str, Any] = as_json_value(reason)
    document["sample_source_data"] = stored_value(reason.sample_source_data, reason.stage)
    return document


def what_next(batch_id: int, outstanding: int) -> list[tuple[str, str]]:
    """The commands that help after failures."""
    commands = [(f"reliable-imports failures {batch_id}", "see each reason and its items")]
    if outstanding:
        commands.append((f"reliable-imports reprocess {batch_id}", "run them again, once the cause is gone"))
    return commands
