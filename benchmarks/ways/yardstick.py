"""The yardstick: one INSERT ... ON CONFLICT DO UPDATE for each row, all in one transaction, by psycopg2.

Nothing is tracked. Without bad rows there are no savepoints. With bad rows, each upsert is sent behind a SAVEPOINT, and
the RELEASE of the one before, in the same string, so that it is one round trip; a refused row is rolled back and
forgotten.
"""

from __future__ import annotations

from contextlib import closing

import psycopg2

from benchmarks.measuring import Clock
from benchmarks.rows import UPSERT, Item, is_good
from benchmarks.ways.way import Way


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    upsert_all(dsn, items, clock, savepoints=any(not is_good(item) for item in items))


def upsert_all(dsn: str, items: list[Item], clock: Clock, *, savepoints: bool, statement: str = UPSERT) -> None:
    """All items in one transaction.

    Args:
        savepoints: one around each, so that bad ones can be among them.
        statement: the upsert of one item; a column that it returns is fetched.
    """
    returning = "RETURNING" in statement
    with closing(psycopg2.connect(dsn)) as connection, clock.timing("process"):
        with connection.cursor() as cursor:
            if savepoints:
                _with_savepoints(cursor, statement, items, returning)
            else:
                _without(cursor, statement, items, returning)
        connection.commit()


def _without(cursor: psycopg2.extensions.cursor, statement: str, items: list[Item], returning: bool) -> None:
    for item in items:
        cursor.execute(statement, item)
        if returning:
            cursor.fetchone()


def _with_savepoints(cursor: psycopg2.extensions.cursor, statement: str, items: list[Item], returning: bool) -> None:
    # psycopg2 has the rows of the last statement of a message, so RELEASE of the one before comes first.
    first, isolated = f"SAVEPOINT item; {statement}", f"RELEASE item; SAVEPOINT item; {statement}"
    message = first
    for item in items:
        try:
            cursor.execute(message, item)
        except psycopg2.IntegrityError:
            cursor.execute("ROLLBACK TO item")
        else:
            if returning:
                cursor.fetchone()
        message = isolated


WAYS = [
    Way(
        "untracked upserts, one transaction (yardstick)",
        run,
        isolates=True,
        tracks="nothing",
        note="with bad rows: a savepoint around each",
    )
]
