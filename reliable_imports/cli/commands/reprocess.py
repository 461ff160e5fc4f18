"""`reprocess`: run failed items again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reliable_imports.cli.invocation import (
    Invocation,
    batch_or_type,
    pass_invocation,
    processor_options,
    requester,
    require_one_of_both,
    shared_options,
)
from reliable_imports.cli.outcome import tell_outcome
from reliable_imports.cli.output import Output, as_json_value
from reliable_imports.cli.progress import process_with_progress
from reliable_imports.cli.repeating import end_with_status, of_batches, repeat_lineage, reprocess_file, verb_of
from reliable_imports.cli.text import count
from reliable_imports.cli.trying import tell_try, try_options

if TYPE_CHECKING:
    from reliable_imports.batches.repeats.request import ReprocessRequest
    from reliable_imports.manager import BatchManager


_NOTHING_TO_SET = "nothing is outstanding with other values in these fields,"


@click.command(short_help="Run the failed items of a batch again.")
@batch_or_type
@click.option(
    "--reason",
    "reasons",
    metavar="ID",
    multiple=True,
    help="Only failures of this reason, by its id or the beginning of that; may be repeated. `failures` lists them.",
)
@click.option("--since", metavar="TIME", help="Only what failed at this time or later: 2026-01-31, or with 14:30.")
@click.option("--changed", is_flag=True, help="Only what failed under other code of the processor than there is now.")
@click.option("--due", is_flag=True, help="Only what failed for want of a row that is there now.")
@click.option("--limit", type=click.IntRange(1), help="At most so many items of each lineage, the first ones.")
@click.option("--all", "all_items", is_flag=True, help="All items that have ended, completed ones too.")
@click.option(
    "--overwrite-newer",
    is_flag=True,
    help="Let an old item overwrite a row that a newer item has written; else that row is left as it is.",
)
@click.option(
    "--from",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Only what was changed in this file, which `failures --to` has written, with the data that it has there.",
)
@click.option(
    "--set",
    "fields",
    metavar="FIELD=VALUE",
    multiple=True,
    help="With --reason: give the items this value first, JSON or a text; may be repeated.",
)
@try_options
@click.option(
    "--canary",
    metavar="[N]",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=5,
    help="Try N items for each reason first, 5 by default; leave the others alone where all of these fail as before.",
)
@click.option("--hold", is_flag=True, help="Make the new batch, and let it wait; `process` begins it.")
@click.option("--skip", metavar="WHY", help="Give the items up, for this reason; they are outstanding no more.")
@click.option("--note", metavar="TEXT", help="Why; kept with the new batch.")
@processor_options
@shared_options
@pass_invocation
def reprocess(
    invocation: Invocation,
    /,
    batch_id: int | None,
    batch_type: str | None,
    reasons: tuple[str, ...],
    since: str | None,
    all_items: bool,
    due: bool,
    only_try: bool,
    sample: int | None,
    with_effects: bool,
    file: Path | None,
    fields: tuple[str, ...],
    **options: Any,
) -> None:
    """Take the outstanding failures of BATCH and of its lineage into a new batch and process it.

    With --as, do that for every lineage of a type; each gets a batch of its own.

    Safe to repeat: an item is taken once, a reprocess batch that was interrupted is resumed, and if nothing is
    outstanding nothing is made. Status 1 if items failed again.

    With --try the items are worked under today's code and rolled back: it says what would come of it. --all --try tells
    what would come out differently for items that were completed.
    """
    if file is not None:
        narrowed = [due, reasons, since, all_items, fields, sample]
        if any(narrowed) or any(options[name] for name in ("changed", "limit", "canary", "skip")):
            raise click.UsageError(
                "--from says which items are meant, and goes with BATCH, --as, --try, --with-effects, --hold, "
                "--overwrite-newer and --note alone"
            )
        if batch_id is not None and batch_type is not None:
            raise click.UsageError("give a BATCH, or --as TYPE, not both")
        reprocess_file(
            invocation, file, batch_id, batch_type, only_try=only_try, with_effects=with_effects, options=options
        )
        return
    require_one_of_both(batch_id, batch_type)
    if fields and not reasons:
        raise click.UsageError("--set needs a --reason, which says for which failures")
    if all_items and due:
        raise click.UsageError("--all and --due exclude each other")
    if all_items and reasons:
        raise click.UsageError("--all and --reason exclude each other")
    if all_items and batch_id is None:
        raise click.UsageError("--all needs a BATCH, which says of which lineage")
    from reliable_imports.batches.repeats.request import ReprocessRequest, WhichItems

    request = ReprocessRequest(
        which=WhichItems.ALL if all_items else WhichItems.RESOLVED_REFERENCES if due else WhichItems.OUTSTANDING,
        reasons=reasons or None,
        since=None if since is None else _moment(since),
        requested_by=requester(),
        **(_corrections(fields) if fields else {}),
        **options,
    )
    manager = invocation.manager_for_work()
    # Before anything is taken: a batch that nobody here can process would be left open.
    manager.registry.get(manager.get_batch(batch_id).batch_type if batch_id is not None else batch_type or "")
    if only_try:
        _try(invocation.output, manager, batch_id, batch_type, request, sample=sample, with_effects=with_effects)
    elif batch_id is not None:
        _reprocess_batch(invocation.output, manager, batch_id, request)
    elif batch_type is not None:
        _reprocess_type(invocation.output, manager, batch_type, request)


def _try(
    output: Output,
    manager: BatchManager,
    batch_id: int | None,
    batch_type: str | None,
    request: ReprocessRequest,
    *,
    sample: int | None,
    with_effects: bool,
) -> None:
    if batch_id is not None:
        report = manager.try_reprocess(batch_id, request, sample=sample, with_effects=with_effects)
        tell_try(output, manager, report, f"across the lineage of batch {batch_id}")
    elif batch_type is not None:
        report = manager.try_failures(batch_type, request, sample=sample, with_effects=with_effects)
        tell_try(output, manager, report, "across all lineages")


def _corrections(given: tuple[str, ...]) -> dict[str, Any]:
    """`--set` as corrections."""
    from reliable_imports.batches.repeats.request import SetFields  # `--help` does without it

    fields = SetFields.of(given)
    return {"corrections": fields, "corrected_from": str(fields)}


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time; give it as 2026-01-31 or 2026-01-31T14:30") from None


def _reprocess_batch(output: Output, manager: BatchManager, batch_id: int, request: ReprocessRequest) -> None:
    new_batch_id = manager.create_reprocess_batch(batch_id, request)
    if new_batch_id is None:
        held = manager.held_batches(batch_id)
        erased = manager.count_erased(batch_id)
        output.document(
            {
                "batch_id": None,
                "reprocess_of": batch_id,
                "outstanding_failures": manager.count_outstanding(batch_id),
                "held_batches": held,
                "erased_failures": erased,
                "reasons": [],
            }
        )
        about = f" for reason {' or '.join(request.reasons)}" if request.reasons else ""
        what = _NOTHING_TO_SET if request.corrections is not None else "nothing is outstanding"
        output.say(f"nothing to reprocess: {what} across the lineage of batch {batch_id}{about}")
        for held_id in held:
            output.say(f"batch {held_id} holds items back; `reliable-imports process {held_id}` begins it")
        if erased:
            output.say(f"{count(erased, 'failed item')} of it cannot be repeated: data erased")
        return
    repeated = manager.repeated_items(new_batch_id)
    output.say(f"batch {new_batch_id} {verb_of(request)} {of_batches(repeated)}")
    if request.hold:
        output.document({**as_json_value(manager.get_summary(new_batch_id)), "is_held": True, "repeats": repeated})
        output.commands(
            [
                (f"reliable-imports process {new_batch_id}", "begin it"),
                (f"reliable-imports cancel {new_batch_id}", "give its items back"),
            ]
        )
        return
    tell_outcome(output, manager, process_with_progress(manager, new_batch_id), repeats=repeated)


def _reprocess_type(output: Output, manager: BatchManager, batch_type: str, request: ReprocessRequest) -> None:
    from reliable_imports.errors import UnknownReason

    summaries = []
    unknown: UnknownReason | None = None
    for first_batch_id in manager.open_lineages(batch_type):
        try:
            summary = repeat_lineage(output, manager, first_batch_id, request)
        except UnknownReason as error:  # nothing of this lineage failed for it; another may have
            unknown = error
            continue
        if summary is not None:
            summaries.append(summary)
    if unknown is not None and not summaries:
        raise unknown
    output.document({"batch_type": batch_type, "batches": [as_json_value(summary) for summary in summaries]})
    if not summaries:
        what = f"nothing of {batch_type} that was asked for is outstanding"
        if request.corrections is not None:
            what = f"{_NOTHING_TO_SET} of {batch_type}"
        output.say(f"nothing to reprocess: {what}")
    end_with_status(summaries)
