"""Promises 4 and 5: killed, frozen and cut-off workers lose nothing, double nothing and block nobody."""

from __future__ import annotations

import signal
import threading
from typing import Any

import psycopg2
import pytest

from reliable_imports import BatchManager, BatchStatus, BatchSummary, RunInterrupted
from reliable_imports.postgres.queries import load
from tests.core.conftest import Sql
from tests.core.crashing_worker import worker_that_stops_at
from tests.core.doubles import ACTIONS

pytestmark = [pytest.mark.promise(4), pytest.mark.promise(5)]


@pytest.mark.parametrize("batch_type", ["notes", "immediate"])
@pytest.mark.parametrize("at", [1, 77, 200])
def test_a_killed_workers_items_are_processed_once(
    manager: BatchManager, database: str, sql: Sql, batch_type: str, at: int
) -> None:
    batch_id = manager.create_batch(batch_type, [{"id": number, "text": "ok"} for number in range(1, 201)])
    with worker_that_stops_at(database, batch_id, at) as child:
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
        # At once: nothing has to time out.
        summary = manager.process_batch(batch_id)

    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, 200)
    assert sql("SELECT count(*), count(DISTINCT item) FROM writes") == [(200, 200)]
    assert [run.mode for run in manager.list_runs(batch_id=batch_id)] == ["import", "resume"]


def test_items_held_by_a_worker_show_as_processing(manager: BatchManager, database: str, sql: Sql) -> None:
    batch_id = manager.create_batch("notes", [{"id": number, "text": "ok"} for number in range(1, 201)])
    with worker_that_stops_at(database, batch_id, 77):
        # Ranges are of 50 here: one is done, the run has said that it works on it, and the next is locked.
        counted = dict(sql("SELECT status, count(*) FROM reliable_imports.import_batch_items GROUP BY 1"))
        assert counted == {"completed": 50, "processing": 50, "pending": 100}
        assert manager.get_summary(batch_id).status is BatchStatus.PROCESSING
        assert manager.list_runs(batch_id=batch_id)[0].state == "running"
    manager.process_batch(batch_id)


def test_two_workers_share_a_batch(manager: BatchManager, database: str, sql: Sql) -> None:
    batch_id = manager.create_batch("notes", [{"id": number, "text": "ok"} for number in range(1, 1001)])
    with worker_that_stops_at(database, batch_id, 120) as child:
        # The child holds one range; everything else is done here, and the batch stays open for the child.
        here = manager.process_batch(batch_id)
        assert here.status is BatchStatus.PROCESSING
        assert here.completed_items >= 900
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout is not None
        assert child.stdout.readline() == "finished\n"

    summary = manager.get_summary(batch_id)
    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, 1000)
    assert sql("SELECT count(*), count(DISTINCT item) FROM writes") == [(1000, 1000)]


def test_workers_that_finish_together_close_the_batch(manager: BatchManager) -> None:
    for _ in range(5):
        batch_id = manager.create_batch("notes", [{"id": number, "text": "ok"} for number in range(1, 401)])
        start = threading.Barrier(4)

        def work(batch_id: int = batch_id, start: threading.Barrier = start) -> None:
            start.wait(120)
            manager.process_batch(batch_id)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert manager.get_summary(batch_id).status is BatchStatus.COMPLETED


def test_a_late_worker_writes_nothing(manager: BatchManager, database: str, sql: Sql) -> None:
    batch_id = manager.create_batch("notes", [{"id": number, "text": "ok"} for number in range(1, 101)])
    with worker_that_stops_at(database, batch_id, 60) as child:
        # As when a frozen worker's session is ended by the server: somebody else takes over.
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        summary = manager.process_batch(batch_id)
        assert summary.completed_items == 100
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout is not None
        # It makes its connection again, and finds that nothing is left to do.
        assert child.stdout.readline() == "finished\n"
        assert child.wait(timeout=120) == 0

    assert sql("SELECT count(*), count(DISTINCT item) FROM writes") == [(100, 100)]


def test_a_second_outcome_of_an_attempt_is_refused(manager: BatchManager, sql: Sql) -> None:
    manager.process_batch(manager.create_batch("notes", [{"id": 1, "text": "ok"}]))

    with pytest.raises(psycopg2.errors.UniqueViolation):
        sql(
            "INSERT INTO reliable_imports.import_attempts (batch_id, item_number, attempt, run_id, outcome, is_final) "
            "VALUES (1, 1, 1, 1, 'completed', true)"
        )


@pytest.mark.parametrize("swallows", [True, False])
def test_an_item_that_costs_its_connection_again_and_again_is_set_aside(
    manager: BatchManager, monkeypatch: pytest.MonkeyPatch, swallows: bool
) -> None:
    def lose_the_connection(item: Any, ctx: Any) -> None:
        ctx.fetch_value("SELECT pg_backend_pid()")
        try:
            ctx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        except psycopg2.Error:
            if not swallows:
                raise

    monkeypatch.setitem(ACTIONS, "lose", lose_the_connection)
    items: list[dict[str, Any]] = [{"id": number, "text": "ok"} for number in range(1, 101)]
    items[70]["do"] = "lose"
    batch_id = manager.create_batch("immediate", items)

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (99, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.retryable) == (71, True)
    assert "the connection was lost 5 times while this item alone was tried" in (failed.error_message or "")


def test_a_connection_that_is_lost_once_costs_nothing(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []

    def lose_once(item: Any, ctx: Any) -> None:
        if not losses:
            losses.append(item.item_number)
            ctx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setitem(ACTIONS, "lose", lose_once)
    items: list[dict[str, Any]] = [{"id": number, "text": "ok"} for number in range(1, 101)]
    items[70]["do"] = "lose"

    summary = manager.process_batch(manager.create_batch("immediate", items))

    assert losses == [71]
    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, 100)
    assert [run.state for run in manager.list_runs(batch_id=summary.batch_id)] == ["finished"]


def test_a_server_that_stays_away_interrupts_the_run(
    manager: BatchManager, database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliable_imports.engine.recovery.connection.RECONNECT_SECONDS", 0.3)
    name = sql("SELECT current_database()")[0][0]
    elsewhere = psycopg2.connect(database, dbname="postgres")
    elsewhere.autocommit = True

    def allow(whether: bool) -> None:
        with elsewhere.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {whether}")

    def go_away(item: Any, ctx: Any) -> None:
        allow(False)
        ctx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setitem(ACTIONS, "lose", go_away)
    items: list[dict[str, Any]] = [{"id": number, "text": "ok"} for number in range(1, 101)]
    items[70]["do"] = "lose"
    batch_id = manager.create_batch("immediate", items)

    try:
        with pytest.raises(
            RunInterrupted, match=rf"batch {batch_id} was interrupted .* `reliable-imports process {batch_id}`"
        ):
            manager.process_batch(batch_id)
    finally:
        allow(True)
        elsewhere.close()

    after = manager.get_summary(batch_id)
    assert (after.completed_items, after.failed_items, after.open_items) == (50, 0, 50)
    monkeypatch.setitem(ACTIONS, "lose", lambda item, ctx: None)
    assert manager.process_batch(batch_id).completed_items == 100


@pytest.mark.parametrize("sqlstate", ["53100", "53200", "58030", "57P01"])
@pytest.mark.parametrize("batch_type", ["notes", "immediate"])
def test_trouble_of_the_server_pauses_the_batch_and_blames_no_item(
    manager: BatchManager, sql: Sql, sqlstate: str, batch_type: str
) -> None:
    # From item 60 on the real server raises the real SQLSTATE, as it does when its disk is full.
    sql(
        f"""CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '{sqlstate}'; END $$"""
    )
    sql("CREATE TRIGGER trouble BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.id >= 60) EXECUTE FUNCTION trouble()")
    batch_id = manager.create_batch(batch_type, [{"id": number, "text": "ok"} for number in range(1, 101)])

    after = manager.process_batch(batch_id)

    assert (after.status, after.completed_items, after.failed_items) == (BatchStatus.PAUSED, 59, 0)
    assert after.pause_reason is not None
    assert after.pause_reason.startswith("the database has trouble of its own: ")
    assert after.pause_reason.endswith(": could not extend file; met by items tried alone: 60, 61, 62")
    (run,) = manager.list_runs(batch_id=batch_id)
    assert (run.state, run.error) == ("interrupted", "the batch is paused")
    sql("DROP TRIGGER trouble ON notes")
    assert manager.process_batch(batch_id).status is BatchStatus.COMPLETED


def test_a_server_that_cannot_even_pause_the_batch_interrupts_the_run(manager: BatchManager, sql: Sql) -> None:
    sql(
        """CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"""
    )
    batch_id = manager.create_batch("notes", [{"id": number, "text": "ok"} for number in range(1, 101)])
    sql("CREATE TRIGGER trouble BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.id >= 60) EXECUTE FUNCTION trouble()")
    sql(
        "CREATE TRIGGER trouble BEFORE UPDATE ON reliable_imports.import_batches FOR EACH ROW "
        "WHEN (NEW.status = 'paused') EXECUTE FUNCTION trouble()"
    )

    with pytest.raises(RunInterrupted, match=f"batch {batch_id} was interrupted by the database: .*extend file"):
        manager.process_batch(batch_id)

    assert manager.get_summary(batch_id).failed_items == 0
    sql("DROP TRIGGER trouble ON notes")
    assert manager.process_batch(batch_id).status is BatchStatus.COMPLETED


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
@pytest.mark.parametrize("batch_type", ["notes", "immediate"])
@pytest.mark.parametrize("times", [2, 99])
def test_meeting_another_transaction_is_tried_again_in_a_new_one(
    manager: BatchManager, sql: Sql, sqlstate: str, batch_type: str, times: int
) -> None:
    sql("CREATE SEQUENCE meetings")
    sql(
        f"""CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('meetings') <= {times} THEN
                RAISE EXCEPTION 'could not serialize' USING ERRCODE = '{sqlstate}';
            END IF;
            RETURN NEW;
        END $$"""
    )
    sql("CREATE TRIGGER meet BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.id = 60) EXECUTE FUNCTION meet()")
    batch_id = manager.create_batch(batch_type, [{"id": number, "text": "ok"} for number in range(1, 101)])
    summary = manager.process_batch(batch_id)

    if times == 2:
        assert (summary.completed_items, summary.failed_items) == (100, 0)
        # One try went with its chunk, one alone; the third succeeded. The try in the chunk is charged to nobody.
        tries = sql(
            "SELECT attempt, outcome, is_final FROM reliable_imports.import_attempts WHERE item_number = 60 ORDER BY 1"
        )
        assert tries == [(1, "failed", False), (2, "completed", True)]
    else:
        assert (summary.completed_items, summary.failed_items) == (99, 1)
        (failed,) = manager.list_items(batch_id, status="failed")
        assert (failed.item_number, failed.retryable, failed.attempts) == (60, True, 5)


def test_a_real_deadlock_costs_no_item(manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    sql("INSERT INTO notes (id, text) VALUES (1, 'x'), (2, 'x')")
    waiting = threading.Event()
    summaries: list[BatchSummary] = []

    def cross(item: Any, ctx: Any) -> None:
        first, second = item.source_data["locks"]
        ctx.execute("SELECT FROM notes WHERE id = %s FOR UPDATE", [first])
        if not waiting.is_set():
            barrier.wait(timeout=30)
            waiting.set()
        ctx.execute("SELECT FROM notes WHERE id = %s FOR UPDATE", [second])

    monkeypatch.setitem(ACTIONS, "cross", cross)
    barrier = threading.Barrier(2)
    batches = [
        manager.create_batch("immediate", [{"id": 10, "text": "ok", "do": "cross", "locks": [1, 2]}]),
        manager.create_batch("immediate", [{"id": 20, "text": "ok", "do": "cross", "locks": [2, 1]}]),
    ]
    threads = [threading.Thread(target=lambda b=b: summaries.append(manager.process_batch(b))) for b in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert [summary.completed_items for summary in summaries] == [1, 1]


def test_the_claim_stays_on_its_index(manager: BatchManager, sql: Sql) -> None:
    for _ in range(60):  # a table of one page would be read as a whole, and rightly so
        manager.create_batch("notes", ({"id": number, "text": "ok"} for number in range(1_000)))
    sql("ANALYZE reliable_imports.import_ranges, reliable_imports.import_items")
    parameters = {
        "batch_id": 2, "run_id": 0, "from_range": 0, "have_range": -1, "have_until": 0, "limit": 50,
        "max_bytes": 1_000_000, "take_anyway": False,
    }  # fmt: skip
    sql(load("work.sql")["start_batch"].replace("%(batch_id)s", "2"))
    connection = psycopg2.connect(manager.dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(load("work.sql")["claim_chunk"], parameters)
        assert len(cursor.fetchall()) == 1 + 50, "what was claimed, and its items"
        cursor.execute(
            "SELECT relname, seq_scan, idx_scan FROM pg_stat_xact_user_tables "
            "WHERE relname IN ('import_ranges', 'import_items') ORDER BY relname"
        )
        scans = cursor.fetchall()
    connection.close()

    assert [(name, by_sequence) for name, by_sequence, _ in scans] == [("import_items", 0), ("import_ranges", 0)]
    assert all(by_index > 0 for _, _, by_index in scans)


def test_no_item_is_read_to_find_that_none_waits_for_another_try(manager: BatchManager, sql: Sql) -> None:
    items = [{"id": number, "text": "ok"} for number in range(2_000)]
    manager.create_batch("notes", items)
    sql("ANALYZE reliable_imports.import_items")  # so that the server expects nothing of the next batch
    batch_id = manager.create_batch("notes", items)
    sql(load("work.sql")["start_batch"].replace("%(batch_id)s", str(batch_id)))
    read = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'import_items'"
    with manager._connection() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; " + load("work.sql")["claim_retries"], {"batch_id": batch_id, "run_id": 0, "limit": 50})
        assert cursor.fetchall() == []
        cursor.execute(read)
        assert cursor.fetchall() == [(0,)]


def test_a_reason_first_seen_in_an_undone_chunk_is_known(manager: BatchManager, sql: Sql) -> None:
    # The chunk fails at its COMMIT, after its reasons were recorded; they must be recorded again with the replay.
    sql("CREATE SEQUENCE commits")
    sql(
        """CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('commits') = 1 THEN
                RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001';
            END IF;
            RETURN NULL;
        END $$"""
    )
    sql(
        "CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON reliable_imports.import_ranges "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_once()"
    )
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "ok"}, {"id": 2, "text": "bad"}])
    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (1, 1)
    assert [reason.title[:14] for reason in manager.failure_reasons(batch_id)] == ["CheckViolation"]
