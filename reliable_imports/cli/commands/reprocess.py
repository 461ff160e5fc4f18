"""`reprocess`: run failed items again."""

from __future__ import annotations

from collections.abc import Mapping

import click

from reliable_imports.cli.invocation import (
    Invocation,
    batch_number,
    pass_invocation,
    processor_options,
    requester,
    shared_options,
)
from reliable_imports.cli.outcome import tell_outcome
from reliable_imports.cli.progress import process_with_progress
from reliable_imports.cli.text import count, number


@click.command(short_help="Run the failed items of a batch again.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@click.option(
    "--reason",
    "reasons",
    metavar="ID",
    multiple=True,
    help="Only failures of this reason; may be repeated. `failures BATCH` lists them.",
)
@click.option("--all", "all_items", is_flag=True, help="All items that have ended, completed ones too.")
@click.option(
    "--overwrite-newer",
    is_flag=True,
    help="Let an old item overwrite a row that a newer item has written; else that row is left as it is.",
)
@click.option("--note", metavar="TEXT", help="Why; kept with the new batch.")
@processor_options
@shared_options
@pass_invocation
def reprocess(
    invocation: Invocation,
    batch_id: int,
    reasons: tuple[str, ...],
    all_items: bool,
    overwrite_newer: bool,
    note: str | None,
) -> None:
    """Take the outstanding failures of BATCH and of its lineage into a new batch and process it.

    Safe to repeat: an item is taken once, a reprocess batch that was interrupted is resumed, and if nothing is
    outstanding nothing is made. Status 1 if items failed again.
    """
    if all_items and reasons:
        raise click.UsageError("--all and --reason exclude each other")
    from reliable_imports.batches.request import ReprocessRequest, WhichItems

    output = invocation.output
    manager = invocation.manager_with_processors()
    # Before anything is taken: a batch that nobody here can process would be left open.
    manager.registry.get(manager.get_batch(batch_id).batch_type)
    new_batch_id = manager.create_reprocess_batch(
        batch_id,
        ReprocessRequest(
            which=WhichItems.ALL if all_items else WhichItems.OUTSTANDING,
            reasons=reasons or None,
            overwrite_newer=overwrite_newer,
            requested_by=requester(),
            note=note,
        ),
    )
    if new_batch_id is None:
        erased = manager.count_erased(batch_id)
        output.document(
            {
                "batch_id": None,
                "reprocess_of": batch_id,
                "outstanding_failures": manager.count_outstanding(batch_id),
                "erased_failures": erased,
                "reasons": [],
            }
        )
        about = f" for reason {' or '.join(reasons)}" if reasons else ""
        output.say(f"nothing to reprocess: nothing is outstanding across the lineage of batch {batch_id}{about}")
        if erased:
            output.say(f"{count(erased, 'failed item')} of it cannot be repeated: data erased")
        return
    repeated = manager.repeated_items(new_batch_id)
    output.say(f"batch {new_batch_id} repeats {_of_batches(repeated)}")
    tell_outcome(output, manager, process_with_progress(manager, new_batch_id), repeats=repeated)


def _of_batches(repeated: Mapping[int, int]) -> str:
    """`5 items of batch 1`, or `5 items: 3 of batch 1, 2 of batch 8`."""
    items = count(sum(repeated.values()), "item")
    if len(repeated) == 1:
        return f"{items} of batch {next(iter(repeated))}"
    return f"{items}: {', '.join(f'{number(each)} of batch {batch_id}' for batch_id, each in repeated.items())}"
