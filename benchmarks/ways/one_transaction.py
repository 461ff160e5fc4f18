"""The careful version of tracking by hand, by psycopg2: one transaction for each item.

The write and the status are committed together; a refused item is rolled back and marked as failed in a second one.
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
                try:
                    cursor.execute(UPSERT, data)
                    cursor.execute(MARK, ("completed", None, number))
                except psycopg2.IntegrityError as error:
                    connection.rollback()
                    cursor.execute(MARK, ("failed", str(error), number))
                connection.commit()
        tracking.check(connection, completed_and_failed(items))


WAYS = [Way("one transaction an item", run, isolates=True, tracks="status, error", fraction=0.1)]
