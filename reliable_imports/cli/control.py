"""`pause`, `cancel` and `verify`: taking a hand in a batch, and counting it again."""

from __future__ import annotations

import click

from reliable_imports.cli.exit_status import ExitStatus
from reliable_imports.cli.invocation import Invocation, batch_number, pass_invocation, shared_options
from reliable_imports.cli.output import Column, as_json_value
from reliable_imports.cli.text import count, number

_reason_option = click.option("--reason", metavar="TEXT", help="Why; kept with the batch.")


@click.command(short_help="Let a batch rest; `process` resumes it.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@_reason_option
@shared_options
@pass_invocation
def pause(invocation: Invocation, batch_id: int, reason: str | None) -> None:
    """Stop all work on BATCH, wherever it runs, after the chunk that is under way; what is pending stays pending."""
    summary = invocation.manager().pause_batch(batch_id, reason=reason)
    invocation.output.document(as_json_value(summary))
    invocation.output.say(f"batch {batch_id} is paused with {count(summary.open_items, 'open item')}")
    invocation.output.commands([(f"reliable-imports process {batch_id}", "resume it")])


@click.command(short_help="End a batch for good.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@_reason_option
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


@click.command(short_help="Count a batch again and prove that it adds up.")
@click.argument("batch_id", metavar="[BATCH]", type=batch_number, required=False)
@shared_options
@pass_invocation
def verify(invocation: Invocation, batch_id: int | None) -> None:
    """Count the items and outcomes of BATCH, or of all batches, and compare them with what the batch says.

    Status 1 if anything does not add up.
    """
    output = invocation.output
    found = invocation.manager().verify(batch_id)
    wrong = [each for each in found if each.problems]
    output.document({"batches": [as_json_value(each) for each in found], "verified": not wrong})
    items = sum(each.items for each in found)
    if not wrong:
        output.say(f"{count(len(found), 'batch', 'batches')} with {count(items, 'item')} add up")
        return
    output.headline(f"{number(len(wrong))} of {count(len(found), 'batch', 'batches')} do not add up")
    output.table(
        [Column("batch", is_number=True), Column("problem")],
        [[str(each.batch_id), problem] for each in wrong for problem in each.problems],
    )
    raise click.exceptions.Exit(ExitStatus.DONE_WITH_FAILURES)
