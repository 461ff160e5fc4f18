"""An end for every failure: given up by a person, settled by what was delivered later; and repeats that wait."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel

from reliable_imports import (
    AmbiguousReason,
    BatchManager,
    BatchStatus,
    ConfigurationError,
    ProcessorRegistry,
    ReprocessRequest,
    TableProcessor,
    UnknownReason,
    WhichItems,
)
from reliable_imports.postgres.queries import load
from tests.core.conftest import Sql
from tests.core.doubles import NotesProcessor

pytestmark = pytest.mark.promise(8)


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`notes` says what names an item."""
    monkeypatch.setattr(NotesProcessor, "natural_key", ("id",))


def delivered(manager: BatchManager, *items: dict[str, Any]) -> int:
    """A batch of the items that was processed."""
    batch_id = manager.create_batch("notes", items)
    manager.process_batch(batch_id)
    return batch_id


def good(number: int) -> dict[str, Any]:
    return {"id": number, "text": "ok"}


def bad(number: int) -> dict[str, Any]:
    return {"id": number, "text": "bad"}


def rejected(number: int) -> dict[str, Any]:
    return {"id": number, "text": "ok", "valid": False}


def reasons_of(manager: BatchManager, batch_id: int) -> dict[str, str]:
    """The reasons of a batch, by the type of their errors."""
    return {each.error_type: each.reason for each in manager.failure_reasons(batch_id)}


def assert_balanced(manager: BatchManager) -> None:
    assert [each for each in manager.verify() if each.problems] == []


class StrictNote(BaseModel):
    id: int
    text: str
    place: int


class StrictNotes(TableProcessor):
    batch_type = "strict_notes"
    table = "strict_notes"
    key = ("id",)
    model = StrictNote


class LenientNote(StrictNote):
    text: Any


class LenientNotes(StrictNotes):
    batch_type = "strict_notes"
    model = LenientNote


class TestSkipping:
    def test_what_is_given_up_is_outstanding_no_more(self, manager: BatchManager, sql: Sql) -> None:
        batch_id = delivered(manager, bad(1), bad(2), rejected(3), good(4))
        before = manager.list_items(batch_id)
        request = ReprocessRequest(
            reasons=[reasons_of(manager, batch_id)["CheckViolation"]], skip="nobody knows them", requested_by="ann"
        )
        summary = manager.reprocess_batch(batch_id, request)

        assert (summary.status, summary.skipped_items, summary.total_items) == (BatchStatus.COMPLETED, 2, 2)
        assert manager.count_outstanding(batch_id) == 1
        assert manager.list_items(batch_id) == before
        assert {item.skip_reason for item in manager.list_items(summary.batch_id)} == {
            "skipped by ann: nobody knows them"
        }
        assert sql("SELECT count(*) FROM notes") == [(1,)]
        told = {line.message: line.details for line in manager.list_logs(batch_id)}
        assert told["failures skipped"]["requested_by"] == "ann"
        assert told["failures skipped"]["skip"] == "nobody knows them"
        assert_balanced(manager)

    def test_twice_skips_nothing_twice(self, manager: BatchManager) -> None:
        batch_id = delivered(manager, bad(1))
        first = manager.create_reprocess_batch(batch_id, ReprocessRequest(skip="gone"))
        assert first is not None
        assert manager.create_reprocess_batch(batch_id, ReprocessRequest(skip="gone")) is None
        assert manager.process_batch(first).skipped_items == 1

    def test_what_a_cancelled_batch_left_undone_can_be_given_up(self, manager: BatchManager) -> None:
        batch_id = manager.create_batch("notes", [good(1), good(2)])
        manager.cancel_batch(batch_id)
        manager.reprocess_batch(batch_id, ReprocessRequest(skip="not wanted"))
        assert manager.count_outstanding(batch_id) == 0
        assert_balanced(manager)

    def test_what_others_have_begun_is_not_skipped(self, manager: BatchManager) -> None:
        batch_id = delivered(manager, bad(1))
        begun = manager.create_reprocess_batch(batch_id)
        assert manager.create_reprocess_batch(batch_id, ReprocessRequest(skip="gone")) is None
        assert begun is not None
        assert manager.get_summary(begun).status is BatchStatus.PENDING

    @pytest.mark.parametrize(
        "wish", [{"skip": " "}, {"skip": "why", "hold": True}, {"skip": "why", "which": WhichItems.ALL}]
    )
    def test_nonsense_is_refused(self, wish: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            ReprocessRequest(**wish)


@pytest.mark.usefixtures("keyed")
class TestSettling:
    def test_a_corrected_delivery_settles_the_old_failure(self, manager: BatchManager) -> None:
        failed = delivered(manager, bad(1), bad(2), good(3))
        corrected = delivered(manager, good(2), good(9))

        assert manager.count_outstanding(failed) == 1
        [settled] = manager.list_batches(status=BatchStatus.COMPLETED, batch_type="notes", limit=1)
        assert (settled.reprocess_of, settled.skipped_items) == (failed, 1)
        [item] = manager.list_items(settled.batch_id)
        assert item.skip_reason == f"settled by item 1 of batch {corrected}"
        assert manager.list_logs(failed)[-1].message == "failures settled"
        assert_balanced(manager)

    def test_a_number_and_its_text_are_one_key(self, manager: BatchManager) -> None:
        failed = delivered(manager, bad(1))
        delivered(manager, {"id": "1", "text": "ok"})
        assert manager.count_outstanding(failed) == 0

    def test_nothing_is_settled_by_what_failed_itself_or_came_earlier(self, manager: BatchManager) -> None:
        delivered(manager, good(1))
        failed = delivered(manager, bad(1))
        delivered(manager, rejected(1))
        assert manager.count_outstanding(failed) == 1

    def test_an_earlier_delivery_that_ends_later_settles_nothing(self, manager: BatchManager) -> None:
        earlier = manager.create_batch("notes", [good(1)])
        failed = delivered(manager, bad(1))
        manager.process_batch(earlier)
        assert manager.count_outstanding(failed) == 1

    def test_an_item_without_its_key_settles_nothing(self, manager: BatchManager) -> None:
        failed = delivered(manager, {"text": "bad"}, {"id": None, "text": "bad"})
        delivered(manager, {"id": 5, "text": "ok"})
        assert manager.count_outstanding(failed) == 2

    def test_a_delivery_that_ended_before_the_older_one_settles_too(self, manager: BatchManager) -> None:
        older = manager.create_batch("notes", [bad(1)])
        delivered(manager, good(1))
        manager.process_batch(older)
        assert manager.count_outstanding(older) == 0

    def test_what_ended_when_its_process_died_settles_before_a_repeat_is_tried(
        self, manager: BatchManager, sql: Sql
    ) -> None:
        failed = delivered(manager, bad(1))
        manager.pause_batch(corrected := manager.create_batch("notes", [good(1)]))
        manager._settle = lambda *given: None  # type: ignore[method-assign]  # as if killed after the batch was closed
        manager.process_batch(corrected)
        del manager._settle  # type: ignore[method-assign]
        assert manager.count_outstanding(failed) == 1
        assert manager.create_reprocess_batch(failed) is None
        assert manager.count_outstanding(failed) == 0

    def test_a_failure_that_is_being_repeated_is_left_to_its_repeat(self, manager: BatchManager) -> None:
        failed = delivered(manager, bad(1))
        begun = manager.create_reprocess_batch(failed)
        assert begun is not None
        delivered(manager, good(1))
        assert manager.process_batch(begun).failed_items == 1
        assert manager.count_outstanding(failed) == 0
        assert_balanced(manager)

    def test_a_repeat_of_a_later_delivery_settles_an_earlier_one(self, manager: BatchManager, sql: Sql) -> None:
        earlier = delivered(manager, bad(1))
        later = delivered(manager, {"id": 1, "text": "ok", "place": 9})
        sql("INSERT INTO places VALUES (9)")
        manager.reprocess_batch(later)
        assert (manager.count_outstanding(earlier), manager.count_outstanding(later)) == (0, 0)

    def test_what_was_repaired_long_ago_is_not_looked_through_again(self, manager: BatchManager, sql: Sql) -> None:
        repaired, failed = delivered(manager, bad(1)), delivered(manager, bad(2))
        manager.reprocess_batch(repaired, ReprocessRequest(skip="gone"))
        delivered(manager, good(9))
        known = "SELECT id FROM reliable_imports.import_batches WHERE is_all_repeated"
        assert sql(known) == [(repaired,)]
        delivered(manager, good(2))
        delivered(manager, good(9))
        assert sql(known + " ORDER BY id") == [(repaired,), (failed,)]
        assert manager.count_outstanding(failed) == 0

    def test_without_failures_no_item_is_looked_at(self, manager: BatchManager, sql: Sql) -> None:
        delivered(manager, good(1))
        delivered(manager, good(1))
        assert len(manager.list_batches()) == 2
        assert sql("SELECT count(*) FROM reliable_imports.import_batches WHERE is_to_settle") == [(0,)]

    def test_a_batch_is_not_compared_with_itself(self, manager: BatchManager) -> None:
        failed = delivered(manager, good(1), bad(2))
        asked = {"batch_type": "notes", "batch_id": failed, "first_batch_id": failed}
        with manager._connection() as connection, connection.cursor() as cursor:
            cursor.execute(load("settling.sql")["older_failures"], asked)
            assert cursor.fetchall() == []

    def test_what_may_settle_a_failure_is_looked_for_by_a_hash(self, manager: BatchManager, sql: Sql) -> None:
        failed, corrected = delivered(manager, bad(1)), delivered(manager, *map(good, range(1_500)))
        sql("ANALYZE reliable_imports.import_items, reliable_imports.import_attempts")
        query = load("settling.sql")["settled"].replace("{key}", "item.source_data ->> 'id'")
        with manager._connection() as connection, connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {query}", {"failed_in": [failed], "completed_in": [corrected]})
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "hashed SubPlan" in plan
        assert "Index Scan using import_attempts_pkey on import_attempts ended" in plan


class TestHolding:
    def test_a_held_repeat_waits_for_a_person(self, manager: BatchManager, sql: Sql) -> None:
        batch_id = delivered(manager, bad(1))
        held = manager.create_reprocess_batch(batch_id, ReprocessRequest(hold=True))
        assert held is not None
        sql("UPDATE reliable_imports.import_batches SET created_at = created_at - interval '1 hour'")

        assert manager.get_batch(held).is_held
        assert manager.held_batches(batch_id) == [held]
        assert manager.orchestration.lineages_due() == []
        assert manager.orchestration.waiting_batches() == []
        # Who asks for the same does not begin it, and who plans the same finds it.
        assert manager.create_reprocess_batch(batch_id) is None
        assert manager.create_reprocess_batch(batch_id, ReprocessRequest(hold=True)) == held

        assert manager.process_batch(held).failed_items == 1
        assert not manager.get_batch(held).is_held

    def test_a_held_repeat_that_is_cancelled_gives_its_items_back(self, manager: BatchManager) -> None:
        batch_id = delivered(manager, bad(1))
        held = manager.create_reprocess_batch(batch_id, ReprocessRequest(hold=True))
        assert held is not None
        manager.cancel_batch(held)
        assert manager.count_outstanding(batch_id) == 1


class TestNarrowing:
    def test_only_what_failed_under_other_code(self, manager: BatchManager, sql: Sql) -> None:
        batch_id = delivered(manager, bad(1))
        assert manager.create_reprocess_batch(batch_id, ReprocessRequest(changed=True)) is None
        sql("UPDATE reliable_imports.import_runs SET code_version = 'older'")
        assert manager.create_reprocess_batch(batch_id, ReprocessRequest(changed=True)) is not None

    def test_the_beginning_of_a_reason_is_enough(self, manager: BatchManager) -> None:
        batch_id = delivered(manager, bad(1), rejected(2))
        reasons = reasons_of(manager, batch_id)
        check = reasons["CheckViolation"]
        beginnings = (check[:length] for length in range(1, len(check)))
        beginning = next(each for each in beginnings if sum(map(str.startswith, reasons.values(), [each] * 2)) == 1)
        summary = manager.reprocess_batch(batch_id, ReprocessRequest(reasons=[beginning]))
        assert (summary.total_items, summary.failed_items) == (1, 1)

    def test_a_beginning_of_two_reasons_is_ambiguous(self, manager: BatchManager, sql: Sql) -> None:
        batch_id = delivered(manager, bad(1), rejected(2))
        with pytest.raises(UnknownReason):
            manager.create_reprocess_batch(batch_id, ReprocessRequest(reasons=[""]))
        sql("ALTER TABLE reliable_imports.import_attempts DISABLE TRIGGER USER")
        sql(
            "UPDATE reliable_imports.import_attempts SET reason = 'abc' || item_number, "
            "reasons = ARRAY['abc' || item_number] WHERE outcome = 'failed'"
        )
        with pytest.raises(AmbiguousReason, match="abc1, abc2"):
            manager.create_reprocess_batch(batch_id, ReprocessRequest(reasons=["abc"]))

    def test_only_the_first_ones(self, manager: BatchManager) -> None:
        batch_id = delivered(manager, *[bad(number) for number in range(1, 8)])
        summary = manager.reprocess_batch(batch_id, ReprocessRequest(limit=3))
        assert summary.total_items == 3
        assert [item.source_data for item in manager.list_items(summary.batch_id)] == [
            item.source_data for item in manager.list_items(batch_id, limit=3)
        ]
        assert manager.count_outstanding(batch_id) == 7

    def test_only_what_failed_since(self, manager: BatchManager) -> None:
        batch_id = delivered(manager, bad(1))
        soon = datetime.now(timezone.utc) + timedelta(days=1)
        assert manager.create_reprocess_batch(batch_id, ReprocessRequest(since=soon)) is None
        assert manager.create_reprocess_batch(batch_id, ReprocessRequest(since=soon - timedelta(days=2))) is not None

    @pytest.mark.parametrize("wish", [{"limit": 0}, {"since": datetime(2026, 1, 31)}])
    def test_nonsense_is_refused(self, wish: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            ReprocessRequest(**wish)


@pytest.fixture
def failures(manager: BatchManager) -> int:
    """A batch of 40 items that the database refuses, 12 that the processor rejects, and a good one."""
    items = [*[bad(number) for number in range(1, 41)], *[rejected(number) for number in range(41, 53)], good(53)]
    return delivered(manager, *items)


def repair(sql: Sql) -> None:
    """What the database refused it would take now."""
    sql("ALTER TABLE notes DROP CONSTRAINT notes_text_not_bad")


class TestCanary:
    def test_a_repair_that_does_not_help_tries_a_few(self, manager: BatchManager, sql: Sql, failures: int) -> None:
        summary = manager.reprocess_batch(failures, ReprocessRequest(canary=3))

        assert (summary.status, summary.total_items, summary.failed_items) == (BatchStatus.FAILED, 6, 6)
        assert sql("SELECT count(*) FROM reliable_imports.import_attempts WHERE batch_id > %s", failures) == [(6,)]
        reasons = reasons_of(manager, failures)
        assert sorted(summary.warnings) == sorted(
            [
                f"{reasons['CheckViolation']} is not repaired: 3 of 3 the same, 37 left alone",
                f"{reasons['ItemRejected']} is not repaired: 3 of 3 the same, 9 left alone",
            ]
        )
        assert manager.count_outstanding(failures) == 52
        assert set(summary.warnings) <= {line.message for line in manager.list_logs(summary.batch_id)}
        assert_balanced(manager)

    def test_the_rest_of_what_is_repaired_is_taken(self, manager: BatchManager, sql: Sql, failures: int) -> None:
        repair(sql)
        summary = manager.reprocess_batch(failures, ReprocessRequest(canary=3))

        assert (summary.total_items, summary.completed_items, summary.failed_items) == (43, 40, 3)
        assert [warning[-12:] for warning in summary.warnings] == ["9 left alone"]
        assert manager.count_outstanding(failures) == 12
        assert sql("SELECT count(*) FROM notes") == [(41,)]
        assert_balanced(manager)

    def test_what_fails_otherwise_is_repaired(self, manager: BatchManager, sql: Sql, failures: int) -> None:
        sql("ALTER TABLE notes RENAME CONSTRAINT notes_text_not_bad TO another_rule")
        summary = manager.reprocess_batch(failures, ReprocessRequest(canary=3))
        assert (summary.total_items, summary.failed_items) == (43, 43)

    def test_an_item_counts_for_each_of_its_reasons(self, database: str, sql: Sql) -> None:
        manager = BatchManager(database)
        manager.registry.register(StrictNotes)
        sql("CREATE TABLE strict_notes (id integer PRIMARY KEY, text text, place integer)")
        items = [{"id": number, "text": 1, "place": "x"} for number in range(20)]
        items += [{"id": number, "text": "ok", "place": "x"} for number in range(20, 40)]
        batch_id = manager.process_batch(manager.create_batch("strict_notes", items)).batch_id
        manager.registry = ProcessorRegistry()
        manager.registry.register(LenientNotes)  # takes any text, and no place yet
        summary = manager.reprocess_batch(batch_id, ReprocessRequest(canary=3))
        reason = next(each.reason for each in manager.failures(batch_id) if each.field == "place")
        assert summary.warnings == [f"{reason} is not repaired: 3 of 3 the same, 37 left alone"]
        assert_balanced(manager)

    def test_a_few_are_all_that_there_is(self, manager: BatchManager, failures: int) -> None:
        batch_id = manager.create_reprocess_batch(failures, ReprocessRequest(canary=40))
        assert batch_id is not None
        assert not manager.get_batch(batch_id).is_canary
        assert manager.process_batch(batch_id).total_items == 52

    def test_a_limit_holds_for_both(self, manager: BatchManager, sql: Sql, failures: int) -> None:
        repair(sql)
        since = datetime.now(timezone.utc) - timedelta(days=1)
        summary = manager.reprocess_batch(failures, ReprocessRequest(canary=3, limit=10, since=since))
        assert (summary.total_items, summary.completed_items) == (10, 7)

    def test_a_worker_that_dies_after_the_first_few_is_replaced(
        self, manager: BatchManager, sql: Sql, failures: int
    ) -> None:
        repair(sql)
        request = ReprocessRequest(canary=3)
        batch_id = manager.create_reprocess_batch(failures, request)
        assert batch_id is not None
        with manager._connection() as connection:
            manager._run(connection, manager.get_batch(batch_id), None, None)  # and what follows is never reached
        assert manager.get_summary(batch_id).status is BatchStatus.PROCESSING
        assert manager.create_reprocess_batch(failures, request) == batch_id

        summary = manager.reprocess_batch(failures, request)
        assert (summary.batch_id, summary.completed_items, summary.failed_items) == (batch_id, 40, 3)
        assert_balanced(manager)

    def test_several_workers_take_the_rest_once(self, manager: BatchManager, sql: Sql, failures: int) -> None:
        repair(sql)
        batch_id = manager.create_reprocess_batch(failures, ReprocessRequest(canary=3))
        assert batch_id is not None
        workers = [threading.Thread(target=manager.process_batch, args=[batch_id]) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        summary = manager.process_batch(batch_id)
        assert (summary.total_items, summary.completed_items, summary.failed_items) == (43, 40, 3)
        assert_balanced(manager)

    def test_ranges_of_many_items_follow_those_of_a_few(self, manager: BatchManager, sql: Sql) -> None:
        batch_id = delivered(manager, *[bad(number) for number in range(1, 401)])
        repair(sql)
        summary = manager.reprocess_batch(batch_id, ReprocessRequest(canary=60))
        assert (summary.total_items, summary.completed_items) == (400, 400)
        assert_balanced(manager)

    def test_a_key_that_stands_twice_is_found_in_the_rest(
        self, manager: BatchManager, sql: Sql, keyed: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(NotesProcessor, "duplicates", "first_wins")
        batch_id = delivered(manager, *[bad(number) for number in range(1, 5)])
        delivered(manager, *[bad(number) for number in range(1, 5)])
        repair(sql)
        assert manager.reprocess_batch(batch_id, ReprocessRequest(canary=2)).completed_items == 4
        assert_balanced(manager)

    @pytest.mark.parametrize(
        "wish", [{"canary": 0}, {"canary": 5, "skip": "why"}, {"canary": 5, "which": WhichItems.ALL}]
    )
    def test_nonsense_is_refused(self, wish: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            ReprocessRequest(**wish)
