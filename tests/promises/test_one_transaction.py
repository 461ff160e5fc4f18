"""Writes and outcome of an item are one transaction, and only who holds the range adds to it."""

from __future__ import annotations

import gc
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS, make_dsn

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext
from reliable_imports.postgres.connect import Connection
from tests.conftest import Sql
from tests.core.doubles import NotesProcessor

NO_OUTCOMES = """
    CREATE FUNCTION refuse_outcomes() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no room for an outcome' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER refuse_outcomes BEFORE INSERT ON reliable_imports.import_attempts
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_outcomes();
"""


@pytest.mark.promise(2)
@pytest.mark.parametrize("batch_type", ["notes", "immediate"])
def test_an_outcome_that_cannot_be_recorded_takes_the_writes_along(
    manager: BatchManager, sql: Sql, batch_type: str
) -> None:
    batch_id = manager.create_batch(batch_type, [{"id": number, "text": "ok"} for number in range(1, 8)])
    sql(NO_OUTCOMES)

    assert manager.process_batch(batch_id).status is BatchStatus.PAUSED
    assert sql("SELECT count(*) FROM writes") == [(0,)]

    sql("DROP TRIGGER refuse_outcomes ON reliable_imports.import_attempts")
    assert manager.process_batch(batch_id).completed_items == 7
    assert sql("SELECT count(*) FROM writes") == [(7,)]


class CommittingProcessor(BaseProcessor):
    """Of one item: ends the transaction on a connection that it was never given, and begins another one."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})
        if item.source_data["commits"]:
            for connection in [each for each in gc.get_objects() if isinstance(each, Connection)]:
                if not connection.closed and connection.info.transaction_status == TRANSACTION_STATUS_INTRANS:
                    connection.cursor().execute("COMMIT; BEGIN")


@pytest.mark.promise(2)
def test_an_item_that_ends_the_transaction_behind_our_back_fails_alone(manager: BatchManager, sql: Sql) -> None:
    manager.registry.register(CommittingProcessor)
    batch_id = manager.create_batch("committing", [{"commits": number == 3} for number in range(1, 6)])

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (4, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert failed.item_number == 3
    assert sql("SELECT item FROM writes ORDER BY 1") == [(1,), (2,), (4,), (5,)]


class RangeMovingProcessor(BaseProcessor):
    """Of one item: moves its range, as another worker would that does not respect the lock."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.execute("INSERT INTO writes (batch, item) VALUES (%s, %s)", [item.batch_id, item.item_number])
        if item.source_data["moves"]:
            ctx.execute(
                "UPDATE reliable_imports.import_ranges SET next_item = next_item + 1 WHERE batch_id = %s AND is_open",
                [item.batch_id],
            )


@pytest.mark.promise(4)
def test_a_range_that_has_moved_takes_no_outcome(manager: BatchManager, sql: Sql) -> None:
    manager.registry.register(RangeMovingProcessor)
    batch_id = manager.create_batch("range_moving", [{"moves": number == 3} for number in range(1, 6)])

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (4, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert failed.item_number == 3
    assert "moved under a lock" in (failed.error_message or "")
    assert sql("SELECT item FROM writes ORDER BY 1") == [(1,), (2,), (4,), (5,)]


@pytest.mark.promise(4)
def test_a_range_that_is_held_is_not_handed_out(manager: BatchManager, database: str) -> None:
    batch_id = manager.create_batch("notes", [{"id": number, "text": "ok"} for number in range(1, 1001)])
    # Who takes the range all the same waits for it, and not for ever.
    other = BatchManager(make_dsn(database, options="-c lock_timeout=1s"))
    other.registry.register(NotesProcessor)

    with closing(psycopg2.connect(database)) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT FROM reliable_imports.import_ranges WHERE range_number = 1 FOR UPDATE")
        summary = other.process_batch(batch_id)
        assert (summary.status, summary.failed_items) == (BatchStatus.PROCESSING, 0)
        assert 0 < summary.open_items < 1000

    assert manager.process_batch(batch_id).completed_items == 1000
