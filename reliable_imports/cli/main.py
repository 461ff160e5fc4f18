"""The entry point `reliable-imports`: commands, errors in one line, exit status."""

from __future__ import annotations

import gc
import json
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

import click

from reliable_imports.cli.commands.batches import batches
from reliable_imports.cli.commands.cancel import cancel
from reliable_imports.cli.commands.check import check
from reliable_imports.cli.commands.create import create
from reliable_imports.cli.commands.db import db
from reliable_imports.cli.commands.erase import erase
from reliable_imports.cli.commands.failures import failures
from reliable_imports.cli.commands.import_ import import_
from reliable_imports.cli.commands.init import init
from reliable_imports.cli.commands.logs import logs
from reliable_imports.cli.commands.migrate import migrate
from reliable_imports.cli.commands.new import new
from reliable_imports.cli.commands.pause import pause
from reliable_imports.cli.commands.process import process
from reliable_imports.cli.commands.processors import processors
from reliable_imports.cli.commands.purge import purge
from reliable_imports.cli.commands.report import report
from reliable_imports.cli.commands.reprocess import reprocess
from reliable_imports.cli.commands.status import status
from reliable_imports.cli.commands.verify import verify
from reliable_imports.cli.exit_status import ExitStatus
from reliable_imports.cli.group import CommandGroup
from reliable_imports.cli.invocation import Invocation, make_importable, processor_options, shared_options
from reliable_imports.cli.problems import Interrupted, explain
from reliable_imports.cli.text import escaped
from reliable_imports.errors import InvalidDsn
from reliable_imports.release import __version__
from reliable_imports.settings import Settings

_THRESHOLD = 20_000
"""So many new containers until Python looks for garbage, instead of 700."""


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='Completion in bash: eval "$(_RELIABLE_IMPORTS_COMPLETE=bash_source reliable-imports)"; in zsh and fish '
    "likewise, with zsh_source and fish_source.",
)
@click.option("--version", "show_version", is_flag=True, help="Print the version.")
@processor_options
@shared_options
@click.pass_context
def cli(context: click.Context, show_version: bool) -> None:
    """Imports into PostgreSQL that lose nothing: every item stored, isolated, tracked, and run again by one command.

    Exit status: 0 done; 1 done, and items failed; 2 wrong use; 3 not done, as without a database; 130 interrupted.
    """
    if show_version:
        click.echo(f"reliable-imports {__version__}")
    elif context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ExitStatus.WRONG_USE)
    elif not cli_group().is_own(context.invoked_subcommand):
        make_importable(Path.cwd())
        context.ensure_object(Invocation).export()
    if show_version:
        context.exit()


def cli_group() -> CommandGroup:
    assert isinstance(cli, CommandGroup)
    return cli


for command in (
    batches,
    cancel,
    check,
    create,
    db,
    erase,
    failures,
    import_,
    init,
    logs,
    migrate,
    new,
    pause,
    process,
    processors,
    purge,
    report,
    reprocess,
    status,
    verify,
):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Data may hold what the terminal's encoding does not.
            stream.reconfigure(errors="backslashreplace")
    gc.set_threshold(_THRESHOLD)  # what a command loads is no garbage, and most of what it makes
    sys.exit(run(sys.argv[1:], Invocation(owns_process=True)))


def run(arguments: Sequence[str], invocation: Invocation | None = None) -> int:
    """Run one command and return its exit status; an error is one line on stderr."""
    invocation = invocation or Invocation()
    try:
        result = cli.main(list(arguments), prog_name="reliable-imports", standalone_mode=False, obj=invocation)
        return int(result) if isinstance(result, int) else ExitStatus.DONE
    except (Exception, KeyboardInterrupt) as error:  # the edge: a person gets a sentence, whatever happened
        if isinstance(error, Interrupted) and sys.stderr.isatty():
            click.echo(err=True)  # after the ^C that the terminal shows
        if invocation.verbose:
            _print_error(escaped(_redacted(traceback.format_exc(), invocation)))
        problem = explain(error)
        # What is said of a DSN that cannot be read holds nothing of it, and shows how one is written.
        message = problem.message if isinstance(error, InvalidDsn) else _redacted(problem.message, invocation)
        # An option that could not be read ends the reading, perhaps before --json was reached.
        if invocation.as_json or "--json" in arguments:
            _print_error(json.dumps({"error": message, "exit_status": int(problem.status)}))
        else:
            _print_error(f"error: {message}")
        return problem.status


def _redacted(text: str, invocation: Invocation) -> str:
    from reliable_imports.postgres.dsn import redact

    return redact(text, invocation.dsn or _dsn_of_environment() or "")


def _dsn_of_environment() -> str | None:
    try:
        return Settings.from_environment().dsn
    except Exception:  # whatever is wrong with the settings is being told already
        return None


def _print_error(text: str) -> None:
    click.echo(text.rstrip("\n"), err=True)
