"""Numbered migrations, applied in order, once each, by whoever comes first."""

from __future__ import annotations

from importlib import resources
from typing import Any

from reliable_imports.database import connect, transaction
from reliable_imports.errors import SchemaNotReady

# One lock for all that changes the schema; the number is arbitrary and must stay the same for ever.
ADVISORY_LOCK = 7_205_759_403

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
    files = [entry for entry in resources.files(__package__).iterdir() if entry.name.endswith(".sql")]
    found = [(int(entry.name[:4]), entry.name[:-4], entry.read_text(encoding="utf-8")) for entry in files]
    return sorted(found)


def migrate(dsn: str) -> list[str]:
    """Bring the schema up to date and return the names of the migrations that were applied now.

    All of them are committed together. Safe to repeat and to call from several processes at once: they take turns
    under one advisory lock.
    """
    applied_now = []
    with connect(dsn) as connection, transaction(connection) as cursor:
        if _applied(cursor) == {number for number, _, _ in scripts()}:
            return []
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
