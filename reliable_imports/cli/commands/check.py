"""`check`: looks whether an import can begin."""

from __future__ import annotations

from collections import Counter

import click

from reliable_imports.cli.exit_status import ExitStatus
from reliable_imports.cli.invocation import Invocation, pass_invocation, processor_options, shared_options
from reliable_imports.cli.output import Column
from reliable_imports.cli.text import count, optional
from reliable_imports.settings import Settings


@click.command(short_help="Look whether imports can begin, and what is stuck.")
@click.argument("batch_type", metavar="[TYPE]", required=False)
@click.argument("file", metavar="[FILE]", required=False)
@processor_options
@shared_options
@pass_invocation
def check(invocation: Invocation, batch_type: str | None, file: str | None) -> None:
    """Look at the database, the schema, the rights, the tables of all processors or of TYPE, the batches, and Dagster.

    With FILE also whether its fields are those of the processor, and whether its first 100 items would go in: they are
    tried and rolled back. Nothing is changed. Each finding says what to do next. Status 1 if there is a problem.
    """
    from reliable_imports.preflight.finding import State
    from reliable_imports.preflight.preflight import preflight

    manager = invocation.manager_with_processors()
    settings = Settings.from_environment()
    is_embedded = invocation.dsn is None and settings.dsn is None
    found = list(preflight(manager, settings, is_embedded=is_embedded, batch_type=batch_type, file=file))
    counted = Counter(each.state for each in found)
    output = invocation.output
    output.document({"findings": found, "problems": counted[State.PROBLEM], "warnings": counted[State.WARNING]})
    output.table(
        [
            Column("subject", is_name=True),
            Column("state", is_whole=True),
            Column("what"),
            Column("next", dispensable=1),
        ],
        [[each.subject, each.state.value, each.what, optional(each.next_step)] for each in found],
    )
    output.say(
        f"{count(counted[State.PROBLEM], 'problem')}, {count(counted[State.WARNING], 'warning')}, "
        f"{counted[State.FINE]} fine"
    )
    if counted[State.PROBLEM]:
        raise click.exceptions.Exit(ExitStatus.DONE_WITH_FAILURES)
