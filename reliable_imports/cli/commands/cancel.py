"""`cancel`: ends a batch for good."""

from __future__ import annotations

import click

from reliable_imports.cli.invocation import Invocation, batch_number, pass_invocation, shared_options
from reliable_imports.cli.output import as_json_value
from reliable_imports.cli.text import count


@click.command(short_help="End a batch for good.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@click.option("--reason", metavar="TEXT", help="Why; kept with the batch.")
@shared_options
@pass_invocation
def cancel(invocation: Invocation, batch_id: int, reason: str | None) -> None:
    """End BATCH for good; work on it stops after the chunk that is under way.

    Nothing that was done is undone. What was pending counts as outstanding, so `reprocess` can still take it.
    """
    summary = invocation.manager().cancel_batch(batch_id, reason=reason)
    invocation.output.document(as_json_value(summary))
    invocation.output.say(f"batch {batch_id} is cancelled with {count(summary.open_items, 'open item')}")
    if summary.open_items:
        invocation.output.commands([(f"reliable-imports reprocess {batch_id}", "take them up again")])
