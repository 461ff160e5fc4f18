"""The table of items that teams make when they track an import by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg2.extras import Json, execute_values

from benchmarks.rows import check_counts
from reliable_imports.postgres import Connection

TRACKING_SQL = """
CREATE TABLE bench.items (
    id bigint PRIMARY KEY,
    status text NOT NULL,
    data jsonb NOT NULL,
    error text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX items_status ON bench.items (status);
"""

MARK = "UPDATE bench.items SET status = %s, error = %s, updated_at = now() WHERE id = %s"
PENDING = "SELECT id, data FROM bench.items WHERE status = 'pending' ORDER BY id"


def prepare(connection: Connection) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute(TRACKING_SQL)


def store(connection: Connection, items: Iterable[Any]) -> None:
    """Put all items down as pending, a thousand with each statement."""
    with connection, connection.cursor() as cursor:
        rows = ((number, "pending", Json(item)) for number, item in enumerate(items, 1))
        execute_values(cursor, "INSERT INTO bench.items (id, status, data) VALUES %s", rows, page_size=1000)


def check(connection: Connection, expected: Sequence[int]) -> None:
    """As many items are completed, and failed, as *expected* says, and none is anything else."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'), count(*) "
            "FROM bench.items"
        )
        found: Any = cursor.fetchone()
    check_counts("completed, failed and all items", found, (*expected, sum(expected)))
