"""Databases of tests on one server: a template that is made once, and its clones."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from reliable_imports.postgres.queries import load
from reliable_imports.postgres.schema import migrate

_TESTING = load("testing.sql")
_numbers = itertools.count(1)

EMPTY = "template0"
"""The template of a database with nothing in it."""

Tables = Sequence[Path | str | Callable[[str], object]]
"""What makes a team's tables: files of SQL, and functions that are given the DSN of a database."""


@contextmanager
def new_database(server_dsn: str, template: str = EMPTY) -> Iterator[str]:
    """The DSN of a database that is dropped with the block, sessions that are left in it included.

    Args:
        server_dsn: any database of the server, as a role that may create others.
    """
    name = f"reliable_imports_test_{os.getpid()}_{next(_numbers)}"
    _administrate(server_dsn, name, ["create_database"], template)
    try:
        yield dsn_of(server_dsn, name)
    finally:
        _administrate(server_dsn, name, ["end_sessions", "drop_database"])


@contextmanager
def migrated_template(server_dsn: str, tables: Tables = ()) -> Iterator[str]:
    """The name of a database with the schema of Reliable Imports and *tables*, to be cloned."""
    with new_database(server_dsn) as dsn:
        migrate(dsn)
        for each in tables:
            _make_tables(dsn, each)
        yield name_of(dsn)


def dsn_of(server_dsn: str, database: str) -> str:
    """*server_dsn* with another database, in the form that it has."""
    if "://" not in server_dsn:
        return str(make_dsn(server_dsn, dbname=database))
    return urlunsplit(urlsplit(server_dsn)._replace(path=f"/{quote(database)}"))


def name_of(dsn: str) -> str:
    with closing(psycopg2.connect(dsn)) as connection:
        return str(connection.info.dbname)


def _make_tables(dsn: str, made_by: Path | str | Callable[[str], object]) -> None:
    if callable(made_by):
        made_by(dsn)
        return
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(Path(made_by).read_text(encoding="utf-8"))


def _administrate(server_dsn: str, name: str, statements: Sequence[str], template: str = EMPTY) -> None:
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template), "text": sql.Literal(name)}
    with closing(psycopg2.connect(server_dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for each in statements:
                cursor.execute(sql.SQL(_TESTING[each]).format(**names))
