"""Tracking as teams write it, by psycopg2: three commits for each item.

Mark the item as processing, commit; write the target, commit; mark it as completed (or failed, with the error), commit.
The items were stored before in a table with an index on the status, and are read from there in one query.
"""

from __future__ import annotations

from contextlib import closing

import psycopg2

from benchmarks import tracking
from benchmarks.measuring import Clock
from benchmarks.rows import UPSERT, Item, completed_and_failed
from benchmarks.tracking import MARK, PENDING
from benchmarks.ways.way import Way


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    with closing(psycopg2.connect(dsn)) as connection:
        tracking.prepare(connection)
        with clock.timing("create"):
            tracking.store(connection, items)
        with clock.timing("process"), connection.cursor() as cursor:
            cursor.execute(PENDING)
            for number, data in cursor.fetchall():
                cursor.execute(MARK, ("processing", None, number))
                connection.commit()
                try:
                    cursor.execute(UPSERT, data)
                    connection.commit()
                except psycopg2.IntegrityError as error:
                    connection.rollback()
                    cursor.execute(MARK, ("failed", str(error), number))
                else:
                    cursor.execute(MARK, ("completed", None, number))
                connection.commit()
        tracking.check(connection, completed_and_failed(items))


WAYS = [
    Way("hand-written, three commits an item", run, isolates=True, tracks="status, error", fraction=0.1),
]
