"""`failures`: why items of a batch failed, and which. Answers with exit status 0."""

from __future__ import annotations

import click

from reliable_imports.cli.invocation import Invocation, batch_number, pass_invocation, shared_options
from reliable_imports.cli.output import Column, as_json_value, stored_value
from reliable_imports.cli.report import failed_for, reason_document, reasons_table
from reliable_imports.cli.text import count, number, optional
from reliable_imports.errors import ConfigurationError
from reliable_imports.manager import BatchManager
from reliable_imports.models import ItemRecord
from reliable_imports.statuses import ItemStatus


@click.command(short_help="Show why items of a batch failed.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@click.option("--reason", metavar="ID", help="Show the items that failed for this reason.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most this many reasons or items."
)
@shared_options
@pass_invocation
def failures(invocation: Invocation, batch_id: int, reason: str | None, limit: int) -> None:
    """Show the reasons why items of BATCH failed, with how many and a sample each; with --reason the items of one."""
    manager = invocation.manager()
    if reason is None:
        _show_reasons(invocation, manager, batch_id, limit)
    else:
        _show_items(invocation, manager, batch_id, reason, limit)


def _show_reasons(invocation: Invocation, manager: BatchManager, batch_id: int, limit: int) -> None:
    output = invocation.output
    summary = manager.get_summary(batch_id)
    reasons = manager.failure_reasons(batch_id)
    outstanding = manager.count_outstanding(batch_id)
    output.document(
        {
            "batch_id": batch_id,
            "failed_items": summary.failed_items,
            "outstanding_failures": outstanding,
            "reasons": [reason_document(reason) for reason in reasons[:limit]],
        }
    )
    if not reasons:
        output.say(f"no item of batch {batch_id} failed")
        return
    # Counted from the reasons, so that the sum is right while the batch is worked.
    output.headline(failed_for(sum(reason.items for reason in reasons), reasons))
    reasons_table(output, reasons[:limit])
    if len(reasons) > limit:
        output.say(f"and {count(len(reasons) - limit, 'more reason')}; --limit shows them")
    if not outstanding:
        output.say("all of them have been run again since, and none is outstanding")
        return
    first = reasons[0].reason
    output.commands(
        [
            (f"reliable-imports failures {batch_id} --reason {first}", "see the items of one reason"),
            (f"reliable-imports reprocess {batch_id} --reason {first}", "run them again, once the cause is gone"),
            (f"reliable-imports reprocess {batch_id}", "run all failed items again"),
        ]
    )


def _show_items(invocation: Invocation, manager: BatchManager, batch_id: int, reason: str, limit: int) -> None:
    output = invocation.output
    known = {known.reason: known for known in manager.failure_reasons(batch_id)}
    if reason not in known:
        raise ConfigurationError(
            f"no item of batch {batch_id} failed for reason {reason!r}; `reliable-imports failures {batch_id}` "
            "lists the reasons"
        )
    found = manager.list_items(batch_id, status=ItemStatus.FAILED, reason=reason, limit=limit)
    output.document(
        {
            "batch_id": batch_id,
            "reason": reason_document(known[reason]),
            "items": [_item_document(item) for item in found],
        }
    )
    output.headline(f"{count(known[reason].items, 'item')} failed for {known[reason].title}")
    output.table(
        [
            Column("item", is_number=True),
            Column("line", is_number=True),
            Column("attempts", is_number=True),
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
            for item in found
        ],
    )
    if known[reason].items > len(found):
        output.say(f"and {count(known[reason].items - len(found), 'more item')}; --limit shows them")


def _item_document(item: ItemRecord) -> dict[str, object]:
    return {**as_json_value(item), "source_data": stored_value(item.source_data, item.stage)}
