"""What people read in SQL."""

from __future__ import annotations

import pytest

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext
from tests.core.conftest import Sql


@pytest.fixture
def worked(manager: BatchManager) -> int:
    """A batch with an item of every kind of end, processed."""
    items = [
        {"id": 1, "text": "ok"},
        {"id": 2, "text": "bad"},
        {"id": 3, "text": "ok", "do": "skip"},
        {"id": 4, "text": "ok", "place": 9},
        {"id": 5, "text": "ok", "place": 9},
    ]
    batch_id = manager.create_batch("notes", items, source="five.json")
    manager.process_batch(batch_id)
    return batch_id


@pytest.mark.promise(6)
def test_reconciliation_adds_up(manager: BatchManager, sql: Sql, worked: int) -> None:
    manager.create_batch("notes", [{"id": 9, "text": "ok"}])
    counted = sql(
        "SELECT batch_id, received, pending, processing, completed, failed, skipped, balanced "
        "FROM reliable_imports.reconciliation ORDER BY 1"
    )
    assert counted == [(worked, 5, 0, 0, 1, 3, 1, True), (worked + 1, 1, 1, 0, 0, 0, 0, True)]


@pytest.mark.promise(6)
def test_reconciliation_shows_a_count_that_is_wrong(manager: BatchManager, sql: Sql, worked: int) -> None:
    sql("UPDATE reliable_imports.import_batches SET completed_items = 2, failed_items = 2")
    assert sql("SELECT balanced FROM reliable_imports.reconciliation") == [(False,)]
    sql("UPDATE reliable_imports.import_batches SET completed_items = 1, failed_items = 3")


def test_an_item_shows_its_source_and_its_latest_attempt(sql: Sql, worked: int) -> None:
    ((status, data, table, key, stage, sqlstate, constraint, reason),) = sql(
        "SELECT status, source_data ->> 'text', target_table, target_id, stage, sqlstate, constraint_name, reason "
        "FROM reliable_imports.import_batch_items WHERE item_number = 2"
    )
    assert (status, data, table, key) == ("failed", "bad", None, None)
    assert (stage, sqlstate, constraint, len(reason)) == ("write", "23514", "notes_text_not_bad", 8)
    done = sql("SELECT target_table, target_id FROM reliable_imports.import_batch_items WHERE item_number = 1")
    assert done == [("notes", "1")]


def test_failures_are_counted_by_reason(manager: BatchManager, worked: int) -> None:
    reasons = manager.failure_reasons(worked)
    assert [(each.items, each.title, each.sample_item_number) for each in reasons] == [
        (2, 'ForeignKeyViolation notes_place_fkey: (place) is not present in table "places"', 4),
        (
            1,
            "CheckViolation notes_text_not_bad: "
            'new row for relation "notes" violates check constraint "notes_text_not_bad"',
            2,
        ),
    ]


def test_a_title_holds_nothing_that_differs_within_its_reason(manager: BatchManager) -> None:
    class WordsProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            raise KeyError({1: "one", 2: "two"}[item.source_data["id"]])

    manager.registry.register(WordsProcessor)
    reasons = []
    for number in (1, 2):
        batch_id = manager.create_batch("words", [{"id": number}])
        manager.process_batch(batch_id)
        reasons += manager.failure_reasons(batch_id)
        assert [each.title for each in manager.outstanding_reasons(batch_id)] == [reasons[-1].title]
    assert reasons[0].title == reasons[1].title
    assert reasons[0].title.startswith("KeyError in process_item: ")
    assert reasons[0].reason == reasons[1].reason


def test_the_audit_log_does_not_repeat_what_an_attempt_says(manager: BatchManager, sql: Sql, worked: int) -> None:
    assert manager.failure_reasons(worked)
    assert sql("SELECT message FROM reliable_imports.import_logs WHERE item_number IS NOT NULL") == []


def test_the_words_of_the_server_are_no_values_of_the_item(manager: BatchManager) -> None:
    item = {"id": 6, "text": "bad", "kind": "relation", "a": "row", "b": "new", "c": "check", "d": "notes", "e": "f"}
    batch_id = manager.create_batch("notes", [item])
    manager.process_batch(batch_id)
    [record] = manager.list_items(batch_id)
    assert record.error_message == 'new row for relation "notes" violates check constraint "notes_text_not_bad"'


def test_a_validation_that_returns_none_is_told_with_its_class(manager: BatchManager) -> None:
    class AnswersProcessor(BaseProcessor):
        def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
            return {"yes": True, "no": False}.get(item.source_data)  # type: ignore[return-value]

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            return None

    manager.registry.register(AnswersProcessor)
    batch_id = manager.create_batch("answers", ["perhaps", "no", "yes"])
    manager.process_batch(batch_id)
    messages = [each.error_message for each in manager.list_items(batch_id)]
    assert messages[0] is not None
    assert "AnswersProcessor.validate_item returned None, which rejects the item" in messages[0]
    assert messages[1] is not None
    assert messages[1].endswith("is not so")
    assert messages[2] is None
    [reason] = manager.failure_reasons(batch_id)
    assert (reason.items, reason.title) == (2, f"ItemRejected: {messages[0]}")


@pytest.mark.promise(8)
def test_outstanding_failures_are_those_of_the_whole_line(manager: BatchManager, sql: Sql, worked: int) -> None:
    sql("INSERT INTO places VALUES (9)")
    again = manager.reprocess_batch(worked)

    outstanding = "SELECT first_batch_id, batch_id, item_number FROM reliable_imports.outstanding_failures"
    assert sql(outstanding) == [(worked, again.batch_id, 1)]
    assert manager.count_outstanding(worked) == manager.count_outstanding(again.batch_id) == 1


def test_runs_and_hours_are_summed(manager: BatchManager, sql: Sql, worked: int) -> None:
    runs = sql("SELECT batch_id, runner, mode, state, completed, failed, skipped FROM reliable_imports.run_history")
    assert runs == [(worked, "python", "import", "finished", 1, 3, 1)]
    assert sql("SELECT sum(completed), sum(failed), sum(skipped) FROM reliable_imports.hourly_throughput") == [
        (1, 3, 1)
    ]


def test_a_batch_that_nobody_works_any_more_is_stalled(manager: BatchManager, sql: Sql) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "ok"}])
    sql("UPDATE reliable_imports.import_batches SET status = 'processing', started_at = now()")
    sql(
        "INSERT INTO reliable_imports.import_runs (batch_id, runner, mode, host, process_id, heartbeat_at) "
        "VALUES (%s, 'python', 'import', 'h', 1, now() - interval '1 hour')",
        batch_id,
    )
    assert sql("SELECT batch_id, open_items FROM reliable_imports.stalled_batches") == [(batch_id, 1)]
    assert [run.state for run in manager.list_runs(batch_id=batch_id)] == ["lost"]

    manager.process_batch(batch_id)
    assert sql("SELECT batch_id FROM reliable_imports.stalled_batches") == []


def test_items_can_be_paged(manager: BatchManager, worked: int) -> None:
    first = manager.list_items(worked, limit=2)
    second = manager.list_items(worked, after=first[-1].item_number, limit=2)
    assert [item.item_number for item in first + second] == [1, 2, 3, 4]
    assert [item.item_number for item in manager.list_items(worked, status="failed")] == [2, 4, 5]
    assert [batch.batch_id for batch in manager.list_batches(batch_type="notes", status="completed_with_failures")] == [
        worked
    ]
