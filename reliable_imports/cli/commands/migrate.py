"""`migrate`: brings the schema up to date."""

from __future__ import annotations

import click

from reliable_imports.cli.invocation import Invocation, pass_invocation, shared_options
from reliable_imports.cli.text import count


@click.command(short_help="Bring the database's schema up to date.")
@shared_options
@pass_invocation
def migrate(invocation: Invocation) -> None:
    """Bring the schema reliable_imports up to date. Safe to repeat, and to run several times at once."""
    applied = invocation.manager().migrate(on_wait=_tell_of_waiting)
    invocation.output.document({"applied": applied})
    if applied:
        invocation.output.say(f"{count(len(applied), 'change')} applied: {', '.join(applied)}")
    else:
        invocation.output.say("the schema is up to date")


def _tell_of_waiting() -> None:
    click.echo("waiting for another process that changes the schema or sets up its tables", err=True)
