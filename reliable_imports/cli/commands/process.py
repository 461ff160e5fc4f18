"""`process`: works what is pending in a batch."""

from __future__ import annotations

import click

from reliable_imports.cli.invocation import (
    Invocation,
    batch_number,
    pass_invocation,
    processor_options,
    shared_options,
)
from reliable_imports.cli.outcome import tell_outcome
from reliable_imports.cli.progress import process_with_progress


@click.command(short_help="Process what is pending in a batch.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@processor_options
@shared_options
@pass_invocation
def process(invocation: Invocation, batch_id: int) -> None:
    """Process the pending items of BATCH, and end with status 1 if any of its items failed.

    Safe to repeat, also after an interruption, and to run several times at once: each item is done once.
    """
    manager = invocation.manager_for_work()
    tell_outcome(invocation.output, manager, process_with_progress(manager, batch_id))
