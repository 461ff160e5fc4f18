"""What a processor declares: tries, tolerance, the breaker, preparation, natural keys."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import pytest

from reliable_imports import (
    BaseProcessor,
    BatchFinished,
    BatchManager,
    BatchStatus,
    ImportBatchItem,
    ImportContext,
    TransientError,
)
from tests.core.conftest import Sql
from tests.core.misbehaving import (
    PROCESSORS,
    AsyncFetchingProcessor,
    FetchingProcessor,
    LimitedProcessor,
    TransientProcessor,
)


@pytest.fixture(autouse=True)
def registered(manager: BatchManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TransientProcessor, "seen", {})
    for processor in PROCESSORS:
        manager.registry.register(processor)


def test_a_transient_error_is_tried_again_within_the_run(manager: BatchManager, sql: Sql) -> None:
    items = [{"failures": failures} for failures in (0, 1, 2, 3, 0)]
    batch_id = manager.create_batch("transient", items)

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (4, 1)
    tries = sql(
        "SELECT item_number, count(*), count(*) FILTER (WHERE is_final) "
        "FROM reliable_imports.import_attempts GROUP BY 1 ORDER BY 1"
    )
    assert tries == [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 3, 1), (5, 1, 1)]
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.retryable, failed.attempts) == (4, True, 3)
    assert sql("SELECT item FROM writes ORDER BY 1") == [(1,), (2,), (3,), (5,)]
    assert sql("SELECT count(*) FROM reliable_imports.import_retries") == [(0,)]
    assert not manager.verify(batch_id)[0].problems


def test_an_item_that_is_tried_again_does_not_overwrite_newer_data(manager: BatchManager, sql: Sql) -> None:
    class LateProcessor(BaseProcessor):
        retry_pause = timedelta(milliseconds=1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.source_data["text"] == "old" and item.attempt == 1:
                raise TransientError("busy")
            ctx.upsert("notes", item.source_data, key="id")

    manager.registry.register(LateProcessor)
    batch_id = manager.create_batch("late", [{"id": 1, "text": "old"}, {"id": 1, "text": "new"}])

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items) == (1, 1)
    assert sql("SELECT text FROM notes") == [("new",)]


def test_items_are_tried_again_before_a_long_batch_ends(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliable_imports.engine.work.chunk.MAX_SECONDS", 0.05)

    class BusyProcessor(BaseProcessor):
        retry_pause = timedelta(milliseconds=50)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 1 and item.attempt == 1:
                raise TransientError("busy")
            time.sleep(0.005)
            ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})

    manager.registry.register(BusyProcessor)
    batch_id = manager.create_batch("busy", [{}] * 400)
    assert manager.process_batch(batch_id).completed_items == 400

    finished = (
        "SELECT finished_at FROM reliable_imports.import_attempts WHERE outcome = 'completed' AND item_number = %s"
    )
    assert sql(finished, 1) < sql(finished, 400)


def test_a_worker_that_died_elsewhere_makes_no_retries_suspect(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork(*arguments: object, **named: object) -> None:
        raise AssertionError("nothing is suspect here")

    monkeypatch.setattr("reliable_imports.engine.process.child_process.ChildProcess.run", fork)
    batch_id = manager.create_batch("transient", [{"failures": 1}] * 20)
    sql(
        "INSERT INTO reliable_imports.import_runs (batch_id, runner, mode, host, process_id, range_number) "
        f"VALUES ({batch_id}, 'python', 'import', 'elsewhere', 1, 7)"
    )

    assert manager.process_batch(batch_id).completed_items == 20


def test_a_claim_that_began_before_the_batch_was_cancelled_gets_no_retry_that_was_taken(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TransientProcessor, "retry_pause", timedelta(minutes=1))
    monkeypatch.setattr("reliable_imports.engine.work.worker.Worker._wait_for_retries", lambda worker: False)
    batch_id = manager.create_batch("transient", [{"failures": 1}])
    manager.process_batch(batch_id)
    manager.cancel_batch(batch_id)
    sql("UPDATE reliable_imports.import_retries SET not_before = now()")
    taken = manager.create_reprocess_batch(batch_id)
    assert taken is not None
    # What such a claim sees: the batch as it was.
    sql("UPDATE reliable_imports.import_batches SET status = 'processing', finished_at = NULL WHERE id = %s", batch_id)
    manager.process_batch(batch_id)
    sql("UPDATE reliable_imports.import_batches SET status = 'cancelled', finished_at = now() WHERE id = %s", batch_id)

    assert manager.get_summary(batch_id).completed_items == 0
    assert manager.process_batch(taken).completed_items == 1


def test_an_item_that_waits_for_its_next_try_survives_a_run(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = manager.create_batch("transient", [{"failures": 1}, {"failures": 0}])
    monkeypatch.setattr(TransientProcessor, "retry_pause", timedelta(minutes=1))
    monkeypatch.setattr("reliable_imports.engine.work.worker.Worker._wait_for_retries", lambda worker: False)
    waiting = manager.process_batch(batch_id)
    monkeypatch.undo()
    sql("UPDATE reliable_imports.import_retries SET not_before = now()")

    assert (waiting.status, waiting.completed_items, waiting.open_items) == (BatchStatus.PROCESSING, 1, 1)
    assert manager.process_batch(batch_id).status is BatchStatus.COMPLETED


def test_too_many_failed_items_pause_the_batch(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedProcessor, "max_failed_items", 3)
    items = [{"bad": number % 10 == 0} for number in range(1000)]
    batch_id = manager.create_batch("limited", items)

    paused = manager.process_batch(batch_id)

    assert paused.status is BatchStatus.PAUSED
    assert paused.pause_reason == f"{paused.failed_items} items have failed, and max_failed_items is 3"
    assert paused.open_items > 500
    (run,) = manager.list_runs(batch_id=batch_id)
    assert (run.state, run.error) == ("interrupted", "the batch is paused")
    # Whoever resumes it has seen those; the next ones count anew.
    monkeypatch.setattr(LimitedProcessor, "max_failed_items", 100)
    assert manager.process_batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES


def test_too_large_a_share_of_failed_items_pauses_the_batch(
    manager: BatchManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedProcessor, "max_failed_share", 0.05)
    few = manager.create_batch("limited", [{"bad": number == 0} for number in range(50)])
    many = manager.create_batch("limited", [{"bad": number % 10 == 0} for number in range(1000)])

    assert manager.process_batch(few).status is BatchStatus.COMPLETED_WITH_FAILURES
    paused = manager.process_batch(many)

    assert paused.status is BatchStatus.PAUSED
    assert "max_failed_share is 0.05" in (paused.pause_reason or "")


def test_the_breaker_pauses_a_batch_whose_environment_is_broken(manager: BatchManager, sql: Sql) -> None:
    items = [{"absent": number >= 200} for number in range(1000)]
    batch_id = manager.create_batch("limited", items)

    paused = manager.process_batch(batch_id)

    assert (paused.status, paused.failed_items) == (BatchStatus.PAUSED, 0)
    assert "items in a row failed for one reason: UnusableTarget" in (paused.pause_reason or "")
    sql("CREATE TABLE absent (batch bigint, item bigint)")
    assert manager.process_batch(batch_id).completed_items == 1000


@pytest.mark.parametrize("kind", [FetchingProcessor, AsyncFetchingProcessor])
def test_items_are_prepared_together_before_their_transaction(
    manager: BatchManager, sql: Sql, kind: type[FetchingProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "most", 0)
    items = [{"id": number, "bad": number == 30} for number in range(120)]
    batch_id = manager.create_batch(kind.batch_type, items)

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (119, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.stage, failed.error_type) == (31, "prepare", "LookupError")
    results = sql("SELECT item_number, (result ->> 'target_id')::integer FROM reliable_imports.import_attempts")
    assert sorted(results) == [(n, None if n == 31 else (n - 1) * 10) for n in range(1, 121)]
    assert 2 <= kind.most <= 4


@pytest.mark.parametrize(
    ("batch_type", "texts", "completed"),
    [("keyed", [(1, "d"), (2, "b"), (3, "e")], 3), ("first_keyed", [(1, "a"), (2, "b"), (3, "c")], 3)],
)
def test_of_duplicates_one_wins(
    manager: BatchManager, sql: Sql, batch_type: str, texts: list[tuple[int, str]], completed: int
) -> None:
    rows = [(1, "a"), (2, "b"), ("3", "c"), (1, "d"), (3, "e")]
    batch_id = manager.create_batch(batch_type, [{"id": number, "text": text} for number, text in rows])

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items, summary.failed_items) == (completed, 2, 0)
    assert sql("SELECT id, text FROM notes ORDER BY id") == texts
    reasons = {item.skip_reason for item in manager.list_items(batch_id, status="skipped")}
    winners = (4, 5) if batch_type == "keyed" else (1, 3)
    assert reasons == {f"item {winner} of this batch has the same natural key" for winner in winners}


def test_duplicates_are_found_among_items_that_the_server_cannot_read(manager: BatchManager) -> None:
    keys = [1, "a", 1, "1", "a\0", "a\0", 2.50, "b", "b\ud800"]
    odd = {2, 3, 4, 5, 6, 9}
    items = [
        {"id": key, "text": "ok", **({"note": "\0"} if number in odd else {})} for number, key in enumerate(keys, 1)
    ]
    batch_id = manager.create_batch("first_keyed", items)
    manager.process_batch(batch_id)

    skipped = {item.item_number: item.skip_reason for item in manager.list_items(batch_id, status="skipped")}
    same = "item {} of this batch has the same natural key".format
    assert skipped == {3: same(1), 4: same(1), 6: same(5)}


def test_duplicates_that_must_not_be_fail_all(manager: BatchManager, sql: Sql) -> None:
    rows = [(1, "a"), (2, "b"), (1, "c"), (None, "d")]
    batch_id = manager.create_batch("strict_keyed", [{"id": number, "text": text} for number, text in rows])

    summary = manager.process_batch(batch_id)

    failed = manager.list_items(batch_id, status="failed")
    assert [(item.item_number, item.error_type, item.error_message) for item in failed[:2]] == [
        (1, "DuplicateKey", "item 3 of this batch has the same natural key"),
        (3, "DuplicateKey", "item 1 of this batch has the same natural key"),
    ]
    assert summary.completed_items == 1
    # Run again they are duplicates still.
    assert manager.reprocess_batch(batch_id).completed_items == 0


def test_a_newer_item_of_the_same_declared_key_is_not_overwritten(manager: BatchManager, sql: Sql) -> None:
    old = manager.create_batch("keyed", [{"id": 1, "text": "bad"}])
    manager.process_batch(old)
    new = manager.create_batch("keyed", [{"id": 1, "text": "new"}])
    manager.process_batch(new)
    sql("ALTER TABLE notes DROP CONSTRAINT notes_text_not_bad")

    again = manager.reprocess_batch(old)

    assert (again.skipped_items, again.completed_items) == (1, 0)
    assert sql("SELECT text FROM notes") == [("new",)]


@pytest.mark.promise(6)
def test_verify_finds_what_does_not_add_up(manager: BatchManager, sql: Sql) -> None:
    batch_id = manager.create_batch("limited", [{}, {}, {"bad": True}])
    manager.process_batch(batch_id)
    assert manager.verify(batch_id)[0].problems == ()

    sql("UPDATE reliable_imports.import_ranges SET completed = 3, next_item = 3 WHERE batch_id = %s", batch_id)
    problems = manager.verify()[0].problems
    sql("UPDATE reliable_imports.import_ranges SET completed = 2, next_item = 4 WHERE batch_id = %s", batch_id)

    assert "the counts of completed items are off by 1" in problems
    assert "1 items are still to be done, and have an outcome" in problems
    assert "the counts of the finished batch differ from those of its ranges" in problems

    sql("UPDATE reliable_imports.import_failure_counts SET items = 2 WHERE batch_id = %s", batch_id)
    assert manager.verify()[0].problems == ("the kept counts of failures differ for 1 reasons",)
    sql("UPDATE reliable_imports.import_failure_counts SET items = 1 WHERE batch_id = %s", batch_id)


def test_a_finished_batch_is_neither_paused_nor_cancelled(manager: BatchManager) -> None:
    batch_id = manager.create_batch("limited", [{}])
    manager.process_batch(batch_id)

    with pytest.raises(BatchFinished, match=f"batch {batch_id} is completed and cannot be paused"):
        manager.pause_batch(batch_id)
    with pytest.raises(BatchFinished, match=f"batch {batch_id} is completed and cannot be cancelled"):
        manager.cancel_batch(batch_id)


@pytest.mark.promise(5)
def test_items_that_wait_for_others_do_not_hold_up_the_search_for_a_killer(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ChainProcessor(BaseProcessor):
        item_timeout = timedelta(seconds=30)
        retry_pause = timedelta(milliseconds=1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            number = item.item_number
            if number == 1:
                if item.attempt > 1:
                    os._exit(1)
                raise TransientError("busy")
            if number == 2:  # refers to what the last item brings
                ctx.execute("INSERT INTO notes (id, text, later) VALUES (2, 'early', 77)")
            if number == 200:
                ctx.execute("INSERT INTO places (id) VALUES (77)")

    manager.registry.register(ChainProcessor)
    batch_id = manager.create_batch("chain", [{}] * 200)  # in ranges of 50

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (199, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (1, "KilledWorker")
