"""`verify`: counts batches again."""

from __future__ import annotations

import click

from reliable_imports.cli.exit_status import ExitStatus
from reliable_imports.cli.invocation import Invocation, batch_number, pass_invocation, shared_options
from reliable_imports.cli.output import Column, as_json_value
from reliable_imports.cli.text import count, number


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
