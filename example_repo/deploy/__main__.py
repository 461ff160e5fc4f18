"""`python -m example_repo.deploy`: what has to be done to the database before the processes start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import click
import dagster as dg
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from reliable_imports import BatchManager, ConfigurationError, ProcessorRegistry
from reliable_imports.postgres import connect, transaction
from reliable_imports.settings import Settings, resolve_dsn

FOLDER = Path(__file__).parent
PREFIX = "imports"
ROLES = ("owner", "worker", "reader")

prefix_option = click.option(
    "--prefix",
    default=PREFIX,
    show_default=True,
    envvar="IMPORTS_ROLE_PREFIX",
    help="First part of the roles' names. The roles are the whole server's: a second deployment on it needs another.",
)


@click.group()
def deploy() -> None:
    """Prepare the database that RELIABLE_IMPORTS_DSN names, as the role that it names."""


@deploy.command(short_help="Make the roles; once, as an administrator.")
@prefix_option
def roles(prefix: str) -> None:
    """Make the roles and set their passwords, from IMPORTS_OWNER_PASSWORD, _WORKER_PASSWORD and _READER_PASSWORD.

    Safe to repeat: a role whose variable is not set keeps the password that it has.
    """
    passwords = {role: os.environ.get(f"IMPORTS_{role.upper()}_PASSWORD", "") for role in ROLES}
    make_roles(_dsn(), passwords, prefix=prefix)
    without = [role for role, password in passwords.items() if not password]
    click.echo("roles are there" + (f"; no password was given for: {', '.join(without)}" if without else ""))


@deploy.command(short_help="Bring all tables and grants up to date; at every release, as the owner.")
@prefix_option
def migrate(prefix: str) -> None:
    """Bring the schema, the target tables, Dagster's storage and the grants up to date. Safe to repeat."""
    applied = prepare(_dsn(), prefix=prefix)
    click.echo(
        f"migrations applied: {', '.join(applied) or 'none'}; targets, Dagster's storage and grants are up to date"
    )


def make_roles(dsn: str, passwords: Mapping[str, str], *, prefix: str = PREFIX) -> None:
    """Make the roles, and set those of their *passwords* (`owner`, `worker`, `reader`) that are not empty."""
    with connect(dsn) as connection, transaction(connection) as cursor:
        cursor.execute(_script("roles.sql", prefix))
        for role, password in passwords.items():
            if password:
                name = f"{prefix}_{role}"
                # Hashed here: a statement may be written to the server's log.
                hashed = encrypt_password(password, name, connection, "scram-sha-256")
                cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(hashed)))


def prepare(owner_dsn: str, *, prefix: str = PREFIX) -> list[str]:
    """Make and migrate every table that the processes use, and grant the rights; return what was applied now."""
    registry = ProcessorRegistry()
    registry.discover("example_repo.processors")
    applied = BatchManager(owner_dsn).migrate()
    scripts = {Path(processor.setup_sql) for processor in registry if processor.setup_sql}
    with connect(owner_dsn) as connection, transaction(connection) as cursor:
        for script in sorted(scripts):
            cursor.execute(script.read_text(encoding="utf-8"))
        cursor.execute("CREATE SCHEMA IF NOT EXISTS dagster")
    # Makes the tables where there are none; DAGSTER_HOME names the folder with dagster.yaml.
    with dg.DagsterInstance.get() as instance:
        instance.upgrade()
    with connect(owner_dsn) as connection, transaction(connection) as cursor:
        cursor.execute(_script("grants.sql", prefix))
    return applied


def _script(name: str, prefix: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,40}", prefix):
        raise ConfigurationError(f"{prefix!r} cannot begin the name of a role; use small letters, digits and _")
    text = (FOLDER / name).read_text(encoding="utf-8")
    return re.sub(r"\bimports_(?=(?:owner|worker|reader)\b)", f"{prefix}_", text)


def _dsn() -> str:
    settings = Settings.from_environment()
    if settings.dsn is None:
        raise click.UsageError(
            "RELIABLE_IMPORTS_DSN is not set; `postgresql:///` leaves all to PGHOST, PGUSER and so on"
        )
    return resolve_dsn(settings=settings)


if __name__ == "__main__":
    deploy(prog_name="python -m example_repo.deploy")
