"""The yardstick: one INSERT ... ON CONFLICT DO UPDATE for each row, all in one transaction, by psycopg2.

Nothing is tracked. Without bad rows there are no savepoints. With bad rows, each upsert is sent between SAVEPOINT and
RELEASE in the same string, so that it still is one round trip; a refused row is rolled back to its savepoint and
forgotten.
"""

from __future__ import annotations

from contextlib import closing

import psycopg2

from benchmarks.measuring import Clock
from benchmarks.rows import UPSERT, Item, is_good
from benchmarks.ways.way import Way

_ISOLATED = f"SAVEPOINT item; {UPSERT}; RELEASE item"


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    work = _with_savepoints if any(not is_good(item) for item in items) else _without
    with closing(psycopg2.connect(dsn)) as connection, clock.timing("process"):
        with connection.cursor() as cursor:
            work(cursor, items)
        connection.commit()


def _without(cursor: psycopg2.extensions.cursor, items: list[Item]) -> None:
    for item in items:
        cursor.execute(UPSERT, item)


def _with_savepoints(cursor: psycopg2.extensions.cursor, items: list[Item]) -> None:
    for item in items:
        try:
            cursor.execute(_ISOLATED, item)
        except psycopg2.IntegrityError:
            cursor.execute("ROLLBACK TO item")


WAYS = [
    Way(
        "untracked upserts, one transaction (yardstick)",
        run,
        isolates=True,
        tracks="nothing",
        note="with bad rows: a savepoint around each",
    )
]
