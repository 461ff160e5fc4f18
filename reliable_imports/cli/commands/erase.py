"""`erase`: take the data of one person out of the tables."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import click

from reliable_imports.cli.invocation import (
    Invocation,
    pass_invocation,
    processor_options,
    requester,
    shared_options,
)
from reliable_imports.cli.output import Column, as_json_value
from reliable_imports.cli.text import count, number

if TYPE_CHECKING:
    from reliable_imports.batches.erasing.erasure import Erasure


@click.command(short_help="Take all data of one person out of the tables.")
@click.option(
    "--as",
    "batch_types",
    metavar="TYPE",
    multiple=True,
    help="Only items of this type; may be repeated. Without it, those of all types that have the fields of the key.",
)
@click.option(
    "--key",
    "keys",
    metavar="VALUE | FIELD=VALUE",
    multiple=True,
    required=True,
    help="The person's key: its value, or a field and its value. Repeat it for a key of several fields; a part of such "
    "a key finds all items that have it.",
)
@click.option(
    "--alike",
    is_flag=True,
    help="Also items whose key differs only in capitals or blanks, or that could not be read and hold it.",
)
@click.option("--note", metavar="TEXT", help="Kept in the audit log; do not name the person.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@processor_options
@shared_options
@pass_invocation
def erase(
    invocation: Invocation,
    batch_types: tuple[str, ...],
    keys: tuple[str, ...],
    alike: bool,
    note: str | None,
    yes: bool,
) -> None:
    """Leave nothing of a person in any batch: source data, results, messages, log lines, in every repeat.

    The types, and how many items of which batches it would take, are shown before it asks. The items stay as rows that
    say "data erased", so that all counts still balance. Your own tables are not touched. Items that are pending or
    being processed are refused by name, and nothing is erased then. Safe to repeat.
    """
    output = invocation.output
    manager = invocation.manager_with_processors()
    key = key_of(keys, manager.names_to_erase_by(batch_types))
    if not yes:
        found = manager.find_to_erase(key, batch_types or None, alike=alike)
        if found.total_items:
            _ask(found)
    erased = manager.erase(key, batch_types or None, alike=alike, requested_by=requester(), note=note)
    output.document({**as_json_value(erased), "total_items": erased.total_items})
    if not erased.total_items:
        output.say(
            f"nothing to erase: no item of {', '.join(erased.batch_types)} has this key, or its data was erased already"
        )
    else:
        output.headline(f"the data of {_where(erased.items)} is erased")
        if len(erased.items) > 1 or len(erased.batch_types) > 1:
            output.table(
                [Column("batch", is_number=True), Column("type", is_name=True), Column("items", is_number=True)],
                [[str(batch_id), erased.types[batch_id], number(items)] for batch_id, items in erased.items.items()],
            )
        if erased.texts:
            verb = "was" if erased.texts == 1 else "were"
            output.say(f"{count(erased.texts, 'text')} beside them that named the person {verb} cut too")
    if erased.alike:
        verb = "was" if sum(erased.alike.values()) == 1 else "were"
        output.say(
            f"{_where(erased.alike)} {verb} left: the key differs only in capitals or blanks, or stands in a line that "
            "could not be read; --alike erases such items too"
        )
    for batch_type, why in erased.left_out.items():
        output.say(f"{batch_type} was not looked at: {why}")


def key_of(keys: tuple[str, ...], fields: Collection[str] = ()) -> str | Mapping[str, str]:
    """One bare value, or values by field: `--key a=1 --key b=2`."""
    if len(keys) == 1:
        name, equals, value = keys[0].partition("=")
        # What looks like a field's name is taken for one, so that a misspelt one is refused and not searched for.
        return {name: value} if equals and (name in fields or name.isidentifier()) else keys[0]
    named: dict[str, str] = {}
    for key in keys:
        name, equals, value = key.partition("=")
        if not equals or not name or name in named:
            raise click.BadParameter("a key of several fields is given as --key FIELD=VALUE --key FIELD=VALUE")
        named[name] = value
    return named


def _ask(found: Erasure) -> None:
    by_type = {
        batch_type: {batch: items for batch, items in found.items.items() if found.types[batch] == batch_type}
        for batch_type in found.batch_types
    }
    told = [f"{batch_type}: {_where(items)}" for batch_type, items in by_type.items() if items]
    if not sys.stdin.isatty():
        named = f" ({'; '.join(told)})" if len(found.batch_types) > 1 else ""
        raise click.UsageError(
            f"the data of {_where(found.items)} would be gone for good{named}; say --yes where nobody can be asked"
        )
    left_out = [f"{batch_type}: not looked at, {why}" for batch_type, why in found.left_out.items()]
    for line in [*told, *left_out]:
        click.echo(line, err=True)
    click.confirm(f"Erase the data of {_where(found.items)} for good?", abort=True, err=True)


def _where(items: Mapping[int, int]) -> str:
    """`3 items of batch 1`, `5 items in 2 batches`."""
    total = count(sum(items.values()), "item")
    if len(items) == 1:
        return f"{total} of batch {next(iter(items))}"
    return f"{total} in {count(len(items), 'batch', 'batches')}"
