"""`failures`: why items of a batch failed, and which. Answers with exit status 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from reliable_imports.cli.invocation import Invocation, batch_number, pass_invocation, shared_options
from reliable_imports.cli.outcome import failed_for, reason_document, reasons_table
from reliable_imports.cli.output import Column, Output, as_json_value, stored_value
from reliable_imports.cli.text import count, number, optional
from reliable_imports.errors import ConfigurationError
from reliable_imports.statuses import ItemStatus

if TYPE_CHECKING:
    from reliable_imports.manager import BatchManager
    from reliable_imports.models import FailureReason, ItemRecord, OutstandingReason


@click.command(short_help="Show why items of a batch failed.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@click.option(
    "--reason",
    "reasons",
    metavar="ID",
    multiple=True,
    help="Show the items that failed for this reason; may be repeated.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most this many reasons or items."
)
@shared_options
@pass_invocation
def failures(invocation: Invocation, batch_id: int, reasons: tuple[str, ...], limit: int) -> None:
    """Show why items of BATCH failed: each reason with its count and a sample. With --reason, show its items.

    If items were repeated, also show what is outstanding now across the lineage: the first batch and all batches that
    repeat items of it.
    """
    manager = invocation.manager()
    if not reasons:
        _show_reasons(invocation.output, manager, batch_id, limit)
        return
    known = {known.reason: known for known in manager.failure_reasons(batch_id)}
    for reason in reasons:
        if reason not in known:
            raise ConfigurationError(
                f"no item of batch {batch_id} failed for reason {reason!r}; `reliable-imports failures {batch_id}` "
                "lists the reasons"
            )
    _show_items(invocation.output, manager, batch_id, [known[reason] for reason in dict.fromkeys(reasons)], limit)


def _show_reasons(output: Output, manager: BatchManager, batch_id: int, limit: int) -> None:
    summary = manager.get_summary(batch_id)
    reasons = manager.failure_reasons(batch_id)
    outstanding = manager.outstanding_reasons(batch_id)
    output.document(
        {
            "batch_id": batch_id,
            "failed_items": summary.failed_items,
            "outstanding_failures": sum(each.items for each in outstanding),
            "reasons": [reason_document(reason) for reason in reasons[:limit]],
            "outstanding": [reason_document(reason) for reason in outstanding[:limit]],
        }
    )
    if reasons:
        # Counted from the reasons, so that the sum is right while the batch is worked.
        output.headline(failed_for(sum(reason.items for reason in reasons), reasons))
        reasons_table(output, reasons[:limit])
        _say_more(output, len(reasons) - limit)
    else:
        output.say(f"no item of batch {batch_id} failed")
    now = {(each.batch_id, each.reason): each.items for each in outstanding}
    if now != {(batch_id, reason.reason): reason.items for reason in reasons}:
        _show_outstanding(output, batch_id, outstanding, limit)
    if summary.erased_items and (erased := manager.count_erased(batch_id)):
        output.say(f"{count(erased, 'failed item')} of the lineage cannot be repeated: data erased")
    if outstanding:
        first = next((each for each in outstanding if each.reason is not None), None)
        by_reason = (
            []
            if first is None
            else [
                (f"reliable-imports failures {first.batch_id} --reason {first.reason}", "see the items of one reason"),
                (
                    f"reliable-imports reprocess {batch_id} --reason {first.reason}",
                    "run them again, once the cause is gone",
                ),
            ]
        )
        output.commands([*by_reason, (f"reliable-imports reprocess {batch_id}", "run all that is outstanding again")])


def _show_outstanding(output: Output, batch_id: int, outstanding: Sequence[OutstandingReason], limit: int) -> None:
    output.say()
    if not outstanding:
        output.headline(
            f"nothing is outstanding across the lineage of batch {batch_id}: what failed has been run again since"
        )
        return
    items = count(sum(each.items for each in outstanding), "item")
    output.headline(f"outstanding across the lineage of batch {batch_id}: {items}")
    reasons_table(output, outstanding[:limit])
    _say_more(output, len(outstanding) - limit)


def _say_more(output: Output, left: int) -> None:
    if left > 0:
        output.say(f"and {count(left, 'more reason')}; --limit shows them")


def _show_items(
    output: Output, manager: BatchManager, batch_id: int, reasons: Sequence[FailureReason], limit: int
) -> None:
    from reliable_imports.items.redaction import shown_text

    sensitive = manager.sensitive_fields(batch_id)
    found = {
        reason.reason: [
            replace(item, source_data=shown_text(item.source_data, sensitive))
            for item in manager.list_items(batch_id, status=ItemStatus.FAILED, reason=reason.reason, limit=limit)
        ]
        for reason in reasons
    }
    output.document(
        {
            "batch_id": batch_id,
            "reasons": [reason_document(reason) for reason in reasons],
            "items": [_item_document(item) for reason in reasons for item in found[reason.reason]],
        }
    )
    for reason in reasons:
        items = found[reason.reason]
        output.headline(f"{count(reason.items, 'item')} failed for {reason.title}")
        output.table(
            [
                Column("item", is_number=True),
                Column("line", is_number=True, dispensable=1),
                Column("attempts", is_number=True, dispensable=2),
                Column("error"),
                Column("data"),
            ],
            [
                [
                    str(item.item_number),
                    optional(item.source_line),
                    number(item.attempts),
                    f"{item.error_type}: {item.error_message}",
                    item.source_data,
                ]
                for item in items
            ],
        )
        if reason.items > len(items):
            output.say(f"and {count(reason.items - len(items), 'more item')}; --limit shows them")


def _item_document(item: ItemRecord) -> dict[str, object]:
    return {**as_json_value(item), "source_data": stored_value(item.source_data, item.stage)}
