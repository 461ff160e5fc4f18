"""`failures`: why items failed, where, since when, and what people say of it. Answers with exit status 0."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reliable_imports.cli.invocation import (
    Invocation,
    batch_or_type,
    pass_invocation,
    processor_options,
    requester,
    shared_options,
)
from reliable_imports.cli.outcome import reason_document, reasons_table
from reliable_imports.cli.output import Column, Output, as_json_value
from reliable_imports.cli.reason import show_details, show_next, summary_document, values_in_words
from reliable_imports.cli.text import count, moment, number
from reliable_imports.statuses import ReasonState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reliable_imports.causes import ReasonSummary
    from reliable_imports.manager import BatchManager

_DEFAULT_LIMIT = 20


@click.command(short_help="Show why items failed.")
@batch_or_type
@click.option(
    "--reason",
    "reasons",
    metavar="ID",
    multiple=True,
    help="Show all that is known of this reason; the beginning of its id is enough. May be repeated.",
)
@click.option("--all", "with_closed", is_flag=True, help="Also reasons of which nothing is outstanding.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"At most this many reasons or items; {_DEFAULT_LIMIT} by default, and all reasons with --json.",
)
@click.option("--note", metavar="TEXT", help="With --reason: keep what you have to say of it.")
@click.option(
    "--ignore",
    "ignore_why",
    metavar="WHY",
    help="With --reason: leave it. No check is yellow for it, and sensors leave it, until it surges.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    metavar="DATE",
    help="With --ignore: until when, in local time.",
)
@click.option("--no-ignore", "end_ignore", is_flag=True, help="With --reason: take --ignore back.")
@click.option(
    "--as-test",
    is_flag=True,
    help="With --reason: print a file for pytest that fails now, and passes once the cause is gone. Others of the same "
    "shape stand for sensitive values.",
)
@click.option(
    "--to",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all outstanding failures into a .csv, .jsonl or .xlsx, with what is wrong, to be corrected there; "
    "`reprocess --from` takes it.",
)
@click.option("--plain", is_flag=True, help="With --to: only the columns of the source, as they came, for its sender.")
@click.option(
    "--with-sensitive",
    is_flag=True,
    help="With --as-test and --to: sensitive values as they are; else `***` with --to.",
)
@processor_options
@shared_options
@pass_invocation
def failures(
    invocation: Invocation,
    batch_id: int | None,
    batch_type: str | None,
    reasons: tuple[str, ...],
    with_closed: bool,
    limit: int | None,
    note: str | None,
    ignore_why: str | None,
    until: datetime | None,
    end_ignore: bool,
    as_test: bool,
    file: Path | None,
    plain: bool,
    with_sensitive: bool,
) -> None:
    """Show why items failed and wait: each cause over all batches, or those of BATCH or TYPE.

    With --reason, show all that is known of one: the values of the field at fault, samples, days, batches, and what
    people did about it.

    A reason is open while an item that failed for it is outstanding, which is one that no later item repeats. It is
    back if it was met again after it was repaired, under code that had not failed before. It is ignored if a person
    said so, until more than twice as many items fail for it on one day, ten at least, as on any day before.
    """
    output = invocation.output
    words = [note is not None, ignore_why is not None, end_ignore]
    if any(words) and len(reasons) != 1:
        raise click.UsageError("--note, --ignore and --no-ignore are said of one --reason")
    if sum(words) > 1:
        raise click.UsageError("say one of --note, --ignore and --no-ignore at a time")
    if until is not None and ignore_why is None:
        raise click.UsageError("--until belongs to --ignore")
    if batch_id is not None and batch_type is not None:
        raise click.UsageError("give a BATCH, or --as TYPE, not both")
    if as_test:
        if len(reasons) != 1 or any(words):
            raise click.UsageError("--as-test writes down one --reason")
        _write_test(invocation, reasons[0], batch_id, batch_type, with_sensitive=with_sensitive)
        return
    if file is not None:
        if any(words) or with_closed or limit is not None:
            raise click.UsageError("--to writes all that is outstanding, and goes with BATCH, --as and --reason alone")
        _write_file(invocation, file, batch_id, batch_type, reasons, plain=plain, with_sensitive=with_sensitive)
        return
    if plain:
        raise click.UsageError("--plain belongs to --to")
    if with_sensitive:
        raise click.UsageError("--with-sensitive belongs to --as-test and --to")
    manager = invocation.manager()
    if any(words):
        _say(output, manager, reasons[0], note=note, ignore_why=ignore_why, until=until)
    elif reasons:
        found = [
            manager.failure(reason, batch_id=batch_id, batch_type=batch_type, samples=limit or _DEFAULT_LIMIT)
            for reason in dict.fromkeys(reasons)
        ]
        show_details(output, found)
    elif batch_id is not None:
        _show_batch(output, manager, batch_id, limit)
    else:
        _show_open(output, manager, batch_type, limit, with_closed=with_closed)


def _say(
    output: Output,
    manager: BatchManager,
    prefix: str,
    *,
    note: str | None,
    ignore_why: str | None,
    until: datetime | None,
) -> None:
    if note is not None:
        reason = manager.note_failure(prefix, note, by=requester())
        said = "noted"
    elif ignore_why is not None:
        reason = manager.ignore_failure(prefix, ignore_why, until=until, by=requester())
        said = f"ignored until {moment(until)}, or it surges" if until else "ignored until it surges"
    else:
        reason = manager.end_ignoring_failure(prefix, by=requester())
        said = "not ignored any more"
    summary = manager.failure(reason, samples=0).summary
    output.document({"reasons": [summary_document(summary)]})
    output.say(f"{reason} {said}: {summary.title}")


def _write_test(
    invocation: Invocation, reason: str, batch_id: int | None, batch_type: str | None, *, with_sensitive: bool
) -> None:
    from reliable_imports.cli.as_test import written_test

    manager = invocation.manager_with_processors()
    details = manager.failure(reason, batch_id=batch_id, batch_type=batch_type, samples=200)
    text = written_test(manager, details, with_sensitive=with_sensitive)
    invocation.output.document({"reason": details.summary.reason, "test": text})
    for line in text.splitlines():
        invocation.output.verbatim(line)


def _write_file(
    invocation: Invocation,
    file: Path,
    batch_id: int | None,
    batch_type: str | None,
    reasons: tuple[str, ...],
    *,
    plain: bool,
    with_sensitive: bool,
) -> None:
    output = invocation.output
    written = invocation.manager().export_failures(
        file, batch_id, batch_type=batch_type, reasons=reasons, plain=plain, with_sensitive=with_sensitive
    )
    output.document({"file": str(file), **as_json_value(written)})
    output.say(f"{count(written.items, 'failed item')} of {written.batch_type} written to {file}")
    if written.masked:
        output.say(f"{', '.join(written.masked)} masked as ***; --with-sensitive writes the values")
    if written.undone:
        which = str(batch_id) if batch_id is not None else f"--as {written.batch_type}"
        output.say(
            f"{count(written.undone, 'item')} more that a cancelled batch left undone; "
            f"`reliable-imports reprocess {which}` runs them"
        )
    if not plain:
        output.commands(
            [
                (f"reliable-imports reprocess --from {file} --try", "see what your corrections would come to"),
                (f"reliable-imports reprocess --from {file}", "run what you have changed again"),
            ]
        )


def _show_open(
    output: Output, manager: BatchManager, batch_type: str | None, limit: int | None, *, with_closed: bool
) -> None:
    found = manager.failures(batch_type=batch_type, with_closed=with_closed)
    output.document({"reasons": [summary_document(each) for each in found[:limit]]})
    about = f" of {batch_type}" if batch_type else ""
    if not found:
        output.say(f"no failure{about} is outstanding")
        return
    told = [each for each in found if each.state in (ReasonState.OPEN, ReasonState.BACK)]
    left = [each for each in found if each.state is ReasonState.IGNORED]
    back = sum(each.state is ReasonState.BACK for each in told)
    said = f"{count(len(told), 'reason')}{about} {'is' if len(told) == 1 else 'are'} open"
    said += f", {back} of them back" if back else ""
    said += f"; {number(len(left))} {'is' if len(left) == 1 else 'are'} ignored" if left else ""
    output.headline(said)
    # New and returned ones are what people look for; what they said to leave comes last.
    order = {ReasonState.BACK: 0, ReasonState.OPEN: 1, ReasonState.IGNORED: 2, ReasonState.CLOSED: 3}
    ordered = sorted(found, key=lambda each: order[each.state])
    limit = limit or _DEFAULT_LIMIT
    _summaries_table(
        output, ordered[:limit], with_type=batch_type is None, with_state=bool(back or left) or with_closed
    )
    _say_more(output, len(ordered) - limit)
    show_next(output, ordered[0])


def _show_batch(output: Output, manager: BatchManager, batch_id: int, limit: int | None) -> None:
    summary = manager.get_summary(batch_id)
    found = manager.failures(batch_id, with_closed=True)
    outstanding = manager.outstanding_reasons(batch_id)
    output.document(
        {
            "batch_id": batch_id,
            "failed_items": summary.failed_items,
            "outstanding_failures": sum(each.items for each in outstanding),
            "reasons": [summary_document(each) for each in found[:limit]],
            "outstanding": [reason_document(each) for each in outstanding[:limit]],
        }
    )
    limit = limit or _DEFAULT_LIMIT
    if found:
        output.headline(f"{count(summary.failed_items, 'item')} failed for {count(len(found), 'reason')}")
        _summaries_table(output, found[:limit], with_type=False, with_state=True)
        _say_more(output, len(found) - limit)
    else:
        output.say(f"no item of batch {batch_id} failed")
    if summary.erased_items and (erased := manager.count_erased(batch_id)):
        output.say(f"{count(erased, 'failed item')} of the lineage cannot be repeated: data erased")
    # What is outstanding elsewhere in the lineage is in no row above.
    known = {each.reason for each in found}
    elsewhere = [each for each in outstanding if each.reason not in known]
    if elsewhere:
        output.say()
        items = count(sum(each.items for each in elsewhere), "item")
        output.headline(f"outstanding in the lineage of batch {batch_id} for other reasons: {items}")
        reasons_table(output, elsewhere[:limit])
        _say_more(output, len(elsewhere) - limit)
    if not outstanding:
        if found:
            output.say(f"nothing is outstanding across the lineage of batch {batch_id}: all was run again since")
        return
    first = next((each for each in found if each.state is not ReasonState.CLOSED), None)
    if first is not None:
        show_next(output, first, batch_id)
    else:
        output.commands([(f"reliable-imports reprocess {batch_id}", "run all that is outstanding again")])


def _summaries_table(output: Output, found: Sequence[ReasonSummary], *, with_type: bool, with_state: bool) -> None:
    output.table(
        [
            Column("outstanding", is_number=True),
            Column("only", is_number=True, dispensable=3),
            Column("failed", is_number=True, dispensable=2),
            Column("reason", is_whole=True),
            *([Column("state", is_whole=True)] if with_state else []),
            *([Column("type", is_name=True)] if with_type else []),
            Column("what"),
            Column("values", dispensable=1),
            Column("since", is_whole=True, dispensable=4),
            Column("batches", dispensable=5),
        ],
        [
            [
                number(each.outstanding),
                number(each.outstanding_only),
                number(each.items),
                each.reason,
                *([str(each.state)] if with_state else []),
                *([each.batch_type] if with_type else []),
                each.title,
                values_in_words(each.values),
                moment(each.first_seen)[:10],
                str(each.last_batch_id) if each.batches == 1 else f"{number(each.batches)}, last {each.last_batch_id}",
            ]
            for each in found
        ],
    )


def _say_more(output: Output, left: int) -> None:
    if left > 0:
        output.say(f"and {count(left, 'more reason')}; --limit shows them")
