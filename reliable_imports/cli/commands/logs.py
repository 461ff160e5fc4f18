"""`logs`: the audit log of a batch."""

from __future__ import annotations

import click

from reliable_imports.cli.invocation import Invocation, batch_number, pass_invocation, shared_options
from reliable_imports.cli.output import Column
from reliable_imports.cli.text import moment, optional

_LEVELS = ("debug", "info", "warning", "error")


@click.command(short_help="Show the audit log of a batch.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@click.option("--item", "item_number", type=click.IntRange(1), help="Only lines about the item with this number.")
@click.option("--level", type=click.Choice(_LEVELS), help="Only lines of this level and worse.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many, the last ones."
)
@shared_options
@pass_invocation
def logs(invocation: Invocation, batch_id: int, item_number: int | None, level: str | None, limit: int) -> None:
    """Show what was logged about BATCH, oldest first."""
    output = invocation.output
    levels = None if level is None else _LEVELS[_LEVELS.index(level) :]
    found = invocation.manager().list_logs(batch_id, item_number=item_number, levels=levels, limit=limit)
    output.document({"batch_id": batch_id, "logs": found})
    if not found:
        output.say("no such lines")
        return
    output.table(
        [
            Column("time", is_whole=True),
            Column("level", is_whole=True),
            Column("run", is_number=True, dispensable=1),
            Column("item", is_number=True),
            Column("message"),
            Column("details"),
        ],
        [
            [
                moment(entry.logged_at),
                entry.level,
                optional(entry.run_id),
                optional(entry.item_number),
                entry.message,
                ", ".join(f"{name}={value}" for name, value in (entry.details or {}).items() if value is not None),
            ]
            for entry in found
        ],
    )
