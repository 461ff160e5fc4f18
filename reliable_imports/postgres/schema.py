"""Numbered migrations, applied in order, once each, by whoever comes first."""

from __future__ import annotations

import random
import time
from importlib import resources
from typing import Any

import psycopg2
import psycopg2.errors

from reliable_imports.errors import SchemaNotReady, UnsupportedDatabase
from reliable_imports.postgres.connect import connect, transaction

# One lock for all that changes the schema; the number is arbitrary and must stay the same for ever.
ADVISORY_LOCK = 7_205_759_403

PATIENCE_SECONDS = 60.0

_BOOKKEEPING = """
CREATE SCHEMA IF NOT EXISTS reliable_imports;
CREATE TABLE IF NOT EXISTS reliable_imports.migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
)
"""


def scripts() -> list[tuple[int, str, str]]:
    """All migrations as (number, name, SQL), in order."""
    files = [entry for entry in (resources.files(__package__) / "migrations").iterdir() if entry.name.endswith(".sql")]
    found = [(int(entry.name[:4]), entry.name[:-4], entry.read_text(encoding="utf-8")) for entry in files]
    return sorted(found)


def migrate(dsn: str) -> list[str]:
    """Bring the schema up to date and return the names of the migrations that were applied now.

    All of them are committed together. Safe to repeat and to call from several processes at once: they take turns
    under one advisory lock. Safe while batches are worked, too: a change of a table that is in use is given up after
    two seconds, so that nobody queues behind it, and tried again for a minute.

    Raises:
        UnsupportedDatabase: the database is not in UTF8.
        psycopg2.errors.LockNotAvailable: a table was in use all that time; nothing was changed.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _migrate(dsn)
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            if time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.1, 1))


def _migrate(dsn: str) -> list[str]:
    applied_now = []
    with connect(dsn) as connection, transaction(connection) as cursor:
        if _applied(cursor) == {number for number, _, _ in scripts()}:
            return []
        cursor.execute("SELECT current_database(), pg_catalog.current_setting('server_encoding')")
        database, encoding = cursor.fetchone()
        if encoding != "UTF8":
            raise UnsupportedDatabase(database, encoding)
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        cursor.execute(_BOOKKEEPING)
        applied = _applied(cursor)
        for number, name, script in scripts():
            if number in applied:
                continue
            cursor.execute(script)
            cursor.execute("INSERT INTO reliable_imports.migrations (number, name) VALUES (%s, %s)", [number, name])
            applied_now.append(name)
    return applied_now


def require_migrated(dsn: str) -> None:
    """Raise SchemaNotReady if a migration is missing; change nothing."""
    with connect(dsn) as connection, transaction(connection) as cursor:
        applied = _applied(cursor)
    needed = {number for number, _, _ in scripts()}
    if not needed <= applied:
        raise SchemaNotReady(max(applied, default=None), max(needed))


def _applied(cursor: Any) -> set[int]:
    cursor.execute("SELECT pg_catalog.to_regclass('reliable_imports.migrations') IS NOT NULL")
    if not cursor.fetchone()[0]:
        return set()
    cursor.execute("SELECT number FROM reliable_imports.migrations")
    return {number for (number,) in cursor.fetchall()}
