"""`db`: the embedded server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reliable_imports.cli.invocation import Invocation, pass_invocation, shared_options
from reliable_imports.cli.text import optional
from reliable_imports.errors import EmbeddedServerError
from reliable_imports.settings import Settings, resolve_dsn

if TYPE_CHECKING:
    from reliable_imports.embedded import EmbeddedPostgres, ServerStatus


@click.group(short_help="Start, stop and find the embedded PostgreSQL.")
def db() -> None:
    """The embedded PostgreSQL, which is used where neither RELIABLE_IMPORTS_DSN nor --dsn names another.

    Its data is in the folder RELIABLE_IMPORTS_HOME and is kept when it stops.
    """


@db.command(short_help="Start the embedded server.")
@shared_options
@pass_invocation
def start(invocation: Invocation) -> None:
    """Start the embedded server, if it does not run; it goes on when the command has ended."""
    server = _server()
    server.start()
    _tell(invocation, server.status())


@db.command(short_help="Stop the embedded server.")
@shared_options
@pass_invocation
def stop(invocation: Invocation) -> None:
    """Stop the embedded server; its data is kept. Batches that are worked meanwhile can be resumed."""
    server = _server()
    server.stop()
    _tell(invocation, server.status())


@db.command(short_help="Tell whether the embedded server runs.")
@shared_options
@pass_invocation
def status(invocation: Invocation) -> None:
    """Tell whether the embedded server runs, and where. Starts nothing; the exit status is 0 either way."""
    _tell(invocation, _server().status())


@db.command(short_help="Print the DSN of the database that is used.")
@shared_options
@pass_invocation
def url(invocation: Invocation) -> None:
    """Print the DSN of the database that is used, with its password, and nothing else.

    It is that of --dsn or RELIABLE_IMPORTS_DSN, else the embedded server's, which is started. So this opens a prompt:
    psql "$(reliable-imports db url)"
    """
    dsn = resolve_dsn(invocation.dsn)
    invocation.output.document({"url": dsn})
    if not invocation.as_json:
        click.echo(dsn)


def _server() -> EmbeddedPostgres:
    home = Settings.from_environment().home
    try:
        from reliable_imports.embedded import EmbeddedPostgres
    except ImportError as error:  # it needs what only POSIX systems have
        raise EmbeddedServerError("the embedded PostgreSQL runs on Linux and macOS") from error
    return EmbeddedPostgres(home)


def _tell(invocation: Invocation, server: ServerStatus) -> None:
    from reliable_imports.postgres.dsn import redacted_dsn

    other = invocation.dsn or Settings.from_environment().dsn
    used = None if other is None else redacted_dsn(other)
    invocation.output.document(
        {
            "running": server.running,
            "pid": server.pid,
            "port": server.port,
            "data": server.data,
            "version": server.version,
            "used_instead": used,
        }
    )
    invocation.output.facts(
        [
            ("embedded server", "running" if server.running else "stopped"),
            ("pid", optional(server.pid)),
            ("port", optional(server.port)),
            ("data", optional(server.data)),
            ("PostgreSQL", optional(server.version)),
            *([("used instead", used)] if used is not None else []),
        ]
    )
