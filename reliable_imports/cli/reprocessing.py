"""`reprocess`: run failed items again."""

from __future__ import annotations

import click

from reliable_imports.cli.importing import process_with_progress
from reliable_imports.cli.invocation import (
    Invocation,
    batch_number,
    pass_invocation,
    processor_options,
    requester,
    shared_options,
)
from reliable_imports.cli.report import tell_outcome
from reliable_imports.cli.text import count


@click.command(short_help="Run the failed items of a batch again.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@click.option("--reason", metavar="ID", help="Only failures of this reason; `failures BATCH` lists them.")
@click.option("--all", "all_items", is_flag=True, help="All items that have an end, completed ones too.")
@click.option(
    "--overwrite-newer",
    is_flag=True,
    help="Let an old item overwrite what a newer one has written under the same key; else it is skipped.",
)
@click.option("--note", metavar="TEXT", help="Why; kept with the new batch.")
@processor_options
@shared_options
@pass_invocation
def reprocess(
    invocation: Invocation, batch_id: int, reason: str | None, all_items: bool, overwrite_newer: bool, note: str | None
) -> None:
    """Take the outstanding failures of BATCH and of its earlier repeats into a new batch and process it.

    Safe to repeat: an item is taken once, a reprocess batch that was interrupted is resumed, and if nothing is
    outstanding nothing is made. Status 1 if items failed again.
    """
    if all_items and reason is not None:
        raise click.UsageError("--all and --reason exclude each other")
    output = invocation.output
    manager = invocation.manager_with_processors()
    # Before anything is taken: a batch that nobody here can process would be left open.
    manager.registry.get(manager.get_batch(batch_id).batch_type)
    new_batch_id = manager.create_reprocess_batch(
        batch_id,
        failed_items_only=not all_items,
        reason=reason,
        overwrite_newer=overwrite_newer,
        requested_by=requester(),
        note=note,
    )
    if new_batch_id is None:
        output.document(
            {
                "batch_id": None,
                "reprocess_of": batch_id,
                "outstanding_failures": manager.count_outstanding(batch_id),
                "reasons": [],
            }
        )
        about = "" if reason is None else f" for reason {reason}"
        output.say(f"nothing to reprocess: no failed item of batch {batch_id} is outstanding{about}")
        return
    before = manager.get_summary(new_batch_id)
    output.say(f"batch {new_batch_id} repeats {count(before.total_items, 'item')} of batch {batch_id}")
    tell_outcome(output, manager, process_with_progress(manager, new_batch_id))
