"""`purge`: take the data of old batches out of the tables."""

from __future__ import annotations

import re
import sys
from datetime import timedelta

import click

from reliable_imports.cli.invocation import Invocation, pass_invocation, requester, shared_options
from reliable_imports.cli.output import as_json_value
from reliable_imports.cli.progress import purging
from reliable_imports.cli.text import count, number

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def age(text: str) -> timedelta:
    """`90d`, `12h`, `6w`."""
    found = re.fullmatch(r"([0-9]{1,6})([hdw])", text.strip().lower())
    if not found:
        raise click.BadParameter(f"{text!r} is no age; give hours, days or weeks, such as 12h, 90d or 26w")
    return int(found[1]) * _UNITS[found[2]]


@click.command(short_help="Take the data of old batches out of the tables.")
@click.option(
    "--data-older-than",
    "older_than",
    metavar="AGE",
    required=True,
    type=age,
    help="Of batches that ended longer ago: 12h, 90d, 26w.",
)
@click.option("--as", "batch_type", metavar="TYPE", help="Only batches of this type.")
@click.option(
    "--outstanding-too",
    is_flag=True,
    help="Also failures that nobody has repaired; they can never be repeated then.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
@pass_invocation
def purge(
    invocation: Invocation, older_than: timedelta, batch_type: str | None, outstanding_too: bool, yes: bool
) -> None:
    """Take source data, results and messages out of batches that ended longer ago than AGE.

    Counts, reasons and what the audit log says of batches stay. What is outstanding, or being repeated, keeps its data.
    Works in small transactions: it may be interrupted, and repeated, at any time.
    """
    from reliable_imports.batches.purge import PurgeRequest

    output = invocation.output
    manager = invocation.manager()
    request = PurgeRequest(older_than, batch_type, outstanding_too, requester())
    found = manager.find_to_purge(request)
    about = f"up to {count(found.items, 'item')} in {count(found.batches, 'batch', 'batches')}"
    if found.items and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"the data of {about} would be gone for good; say --yes where nobody can be asked")
        click.confirm(f"Take out the data of {about} for good?", abort=True, err=True)
    with purging(found.items) as on_progress:
        done = manager.purge(request, on_progress=on_progress)
    output.document(as_json_value(done))
    if done.items:
        output.headline(
            f"the data of {count(done.items, 'item')} in {count(done.batches, 'batch', 'batches')} is erased"
        )
    else:
        output.say("nothing to purge: no batch that ended so long ago has data that may go")
    if done.kept_items:
        keeps = "keeps its" if done.kept_items == 1 else "keep their"
        hint = "" if outstanding_too else "; --outstanding-too takes what nobody repeats now"
        output.say(f"{number(done.kept_items)} outstanding or being repeated {keeps} data{hint}")
