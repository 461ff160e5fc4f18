"""The table of allowed moves, compared with what the queries do."""

from __future__ import annotations

import psycopg2
import pytest

from reliable_imports import BatchManager, BatchStatus
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import BATCH_MOVES
from tests.core.conftest import Sql

pytestmark = pytest.mark.promise(6)

WORK = load("work.sql")


def batch_in(manager: BatchManager, sql: Sql, status: BatchStatus) -> int:
    """A batch of two items in the status, made in the way in which users make it."""
    texts = {
        BatchStatus.COMPLETED: ("ok", "ok"),
        BatchStatus.COMPLETED_WITH_FAILURES: ("ok", "bad"),
        BatchStatus.FAILED: ("bad", "bad"),
    }.get(status, ("ok", "ok"))
    batch_id = manager.create_batch("notes", [{"id": number, "text": text} for number, text in enumerate(texts)])
    if status is BatchStatus.PROCESSING:
        sql(WORK["start_batch"].replace("%(batch_id)s", str(batch_id)))
    elif status is BatchStatus.PAUSED:
        manager.pause_batch(batch_id)
    elif status is BatchStatus.CANCELLED:
        manager.cancel_batch(batch_id)
    elif status is not BatchStatus.PENDING:
        manager.process_batch(batch_id)
    assert manager.get_summary(batch_id).status is status
    return batch_id


@pytest.mark.parametrize("status", list(BatchStatus))
@pytest.mark.parametrize("query", ["start_batch", "close_batch", "pause_batch", "cancel_batch"])
def test_queries_move_batches_as_the_table_says(
    manager: BatchManager, sql: Sql, status: BatchStatus, query: str
) -> None:
    batch_id = batch_in(manager, sql, status)
    if status is BatchStatus.PROCESSING and query == "close_batch":
        sql("UPDATE reliable_imports.import_ranges SET is_open = false, next_item = 3, completed = 2")

    connection = psycopg2.connect(manager.dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(WORK[query], {"batch_id": batch_id, "reason": "because"})
        moved = cursor.rowcount
        connection.rollback()
    connection.close()

    targets = {
        "start_batch": {BatchStatus.PROCESSING},
        "pause_batch": {BatchStatus.PAUSED},
        "cancel_batch": {BatchStatus.CANCELLED},
        "close_batch": {BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_FAILURES, BatchStatus.FAILED},
    }[query]
    assert bool(moved) == bool(BATCH_MOVES[status] & targets)
    # What was closed by hand here is given items again, so that the batch balances at the end of the test.
    if status is BatchStatus.PROCESSING and query == "close_batch":
        sql("UPDATE reliable_imports.import_ranges SET is_open = true, next_item = 1, completed = 0")


def test_a_batch_with_an_open_range_is_not_closed(manager: BatchManager, sql: Sql) -> None:
    batch_id = batch_in(manager, sql, BatchStatus.PROCESSING)
    assert sql(WORK["close_batch"].replace("%(batch_id)s", str(batch_id))) == []


FINISHED = "started_at = now(), finished_at = now(), "


@pytest.mark.parametrize(
    "change",
    [
        "status = 'completed'",
        "status = 'pending', started_at = now()",
        "status = 'gone'",
        FINISHED + "status = 'completed', completed_items = 1, failed_items = 1, skipped_items = 0",
        FINISHED + "status = 'completed', completed_items = 1, failed_items = 0, skipped_items = 0",
        FINISHED + "status = 'failed', completed_items = 2, failed_items = 0, skipped_items = 0",
    ],
)
def test_the_table_refuses_a_status_that_its_columns_contradict(manager: BatchManager, sql: Sql, change: str) -> None:
    batch_id = batch_in(manager, sql, BatchStatus.PENDING)
    with pytest.raises(psycopg2.errors.CheckViolation):
        sql(f"UPDATE reliable_imports.import_batches SET {change} WHERE id = {batch_id}")
