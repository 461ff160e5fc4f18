"""The server that is measured on, and a fresh database on it for every single measurement."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from benchmarks.rows import TARGET_SQL
from reliable_imports import BatchManager
from reliable_imports.embedded import DURABLE, EmbeddedPostgres

# Room for a whole round between two checkpoints, which would otherwise fall upon one way or another by chance.
_SETTINGS = {**DURABLE, "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
_SHOWN = (*DURABLE, "wal_level", "shared_buffers", "max_wal_size", "checkpoint_timeout", "autovacuum")


@contextmanager
def private_server() -> Iterator[str]:
    """The DSN of a new durable server that is stopped, and its data removed, at the end."""
    with tempfile.TemporaryDirectory(prefix="reliable-imports-benchmarks-") as folder:
        Path(folder).chmod(0o711)  # a server started by root runs as another account
        server = EmbeddedPostgres(Path(folder) / "home", settings=_SETTINGS)
        server.start()
        try:
            yield server.dsn("postgres")
        finally:
            server.stop("immediate")


class Databases:
    """Makes databases on one server, each with our schema and the target table, and nothing in them."""

    def __init__(self, server_dsn: str) -> None:
        self.server_dsn = server_dsn
        self._numbers = itertools.count(1)
        self._template = f"benchmark_template_{os.getpid()}"

    @contextmanager
    def prepared(self) -> Iterator[Databases]:
        """While this lasts, `fresh` can be used."""
        self._administrate("CREATE DATABASE {name}", self._template)
        try:
            dsn = self._dsn_of(self._template)
            BatchManager(dsn).migrate()
            with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
                cursor.execute(TARGET_SQL)
            yield self
        finally:
            self._administrate("DROP DATABASE {name} WITH (FORCE)", self._template)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The DSN of a new database. A checkpoint comes first, so that all begin alike."""
        name = f"benchmark_{os.getpid()}_{next(self._numbers)}"
        self._administrate("CREATE DATABASE {name} TEMPLATE {template}", name)
        self._administrate("CHECKPOINT", name)
        try:
            yield self._dsn_of(name)
        finally:
            self._administrate("DROP DATABASE {name} WITH (FORCE)", name)

    def facts(self) -> Mapping[str, str]:
        """The server's version, and the settings that decide what a commit costs."""
        with closing(psycopg2.connect(self.server_dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name, pg_catalog.current_setting(name) FROM unnest(%s) AS name", (list(_SHOWN),))
            settings: dict[str, str] = dict(cursor.fetchall())
            cursor.execute("SELECT pg_catalog.version()")
            row: Any = cursor.fetchone()
        return {"version": row[0].split(" on ")[0], **settings}

    def _administrate(self, statement: str, name: str) -> None:
        with closing(psycopg2.connect(self.server_dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(
                    sql.SQL(statement).format(name=sql.Identifier(name), template=sql.Identifier(self._template))
                )

    def _dsn_of(self, name: str) -> str:
        if "://" in self.server_dsn:  # the form that all products understand
            return urlunsplit(urlsplit(self.server_dsn)._replace(path=f"/{name}"))
        return str(make_dsn(self.server_dsn, dbname=name))
