"""`batches`: the newest ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reliable_imports.cli.invocation import Invocation, pass_invocation, shared_options
from reliable_imports.cli.output import Column
from reliable_imports.cli.text import duration, moment, number, optional
from reliable_imports.statuses import BatchStatus

if TYPE_CHECKING:
    from reliable_imports.models import BatchSummary


@click.command(short_help="List the newest batches.")
@click.option("--type", "batch_type", metavar="TYPE", help="Only batches of this type.")
@click.option(
    "--status", "status_", type=click.Choice([each.value for each in BatchStatus]), help="Only batches in this status."
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most this many.")
@shared_options
@pass_invocation
def batches(invocation: Invocation, batch_type: str | None, status_: str | None, limit: int) -> None:
    """List batches, the newest first."""
    output = invocation.output
    found = invocation.manager().list_batches(batch_type=batch_type, status=status_, limit=limit)
    output.document({"batches": found})
    if not found:
        output.say("no batches")
        return
    output.table(
        [
            Column("batch", is_number=True),
            Column("type", is_name=True),
            Column("status", is_name=True),
            Column("items", is_number=True),
            Column("completed", is_number=True),
            Column("failed", is_number=True),
            Column("skipped", is_number=True, dispensable=2),
            Column("open", is_number=True, dispensable=1),
            Column("created", is_whole=True, dispensable=4),
            Column("took", is_number=True, dispensable=6),
            Column("repeats", is_number=True, dispensable=5),
            Column("source", dispensable=3),
        ],
        [_batch_row(summary) for summary in found],
    )


def _batch_row(summary: BatchSummary) -> list[str]:
    return [
        str(summary.batch_id),
        summary.batch_type,
        summary.status.value,
        number(summary.total_items),
        number(summary.completed_items),
        number(summary.failed_items),
        number(summary.skipped_items),
        number(summary.open_items),
        moment(summary.created_at),
        duration(summary.seconds),
        optional(summary.reprocess_of),
        optional(summary.source),
    ]
