"""Moments between two owners of an item: two sessions, a parent and its child, a batch and its repeat."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any, ClassVar

import psycopg2
import pytest

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext, TransientError
from reliable_imports.engine.isolation.transaction import ChunkTransaction
from reliable_imports.engine.process import child_process, heartbeat
from reliable_imports.engine.process.time_limit import TimedOut, time_limit
from reliable_imports.engine.work import claims
from reliable_imports.engine.work.worker import Step
from tests.core.clock import Clock
from tests.core.conftest import Sql


@pytest.mark.promise(5)
def test_a_run_waits_for_its_old_session_to_let_go(manager: BatchManager) -> None:
    class CutProcessor(BaseProcessor):
        """Loses its connection in the middle of a statement, which the server notices only half a second later."""

        was_cut = False

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 3 and not self.was_cut:
                self.was_cut = True
                number = ctx._state.database.chunk.transaction.connection.fileno()
                threading.Timer(0.2, lambda: _cut(number)).start()
                ctx.execute("SELECT pg_sleep(20)")
            ctx.execute("INSERT INTO writes VALUES (%s, %s)", [item.batch_id, item.item_number])

    manager.registry.register(CutProcessor)
    summary = manager.process_batch(manager.create_batch("cut", [{}] * 10))

    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, 10)


def _cut(file_descriptor: int) -> None:
    with socket.socket(fileno=os.dup(file_descriptor)) as peer:
        peer.shutdown(socket.SHUT_RDWR)


def test_a_signal_that_comes_before_the_child_is_not_lost(manager: BatchManager) -> None:
    class TermProcessor(BaseProcessor):
        item_timeout = timedelta(seconds=5)

        def on_batch_start(self, batch: Any, ctx: ImportContext) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})

    manager.registry.register(TermProcessor)
    batch_id = manager.create_batch("term", [{}] * 100)
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        summary = manager.process_batch(batch_id)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]
    assert (summary.status, summary.completed_items) == (BatchStatus.PROCESSING, 0)
    assert manager.list_runs(batch_id=batch_id)[0].error == "stopped by a signal"


def test_reprocessing_waits_for_a_retry_of_the_cancelled_batch(manager: BatchManager, database: str, sql: Sql) -> None:
    reached, go_on = threading.Event(), threading.Event()

    class AgainProcessor(BaseProcessor):
        retry_pause = timedelta(milliseconds=10)
        tries = 0

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            self.tries += 1
            if self.tries == 1:
                raise TransientError("busy")
            reached.set()
            go_on.wait(120)
            ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})

    manager.registry.register(AgainProcessor)
    batch_id = manager.create_batch("again", [{}])
    worker = threading.Thread(target=lambda: manager.process_batch(batch_id))
    worker.start()
    assert reached.wait(120)
    manager.cancel_batch(batch_id)
    taken: list[int | None] = []
    request = threading.Thread(target=lambda: taken.append(manager.create_reprocess_batch(batch_id)))
    request.start()
    while request.is_alive() and not sql("SELECT pid FROM pg_locks WHERE NOT granted"):
        request.join(0.02)
    go_on.set()
    request.join(120)
    worker.join(120)

    assert taken == [None]
    assert manager.get_summary(batch_id).completed_items == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which items take long."""
    clock = Clock()
    monkeypatch.setattr(child_process, "time", clock)
    return clock


def test_hooks_of_failed_writes_do_not_use_up_an_items_time(manager: BatchManager, clock: Clock) -> None:
    class HookedProcessor(BaseProcessor):
        item_timeout = timedelta(minutes=1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("notes", item.source_data, key="id")

        def on_item_error(self, item: ImportBatchItem, error: Any, ctx: ImportContext) -> None:
            clock.put_forward(20)

    manager.registry.register(HookedProcessor)
    items = [{"id": number, "text": "bad" if number <= 8 else "ok"} for number in range(1, 21)]
    summary = manager.process_batch(manager.create_batch("hooked", items))

    failed = [item.error_type for item in manager.list_items(summary.batch_id, status="failed")]
    assert (summary.completed_items, failed) == (12, ["CheckViolation"] * 8)


@pytest.mark.parametrize("listens", [True, False])
def test_hooks_of_failed_writes_are_bounded_by_an_items_time(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch, clock: Clock, listens: bool
) -> None:
    monkeypatch.setattr(child_process, "_TIMEOUT_GRACE", 60.0)

    class LongHookProcessor(BaseProcessor):
        item_timeout = timedelta(minutes=1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("notes", item.source_data, key="id")

        def on_item_error(self, item: ImportBatchItem, error: Any, ctx: ImportContext) -> None:
            until = time.monotonic() + 120
            while time.monotonic() < until:
                try:
                    clock.put_forward(61 if listens else 121)
                    threading.Event().wait(1)
                except BaseException:
                    if listens:
                        raise

    manager.registry.register(LongHookProcessor)
    items = [{"id": number, "text": "bad" if number == 3 else "ok"} for number in range(1, 21)]
    batch_id = manager.create_batch("long_hook", items)

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (19, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert failed.error_type == ("CheckViolation" if listens else "ItemTimeout")
    told = sql("SELECT count(*) FROM reliable_imports.import_logs WHERE message = 'on_item_error failed: ItemTimeout'")
    assert told == [(int(listens),)]


def test_a_child_that_dies_while_it_prepares_is_found_out(manager: BatchManager) -> None:
    class PrepareProcessor(BaseProcessor):
        item_timeout = timedelta(seconds=30)

        def prepare_item(self, item: ImportBatchItem) -> None:
            if item.source_data.get("dies"):
                os._exit(1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})

    manager.registry.register(PrepareProcessor)
    batch_id = manager.create_batch("prepare", [{"dies": number == 70} for number in range(150)])

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (149, 1)
    assert manager.list_items(batch_id, status="failed")[0].error_type == "KilledWorker"


def test_a_child_may_send_more_than_a_pipe_holds() -> None:
    end = child_process.ChildProcess(item_timeout=None, stop_received=lambda: False).run(
        lambda: "x" * 200_000, tick=lambda: None
    )

    assert (end.died, len(end.value)) == (False, 200_000)


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert child_process._how(signal.SIGRTMIN + 3) == f"signal {signal.SIGRTMIN + 3}"


def test_a_refused_heartbeat_leaves_the_work_alone(
    manager: BatchManager, database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliable_imports.engine.process.heartbeat.BEAT_SECONDS", 0.1)
    name = sql("SELECT current_database()")[0][0]
    elsewhere = psycopg2.connect(database, dbname="postgres")
    elsewhere.autocommit = True

    def allow(whether: bool) -> None:
        with elsewhere.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {whether}")

    class LongProcessor(BaseProcessor):
        calls = 0

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, int]:
            self.calls += 1
            allow(False)
            try:
                ctx.execute("SELECT pg_sleep(1)")
            finally:
                allow(True)
            return {"calls": self.calls}

    manager.registry.register(LongProcessor)
    batch_id = manager.create_batch("long", [{}])
    try:
        assert manager.process_batch(batch_id).completed_items == 1
    finally:
        elsewhere.close()
    assert manager.list_items(batch_id)[0].result == {"calls": 1}


def test_an_item_is_not_mistaken_for_late_between_two_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_POLL_SECONDS", 0.00002)
    child = child_process.ChildProcess(item_timeout=timedelta(minutes=1), stop_received=lambda: False)

    def work() -> str:
        for number in range(1, 100_001):
            child.note_item(number)
            child.note_tried()
            if number % 100 == 0:
                child.note_between()
        return "done"

    assert child.run(work, tick=lambda: None).value == "done"


def test_an_item_does_not_pay_for_one_that_ended_at_the_last_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_TIMEOUT_GRACE", 0.0)
    child = child_process.ChildProcess(item_timeout=timedelta(seconds=0.2), stop_received=lambda: False)
    is_late, late = os.pipe()
    is_over, over = os.pipe()
    kill = os.kill

    def kill_late(pid: int, number: int) -> None:
        os.write(late, b"x")
        os.read(is_over, 1)
        kill(pid, number)

    def work() -> None:
        child.note_item(1)
        os.read(is_late, 1)
        child.note_item(2)
        os.write(over, b"x")
        time.sleep(120)

    monkeypatch.setattr(os, "kill", kill_late)
    end = child.run(work, tick=lambda: None)
    for end_of_pipe in (is_late, late, is_over, over):
        os.close(end_of_pipe)

    assert (end.died, end.item, end.outstayed) == (True, None, False)


def test_a_child_is_seen_to_end_where_its_signal_is_ignored(manager: BatchManager) -> None:
    class IgnoredProcessor(BaseProcessor):
        item_timeout = timedelta(seconds=30)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})

    manager.registry.register(IgnoredProcessor)
    batch_id = manager.create_batch("ignored", [{}] * 10)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert manager.process_batch(batch_id).status is BatchStatus.COMPLETED
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_time_limit_that_is_met_at_the_last_moment_leaves_no_timer() -> None:
    before = signal.getsignal(signal.SIGALRM)
    met = 0
    for number in range(3_000):
        try:
            with time_limit(timedelta(microseconds=40 + number % 40, minutes=number % 100 == 0)):
                met += sum(range(300)) > 0
        except TimedOut:
            pass
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) is before
    assert met


@pytest.mark.promise(5)
def test_a_run_goes_on_where_another_worker_has_taken_its_range_over(
    manager: BatchManager, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliable_imports.engine.recovery.reconnection._LOCK_SECONDS", 0.3)
    other = psycopg2.connect(database)
    cursor = other.cursor()

    class LosingProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            pid = ctx.fetch_value("SELECT pg_backend_pid()")
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            cursor.execute("SELECT FROM reliable_imports.import_ranges WHERE batch_id = %s FOR UPDATE", [item.batch_id])
            ctx.fetch_value("SELECT 1")

    manager.registry.register(LosingProcessor)
    batch_id = manager.create_batch("losing", [{}] * 10)

    assert manager.process_batch(batch_id).status is BatchStatus.PROCESSING  # and left to whoever holds it
    other.close()
    assert [run.state for run in manager.list_runs(batch_id=batch_id)] == ["finished"]


def test_an_item_may_take_longer_than_a_session_may_be_idle(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat, most = heartbeat.BEAT_SECONDS, claims._MAX_IDLE.total_seconds()
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.2)

    class LongProcessor(BaseProcessor):
        """Takes until the server has twice been shown that its session is not frozen."""

        tries = 0
        seen: ClassVar[set[Any]] = set()

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            type(self).tries += 1
            session = [ctx.fetch_value("SELECT pg_backend_pid()")]
            limit = "SELECT setting::integer FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
            assert ctx.fetch_value(limit) == most * 1000 > 2 * beat * 1000
            until = time.monotonic() + 60
            while len(self.seen) < 3 and time.monotonic() < until:
                self.seen.update(sql("SELECT state_change FROM pg_stat_activity WHERE pid = %s", *session))
                time.sleep(0.01)
            ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})

    manager.registry.register(LongProcessor)

    assert manager.process_batch(manager.create_batch("long", [{}])).completed_items == 1
    assert (LongProcessor.tries, len(LongProcessor.seen)) == (1, 3)


def test_a_signal_is_obeyed_when_the_run_ends_with_an_error(manager: BatchManager) -> None:
    class BrokenStartProcessor(BaseProcessor):
        def on_batch_start(self, batch: Any, ctx: ImportContext) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            raise LookupError("no calendar for today")

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            raise AssertionError("never begun")

    manager.registry.register(BrokenStartProcessor)
    batch_id = manager.create_batch("broken_start", [{}])
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with pytest.raises(LookupError):
            manager.process_batch(batch_id)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("swallows", [True, False])
def test_a_statement_that_is_cancelled_by_a_signal_leaves_its_item_pending(
    manager: BatchManager, monkeypatch: pytest.MonkeyPatch, swallows: bool
) -> None:
    monkeypatch.setattr("reliable_imports.engine.process.stop_signal.GRACE_SECONDS", 0.2)

    class HidingProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                ctx.execute("SELECT pg_sleep(30)")
            except psycopg2.Error as error:
                if not swallows:
                    raise RuntimeError("the shop does not answer") from error

    manager.registry.register(HidingProcessor)
    batch_id = manager.create_batch("hiding", [{}])
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        summary = manager.process_batch(batch_id)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert (summary.status, summary.open_items) == (BatchStatus.PROCESSING, 1)


def _wait_for_a_waiter(database: str) -> None:
    """Until a session of the database waits for a lock."""
    with closing(psycopg2.connect(database)) as watcher, watcher.cursor() as cursor:
        watcher.autocommit = True
        until = time.monotonic() + 120
        while time.monotonic() < until:  # else what should wait does not
            cursor.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.rowcount:
                return
            time.sleep(0.01)


def test_a_search_that_waits_for_an_item_ends_at_a_signal(
    manager: BatchManager, database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliable_imports.engine.process.stop_signal.GRACE_SECONDS", 0.2)

    class LaterProcessor(BaseProcessor):
        retry_pause = timedelta(milliseconds=1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.attempt == 1:
                raise TransientError("busy")

    manager.registry.register(LaterProcessor)
    batch_id = manager.create_batch("later", [{}] * 2)
    with monkeypatch.context() as patched:
        patched.setattr(
            "reliable_imports.engine.work.worker.Worker._work_due_retries", lambda worker: Step.NOTHING_FREE
        )
        patched.setattr("reliable_imports.engine.work.worker.Worker._wait_for_retries", lambda worker: False)
        manager.process_batch(batch_id)
    sql(
        "INSERT INTO reliable_imports.import_suspects (batch_id, range_number, item_number, run_id, deaths) "
        "SELECT batch_id, 0, 0, id, 0 FROM reliable_imports.import_runs"
    )
    holder = psycopg2.connect(database)
    holder.cursor().execute("SELECT FROM reliable_imports.import_retries WHERE item_number = 2 FOR UPDATE")

    def stop_what_waits() -> None:
        _wait_for_a_waiter(database)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    thread = threading.Thread(target=stop_what_waits, daemon=True)
    thread.start()
    try:
        summary = manager.process_batch(batch_id)
    finally:
        thread.join(60)
        signal.signal(signal.SIGTERM, before)
        holder.rollback()  # the server may close a session some time after it was asked to
        holder.close()

    assert (summary.status, summary.completed_items, summary.open_items) == (BatchStatus.PROCESSING, 1, 1)
    assert [run.error for run in manager.list_runs(batch_id=batch_id)][-1] == "stopped by a signal"
    assert manager.process_batch(batch_id).completed_items == 2


def test_a_claim_may_wait_longer_than_a_statement_of_an_item(manager: BatchManager, database: str) -> None:
    class QuickProcessor(BaseProcessor):
        statement_timeout = timedelta(seconds=0.2)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            pass

    manager.registry.register(QuickProcessor)
    batch_id = manager.create_batch("quick", [{}])
    holder = psycopg2.connect(database)
    holder.cursor().execute("LOCK TABLE reliable_imports.import_suspects")  # which a claim reads

    def let_it_wait() -> None:
        _wait_for_a_waiter(database)
        time.sleep(0.4)
        holder.close()

    thread = threading.Thread(target=let_it_wait, daemon=True)
    thread.start()
    try:
        assert manager.process_batch(batch_id).completed_items == 1
    finally:
        holder.close()
        thread.join(60)


def test_a_claim_of_the_next_range_may_take_longer_than_a_statement_of_an_item(manager: BatchManager, sql: Sql) -> None:
    """That range is claimed while the items before it are in hand."""
    tried = []

    class QuickProcessor(BaseProcessor):
        statement_timeout = timedelta(seconds=0.2)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            tried.append(item.item_number)
            if item.item_number == 1:
                ((claim,),) = sql("SELECT pg_get_functiondef('reliable_imports.claim_chunk_v1'::regproc)")
                sql(claim.replace("\nBEGIN\n", f"\nBEGIN\n{_SLEEPS}\n"))

    manager.registry.register(QuickProcessor)

    assert manager.process_batch(manager.create_batch("quick", [{} for _ in range(100)])).completed_items == 100
    assert tried == list(range(1, 101)), "no chunk was undone"


def test_a_run_may_take_longer_than_a_statement_of_an_item_to_say_where_it_is(manager: BatchManager, sql: Sql) -> None:
    class PreparingProcessor(BaseProcessor):
        statement_timeout = timedelta(seconds=0.2)

        def prepare_item(self, item: ImportBatchItem) -> None:
            """Whoever has claimed a range says so before its items are prepared."""

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            pass

    manager.registry.register(PreparingProcessor)
    batch_id = manager.create_batch("preparing", [{} for _ in range(100)])
    _slow_down(sql, "UPDATE ON reliable_imports.import_runs")

    assert manager.process_batch(batch_id).completed_items == 100


def test_what_an_item_has_set_is_not_set_when_its_outcome_is_recorded(manager: BatchManager, sql: Sql) -> None:
    class SettingProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 1:
                ctx.execute("SET LOCAL ROLE pg_read_all_stats")
                ctx.execute("SET statement_timeout = 200")

    manager.registry.register(SettingProcessor)
    batch_id = manager.create_batch("setting", [{}, {}])
    _slow_down(sql, "INSERT ON reliable_imports.import_attempts")

    assert manager.process_batch(batch_id).completed_items == 2


_SLEEPS = "PERFORM pg_catalog.pg_sleep(0.4);"


def _slow_down(sql: Sql, event: str) -> None:
    sql(f"CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_SLEEPS} RETURN NULL; END $$")
    sql(f"CREATE TRIGGER sleeps BEFORE {event} EXECUTE FUNCTION sleep()")


def test_what_is_asked_about_a_failure_may_take_longer_than_a_statement_of_an_item(database: str) -> None:
    with closing(psycopg2.connect(database)) as connection:
        connection.cursor().execute("SET LOCAL statement_timeout = '200ms'")
        transaction = ChunkTransaction(connection)

        assert transaction.ask("SELECT 1 FROM pg_sleep(0.4)") == [(1,)]

        assert transaction.send_for_all("SHOW statement_timeout").fetchone() == ("200ms",)


def test_a_claim_that_met_another_transaction_is_made_again(manager: BatchManager, database: str) -> None:
    """As when a migration wants the tables that a claim has read, and has those that it will read."""

    class CalmProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            pass

    manager.registry.register(CalmProcessor)
    batch_id = manager.create_batch("calm", [{}])
    other = psycopg2.connect(database)
    cursor = other.cursor()
    cursor.execute("SET deadlock_timeout = '20s'")  # so that it is the claim that is given up
    cursor.execute("LOCK TABLE reliable_imports.import_suspects")  # which a claim reads last

    def meet() -> None:
        _wait_for_a_waiter(database)
        with suppress(psycopg2.errors.DeadlockDetected):  # it has looked before this came
            cursor.execute("LOCK TABLE reliable_imports.import_ranges")  # which it has locked
        other.close()

    thread = threading.Thread(target=meet, daemon=True)
    thread.start()
    try:
        assert manager.process_batch(batch_id).completed_items == 1
    finally:
        thread.join(60)
        other.close()
    assert [run.error for run in manager.list_runs(batch_id=batch_id)] == [None]


def test_the_end_of_a_batch_is_told_although_the_connection_is_lost_in_it(manager: BatchManager, sql: Sql) -> None:
    class EndingProcessor(BaseProcessor):
        losses = 1

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})

        def on_batch_complete(self, summary: Any, ctx: ImportContext) -> None:
            if self.losses:
                type(self).losses -= 1
                ctx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            ctx.execute("INSERT INTO notes (id, text) VALUES (1, 'told')")

    manager.registry.register(EndingProcessor)
    manager.process_batch(manager.create_batch("ending", [{}]))
    assert sql("SELECT text FROM notes") == [("told",)]

    EndingProcessor.losses = 99
    batch_id = manager.create_batch("ending", [{}])
    assert manager.process_batch(batch_id).status is BatchStatus.COMPLETED
    assert EndingProcessor.losses == 96
    errors = [entry.message for entry in manager.list_logs(batch_id, levels=["error"])]
    assert [message.partition(":")[0] for message in errors] == ["on_batch_complete failed"]
