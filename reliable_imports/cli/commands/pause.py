"""`pause`: lets a batch rest."""

from __future__ import annotations

import click

from reliable_imports.cli.invocation import Invocation, batch_number, pass_invocation, shared_options
from reliable_imports.cli.output import as_json_value
from reliable_imports.cli.text import count


@click.command(short_help="Let a batch rest; `process` resumes it.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@click.option("--reason", metavar="TEXT", help="Why; kept with the batch.")
@shared_options
@pass_invocation
def pause(invocation: Invocation, batch_id: int, reason: str | None) -> None:
    """Stop all work on BATCH, wherever it runs, after the chunk that is under way; what is pending stays pending."""
    summary = invocation.manager().pause_batch(batch_id, reason=reason)
    invocation.output.document(as_json_value(summary))
    invocation.output.say(f"batch {batch_id} is paused with {count(summary.open_items, 'open item')}")
    invocation.output.commands([(f"reliable-imports process {batch_id}", "resume it")])
