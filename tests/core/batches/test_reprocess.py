"""Promise 8: reprocessing is safe to repeat."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from reliable_imports import (
    BaseProcessor,
    BatchManager,
    BatchStatus,
    BatchSummary,
    ConfigurationError,
    IdempotencyKeyTaken,
    ImportBatchItem,
    ImportContext,
    ReprocessRequest,
    TransientError,
    UnknownBatch,
    UnknownReason,
    WhichItems,
)
from tests.core.conftest import Sql
from tests.core.crashing_worker import worked_behind, worker_that_stops_at
from tests.core.doubles import ACTIONS, FlakyProcessor, NotesProcessor

pytestmark = pytest.mark.promise(8)


@pytest.fixture
def failed_batch(manager: BatchManager) -> int:
    """100 items, of which 10 fail for a place that is missing and 5 for an exception."""
    items = [{"id": number, "text": "ok"} for number in range(1, 101)]
    for item in items[:10]:
        item["place"] = 9
    for item in items[50:55]:
        item["do"] = "raise"
    batch_id = manager.create_batch("notes", items)
    assert manager.process_batch(batch_id).failed_items == 15
    return batch_id


def add_the_place(sql: Sql) -> None:
    sql("INSERT INTO places VALUES (9)")


def test_exactly_the_failed_items_are_run_again(manager: BatchManager, sql: Sql, failed_batch: int) -> None:
    add_the_place(sql)
    summary = manager.reprocess_batch(failed_batch, failed_items_only=True)

    assert summary.batch_id != failed_batch
    assert (summary.reprocess_of, summary.first_batch_id) == (failed_batch, failed_batch)
    assert (summary.total_items, summary.completed_items, summary.failed_items) == (15, 10, 5)
    assert summary.status is BatchStatus.COMPLETED_WITH_FAILURES
    links = sql(
        "SELECT repeats_batch_id, repeats_item_number FROM reliable_imports.import_items "
        "WHERE batch_id = %s ORDER BY item_number",
        summary.batch_id,
    )
    assert links == [(failed_batch, number) for number in [*range(1, 11), *range(51, 56)]]


def test_a_repeat_holds_no_byte_of_the_data_and_shows_all_of_it(
    manager: BatchManager, sql: Sql, failed_batch: int
) -> None:
    repeats = [manager.reprocess_batch(failed_batch, failed_items_only=only).batch_id for only in (True, True, False)]
    assert [manager.get_summary(batch_id).total_items for batch_id in repeats] == [15, 15, 100]

    rows = sql("SELECT to_jsonb(item) FROM reliable_imports.import_items AS item WHERE batch_id = ANY (%s)", repeats)
    assert len(rows) == 130
    assert {type(value) for (row,) in rows for value in row.values()} == {int, type(None)}, "numbers, and nothing else"
    assert sql(
        "SELECT DISTINCT data_batch_id, data_item_number = origin_item_number FROM reliable_imports.import_items "
        "WHERE batch_id = ANY (%s)",
        repeats,
    ) == [(failed_batch, True)], "one step to the data, however often an item was repeated"
    shown = {item.item_number: item.source_data for item in manager.list_items(failed_batch)}
    assert {item.item_number: item.source_data for item in manager.list_items(repeats[-1])} == shown
    assert [each.sample_source_data for each in manager.failure_reasons(repeats[0])] == [shown[1], shown[51]]
    assert sql("SELECT count(*) FROM reliable_imports.failed_items WHERE source_data IS NULL") == [(0,)]


def test_the_original_batch_is_not_changed(manager: BatchManager, sql: Sql, failed_batch: int) -> None:
    before = manager.get_summary(failed_batch)
    items = manager.list_items(failed_batch)
    add_the_place(sql)
    manager.reprocess_batch(failed_batch)

    assert manager.get_summary(failed_batch) == before
    assert manager.list_items(failed_batch) == items


def test_twice_in_a_row_takes_nothing_twice(manager: BatchManager, sql: Sql, failed_batch: int) -> None:
    add_the_place(sql)
    NotesProcessor.fixed = True
    first = manager.reprocess_batch(failed_batch)
    second = manager.reprocess_batch(failed_batch)

    assert first.status is BatchStatus.COMPLETED
    assert second == first
    assert len(manager.list_batches()) == 2
    assert manager.count_outstanding(failed_batch) == 0


def test_a_batch_without_failures_is_left_alone(manager: BatchManager) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "ok"}])
    processed = manager.process_batch(batch_id)

    assert manager.create_reprocess_batch(batch_id) is None
    assert manager.reprocess_batch(batch_id) == processed


def test_fix_fails_again_fix_again(manager: BatchManager, sql: Sql, failed_batch: int) -> None:
    in_vain = manager.reprocess_batch(failed_batch)
    assert (in_vain.total_items, in_vain.failed_items, in_vain.status) == (15, 15, BatchStatus.FAILED)
    assert manager.count_outstanding(failed_batch) == 15

    add_the_place(sql)
    half = manager.reprocess_batch(failed_batch)
    assert (half.total_items, half.completed_items, half.failed_items) == (15, 10, 5)

    # Whichever batch of the lineage is named, it is the lineage that is reprocessed.
    NotesProcessor.fixed = True
    rest = manager.reprocess_batch(in_vain.batch_id)
    assert (rest.total_items, rest.completed_items) == (5, 5)
    assert manager.count_outstanding(failed_batch) == 0
    assert sql("SELECT count(*) FROM notes") == [(100,)]
    attempts = sql(
        "SELECT DISTINCT attempts FROM reliable_imports.import_batch_items WHERE batch_id = %s", rest.batch_id
    )
    assert attempts == [(4,)]


@pytest.mark.parametrize("is_fixed", [True, False])
def test_four_at_once_take_each_failure_once(
    manager: BatchManager, sql: Sql, failed_batch: int, is_fixed: bool
) -> None:
    if is_fixed:
        add_the_place(sql)
        NotesProcessor.fixed = True
    start = threading.Barrier(4)
    ids: list[int | None] = []

    def request() -> None:
        start.wait(120)
        ids.append(manager.create_reprocess_batch(failed_batch))

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert len(manager.list_batches()) == 2
    assert manager.get_summary(ids[0] or 0).total_items == 15


def test_four_that_also_process_share_the_batch(manager: BatchManager, sql: Sql, failed_batch: int) -> None:
    add_the_place(sql)
    NotesProcessor.fixed = True
    start = threading.Barrier(4)
    summaries: list[BatchSummary] = []

    def request() -> None:
        start.wait(120)
        summaries.append(manager.reprocess_batch(failed_batch))

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert {summary.batch_id for summary in summaries} == {summaries[0].batch_id}
    assert manager.get_summary(summaries[0].batch_id).completed_items == 15
    assert sql("SELECT count(*) FROM writes") == [(100,)]


def test_a_crash_between_creation_and_processing_is_resumed(manager: BatchManager, sql: Sql, failed_batch: int) -> None:
    add_the_place(sql)
    created = manager.create_reprocess_batch(failed_batch)
    # Here the first process died. The next request finds its batch and works it.
    summary = manager.reprocess_batch(failed_batch)

    assert summary.batch_id == created
    assert (summary.completed_items, summary.failed_items) == (10, 5)


def test_by_reason_takes_only_that_reason(manager: BatchManager, sql: Sql, failed_batch: int) -> None:
    reasons = {reason.error_type: reason for reason in manager.failure_reasons(failed_batch)}
    assert {name: reason.items for name, reason in reasons.items()} == {"ForeignKeyViolation": 10, "ValueError": 5}

    add_the_place(sql)
    summary = manager.reprocess_batch(failed_batch, ReprocessRequest(reasons=[reasons["ForeignKeyViolation"].reason]))
    assert (summary.total_items, summary.completed_items) == (10, 10)
    assert manager.count_outstanding(failed_batch) == 5
    assert (
        manager.create_reprocess_batch(failed_batch, ReprocessRequest(reasons=[reasons["ForeignKeyViolation"].reason]))
        is None
    )


def test_several_reasons_are_all_taken(manager: BatchManager, failed_batch: int) -> None:
    place, raised = [each.reason for each in manager.failure_reasons(failed_batch)]
    assert manager.reprocess_batch(failed_batch, ReprocessRequest(reasons=[raised])).total_items == 5
    both = manager.reprocess_batch(failed_batch, ReprocessRequest(reasons=(raised, place)))
    assert both.total_items == 15
    assert manager.repeated_items(both.batch_id) == {failed_batch: 10, failed_batch + 1: 5}
    with pytest.raises(UnknownReason, match="'nonsense'"):
        manager.reprocess_batch(failed_batch, ReprocessRequest(reasons=[place, "nonsense"]))


def test_an_open_batch_for_another_reason_is_not_taken_for_an_answer(manager: BatchManager, failed_batch: int) -> None:
    place, broken = [reason.reason for reason in manager.failure_reasons(failed_batch)]
    opened = manager.create_reprocess_batch(failed_batch, ReprocessRequest(reasons=[place]))

    assert manager.create_reprocess_batch(failed_batch, ReprocessRequest(reasons=[place])) == opened
    other = manager.create_reprocess_batch(failed_batch, ReprocessRequest(reasons=[broken]))
    assert other not in (None, opened)
    manager.process_batch(opened or 0)
    manager.process_batch(other or 0)


def test_an_open_batch_of_other_items_is_not_taken_for_an_answer(manager: BatchManager, failed_batch: int) -> None:
    opened = manager.create_reprocess_batch(failed_batch, ReprocessRequest(to_item=5))
    assert manager.create_reprocess_batch(failed_batch, ReprocessRequest(from_item=5, to_item=5)) == opened
    assert manager.create_reprocess_batch(failed_batch, ReprocessRequest(from_item=20, to_item=30)) is None
    assert manager.create_reprocess_batch(failed_batch, ReprocessRequest(which=WhichItems.RETRYABLE)) is None
    manager.process_batch(opened or 0)


def test_a_batch_that_a_person_has_paused_is_not_resumed_by_a_request_without_one(
    manager: BatchManager, sql: Sql
) -> None:
    flaky = manager.create_batch("flaky", [{"id": 1}])
    manager.process_batch(flaky)
    opened = manager.create_reprocess_batch(flaky)
    assert manager.create_reprocess_batch(flaky, ReprocessRequest(which=WhichItems.RETRYABLE)) == opened
    manager.pause_batch(opened or 0)

    assert manager.create_reprocess_batch(flaky, ReprocessRequest(which=WhichItems.RETRYABLE)) is None
    assert manager.create_reprocess_batch(flaky, ReprocessRequest(which=WhichItems.DUE)) is None
    assert manager.create_reprocess_batch(flaky) == opened


def test_all_items_on_request_are_a_new_wish_each_time(manager: BatchManager, sql: Sql, failed_batch: int) -> None:
    add_the_place(sql)
    NotesProcessor.fixed = True
    first = manager.reprocess_batch(failed_batch, failed_items_only=False)
    second = manager.reprocess_batch(failed_batch, failed_items_only=False)

    assert first.total_items == second.total_items == 100
    assert first.batch_id != second.batch_id
    assert manager.count_outstanding(failed_batch) == 0


@pytest.mark.parametrize(
    "chosen", [{"reasons": ["12345678"]}, {"reasons": []}, {"max_attempts": 3}, {"exclude_reasons": ["12345678"]}]
)
def test_all_items_and_some_failures_exclude_each_other(chosen: dict[str, Any]) -> None:
    (name,) = chosen
    with pytest.raises(ConfigurationError, match=f"cannot be narrowed by {name}"):
        ReprocessRequest(which=WhichItems.ALL, **chosen)


def test_all_items_are_narrowed_by_their_numbers(manager: BatchManager, failed_batch: int) -> None:
    some = manager.create_reprocess_batch(failed_batch, ReprocessRequest(which=WhichItems.ALL, from_item=2, to_item=4))
    assert manager.process_batch(some or 0).total_items == 3


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"which": "everything"}, "there are no 'everything' items to reprocess; which is one of outstanding, failed,"),
        ({"reasons": "12345678"}, "reasons is one text; give a list"),
        ({"exclude_reasons": "12345678"}, "exclude_reasons is one text; give a list"),
        ({"from_item": 5, "to_item": 4}, "from_item 5 comes after to_item 4"),
        ({"from_item": 0}, "from_item is 0, and the items of a batch are numbered from 1"),
        ({"to_item": -3}, "to_item is -3, and the items of a batch are numbered from 1"),
        ({"max_attempts": 0}, "max_attempts is 0, and whatever failed has had one attempt"),
    ],
)
def test_a_request_that_makes_no_sense_cannot_be_made(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        ReprocessRequest(**given)


def test_a_request_and_its_short_form_exclude_each_other(manager: BatchManager, failed_batch: int) -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        manager.reprocess_batch(failed_batch, ReprocessRequest(), failed_items_only=False)
    assert [batch.batch_id for batch in manager.list_batches()] == [failed_batch]


def test_no_reasons_at_all_choose_no_failure(manager: BatchManager, failed_batch: int) -> None:
    assert manager.create_reprocess_batch(failed_batch, ReprocessRequest(reasons=[])) is None


@pytest.mark.parametrize(
    ("which", "taken"),
    [
        (WhichItems.OUTSTANDING, {1, 2, 3, 4, 5}),
        (WhichItems.FAILED, {2, 3, 4, 5}),
        (WhichItems.RETRYABLE, {3, 5}),
        (WhichItems.DUE, {5}),
        (WhichItems.PERMANENT, {2, 4}),
        (WhichItems.RESOLVED_REFERENCES, {2}),
        (WhichItems.ALL, {2, 3, 4, 5}),
    ],
)
def test_every_choice_takes_the_items_that_it_names(
    manager: BatchManager, sql: Sql, lineage_of_all_kinds: int, which: WhichItems, taken: set[int]
) -> None:
    batch_id = manager.create_reprocess_batch(lineage_of_all_kinds, ReprocessRequest(which=which))

    items = "SELECT origin_item_number FROM reliable_imports.import_items WHERE batch_id = %s"
    assert {number for (number,) in sql(items, batch_id)} == taken


def test_a_sensitive_key_is_kept_in_the_item_alone_and_its_late_row_is_found(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NotesProcessor, "sensitive", ("place",))
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "ok", "place": 7654321}])
    manager.process_batch(batch_id)
    assert sql("SELECT missing_key, missing_fields FROM reliable_imports.import_attempts") == [(None, ["place"])]
    assert sql("SELECT count(*) FROM reliable_imports.import_attempts AS a WHERE a::text LIKE '%7654321%'") == [(0,)]
    request = ReprocessRequest(which=WhichItems.RESOLVED_REFERENCES)
    assert manager.create_reprocess_batch(batch_id, request) is None
    sql("INSERT INTO places VALUES (7654321)")
    assert manager.reprocess_batch(batch_id, request).completed_items == 1


@pytest.fixture
def lineage_of_all_kinds(manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> int:
    """One item whose repeat was cancelled, and failures: for a place that is there now, retryable but not yet due, for
    good, and due."""
    monkeypatch.setitem(ACTIONS, "transient", _be_transient)
    monkeypatch.setattr(NotesProcessor, "max_tries", 1)
    items = [{"id": 1, "text": "ok"}, {"id": 2, "text": "ok", "place": 9}, {"id": 3, "text": "ok", "do": "transient"},
             {"id": 4, "text": "bad"}, {"id": 5, "text": "ok", "do": "transient"}]  # fmt: skip
    batch_id = manager.create_batch("notes", items)
    assert manager.process_batch(batch_id).failed_items == 4
    add_the_place(sql)
    done = manager.create_reprocess_batch(batch_id, ReprocessRequest(which=WhichItems.ALL, from_item=1, to_item=1))
    manager.cancel_batch(done or 0)
    monkeypatch.setattr(NotesProcessor, "retry_backoff", timedelta(0))
    due = manager.reprocess_batch(batch_id, ReprocessRequest(from_item=5))
    assert due.failed_items == 1
    return batch_id


def _be_transient(item: ImportBatchItem, ctx: ImportContext) -> None:
    raise TransientError("the rate limit is used up")


def test_an_idempotency_key_makes_one_wish_of_two(manager: BatchManager, failed_batch: int) -> None:
    first = manager.create_reprocess_batch(
        failed_batch, ReprocessRequest(which=WhichItems.ALL, idempotency_key="again")
    )
    second = manager.create_reprocess_batch(
        failed_batch, ReprocessRequest(which=WhichItems.ALL, idempotency_key="again")
    )

    assert first == second
    manager.process_batch(first or 0)


def test_failures_of_a_batch_that_still_runs_can_be_taken(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(item: ImportBatchItem, ctx: ImportContext) -> None:
        raise KeyboardInterrupt

    items: list[dict[str, object]] = [{"id": number, "text": "ok"} for number in range(200)]
    items[3]["place"] = 9
    items[120]["do"] = "interrupt"
    batch_id = manager.create_batch("notes", items)
    monkeypatch.setitem(ACTIONS, "interrupt", interrupt)
    with pytest.raises(KeyboardInterrupt):
        manager.process_batch(batch_id)

    add_the_place(sql)
    repaired = manager.reprocess_batch(batch_id)
    monkeypatch.setitem(ACTIONS, "interrupt", lambda item, ctx: None)
    rest = manager.process_batch(batch_id)
    assert (repaired.total_items, repaired.completed_items) == (1, 1)
    assert (rest.completed_items, rest.failed_items) == (199, 1)
    assert manager.count_outstanding(batch_id) == 0


def test_an_old_failure_never_overwrites_newer_data(manager: BatchManager, sql: Sql) -> None:
    old = manager.create_batch("plain", [{"id": 1, "text": "old", "place": 9}, {"id": 2, "text": "old", "place": 9}])
    manager.process_batch(old)
    # The same key, as a file would have it.
    new = manager.create_batch("plain", [{"id": "1", "text": "new"}])
    manager.process_batch(new)

    add_the_place(sql)
    summary = manager.reprocess_batch(old)
    assert (summary.completed_items, summary.skipped_items) == (1, 1)
    assert sql("SELECT id, text FROM notes ORDER BY 1") == [(1, "new"), (2, "old")]
    (skipped,) = manager.list_items(summary.batch_id, status="skipped")
    assert skipped.skip_reason == (
        f"the row of notes was left as it is: item 1 of batch {new}, which is newer, has written it"
    )


def test_an_old_failure_with_more_to_write_leaves_the_newer_row_and_goes_in(manager: BatchManager, sql: Sql) -> None:
    old = manager.create_batch("notes", [{"id": 1, "text": "old", "place": 9}])
    manager.process_batch(old)
    newer = manager.create_batch("notes", [{"id": 1, "text": "new"}])
    manager.process_batch(newer)

    add_the_place(sql)
    summary = manager.reprocess_batch(old)
    assert summary.completed_items == 1
    kept = [{"table": "notes", "why": "newer", "newer_batch": newer, "newer_item": 1}]
    assert (manager.list_items(summary.batch_id)[0].result or {})["kept"] == kept
    assert sql("SELECT text FROM notes") == [("new",)]
    assert manager.count_outstanding(old) == 0

    everything = manager.reprocess_batch(old, ReprocessRequest(which=WhichItems.ALL, overwrite_newer=True))
    assert everything.completed_items == 1
    assert sql("SELECT text FROM notes") == [("old",)]


def test_an_old_failure_waits_for_newer_data_that_is_being_written(
    manager: BatchManager, database: str, sql: Sql
) -> None:
    old = manager.create_batch("immediate", [{"id": 1, "text": "bad"}])
    manager.process_batch(old)
    sql("ALTER TABLE notes DROP CONSTRAINT notes_text_not_bad")
    newer = manager.create_batch("immediate", [{"id": 1, "text": "new"}])
    with worker_that_stops_at(database, newer, 1) as child:
        summary = worked_behind(child, sql, lambda: manager.reprocess_batch(old))

    assert (summary.failed_items, summary.open_items) == (0, 0)
    assert sql("SELECT text FROM notes") == [("new",)]


def test_every_row_of_a_newer_item_counts_though_its_neighbour_wrote_none(manager: BatchManager, sql: Sql) -> None:
    class NotesOfItem(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            for number in item.source_data["notes"]:
                ctx.upsert("notes", {"id": number, "text": "new"}, key="id")

    manager.registry.register(NotesOfItem)
    old = manager.create_batch("plain", [{"id": 2, "text": "old", "place": 9}])
    manager.process_batch(old)
    manager.process_batch(manager.create_batch("notes_of_item", [{"notes": [1, 2]}, {"notes": []}]))

    add_the_place(sql)
    assert manager.reprocess_batch(old).skipped_items == 1
    assert sql("SELECT id, text FROM notes ORDER BY 1") == [(1, "new"), (2, "new")]


def test_later_items_of_the_same_batch_count_as_newer(manager: BatchManager, sql: Sql) -> None:
    batch_id = manager.create_batch("plain", [{"id": 1, "text": "first", "place": 9}, {"id": 1, "text": "second"}])
    manager.process_batch(batch_id)
    add_the_place(sql)

    assert manager.reprocess_batch(batch_id).skipped_items == 1
    assert sql("SELECT text FROM notes") == [("second",)]


def test_a_key_that_names_another_wish_is_refused(manager: BatchManager, failed_batch: int) -> None:
    other = manager.create_batch("notes", [{"id": 500, "text": "ok"}], idempotency_key="taken")
    with pytest.raises(IdempotencyKeyTaken, match=f"names batch {other}, which does not repeat batch {failed_batch}"):
        manager.create_reprocess_batch(failed_batch, ReprocessRequest(idempotency_key="taken"))


def test_an_unknown_batch_is_named(manager: BatchManager) -> None:
    with pytest.raises(UnknownBatch, match="there is no batch 4711"):
        manager.reprocess_batch(4711)


class TestRetryableFailures:
    @pytest.fixture
    def flaky_batch(self, manager: BatchManager) -> int:
        batch_id = manager.create_batch("flaky", [{"id": number, "text": "ok"} for number in range(5)])
        manager.process_batch(batch_id)
        return batch_id

    @staticmethod
    def pass_time(sql: Sql) -> None:
        """Move every failure an hour into the past."""
        sql("ALTER TABLE reliable_imports.import_attempts DISABLE TRIGGER import_attempts_only_erased")
        sql("UPDATE reliable_imports.import_attempts SET finished_at = finished_at - interval '1 hour'")
        sql("ALTER TABLE reliable_imports.import_attempts ENABLE TRIGGER import_attempts_only_erased")

    def test_they_rest_before_they_are_due(self, manager: BatchManager, sql: Sql, flaky_batch: int) -> None:
        assert manager.orchestration.lineages_due() == []
        assert manager.create_reprocess_batch(flaky_batch, ReprocessRequest(which=WhichItems.DUE)) is None
        assert manager.orchestration.failing_lineages(retryable_only=True) == [flaky_batch]

        self.pass_time(sql)
        (due,) = manager.orchestration.lineages_due()
        assert (due.first_batch_id, due.due_items, due.stalled_batch_id) == (flaky_batch, 5, None)

    def test_the_back_off_doubles_and_ends_at_the_limit(
        self, manager: BatchManager, sql: Sql, flaky_batch: int
    ) -> None:
        waits = "SELECT DISTINCT retry_after FROM reliable_imports.import_attempts WHERE batch_id = %s"
        assert [str(wait) for (wait,) in sql(waits, flaky_batch)] == ["0:01:00"]

        self.pass_time(sql)
        second = manager.reprocess_batch(flaky_batch, ReprocessRequest(which=WhichItems.DUE))
        assert [str(wait) for (wait,) in sql(waits, second.batch_id)] == ["0:02:00"]

        self.pass_time(sql)
        third = manager.reprocess_batch(flaky_batch, ReprocessRequest(which=WhichItems.DUE))
        assert sql(waits, third.batch_id) == [(None,)]

        # max_attempts is 3: from here on they wait for a person, who can still ask.
        self.pass_time(sql)
        assert manager.orchestration.lineages_due() == []
        FlakyProcessor.failing = False
        assert manager.reprocess_batch(flaky_batch).completed_items == 5

    def test_the_generation_grows_with_every_run(self, manager: BatchManager, sql: Sql, flaky_batch: int) -> None:
        generations = []
        for _ in range(2):
            self.pass_time(sql)
            generations.append(manager.orchestration.lineages_due()[0].generation)
            manager.reprocess_batch(flaky_batch, ReprocessRequest(which=WhichItems.DUE))

        assert generations[1] > generations[0]

    def test_an_abandoned_reprocess_batch_is_due(self, manager: BatchManager, sql: Sql, flaky_batch: int) -> None:
        created = manager.create_reprocess_batch(flaky_batch)
        assert manager.orchestration.lineages_due() == []

        sql("UPDATE reliable_imports.import_batches SET created_at = created_at - interval '1 hour'")
        (due,) = manager.orchestration.lineages_due()
        assert (due.stalled_batch_id, due.due_items) == (created, 0)
        manager.process_batch(created or 0)
