"""Causes over all batches: counts, states, values, and what people say of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel

from reliable_imports import (
    AmbiguousReason,
    BaseProcessor,
    BatchManager,
    ConfigurationError,
    ImportBatchItem,
    ImportContext,
    ReasonState,
    ReasonSummary,
    ReprocessRequest,
    TransientError,
    UnknownBatch,
    UnknownReason,
    WhichItems,
)
from tests.conftest import Sql


class OrdersProcessor(BaseProcessor):
    """Refuses what has no genre, or a price that is not below the limit."""

    batch_type = "orders"
    limit = 100

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        data = item.source_data
        if data.get("genre") is None:
            return ctx.reject("needs a genre", field="genre")
        if data.get("price", 0) >= self.limit:
            return ctx.reject("is too dear", field="price")
        return True

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None: ...


class LaterOrders(OrdersProcessor):
    """The same, as the next release has it."""

    batch_type = "orders"
    later = True

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return super().validate_item(item, ctx)


class CheapOrders(OrdersProcessor):
    """A release that takes any price."""

    batch_type = "orders"
    limit = 10**9

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return super().validate_item(item, ctx)


NO_GENRE = {"id": 1}
TOO_DEAR = {"id": 2, "genre": "crime", "price": 120}
GOOD = {"id": 3, "genre": "crime"}


@pytest.fixture
def manager(database: str) -> BatchManager:
    manager = BatchManager(database)
    manager.registry.register(OrdersProcessor)
    return manager


@pytest.fixture
def deploy(database: str) -> Callable[[type[BaseProcessor]], BatchManager]:
    """A manager with another release of the processor."""

    def deploy(processor: type[BaseProcessor]) -> BatchManager:
        manager = BatchManager(database)
        manager.registry.register(processor)
        return manager

    return deploy


def imported(manager: BatchManager, *items: dict[str, Any]) -> int:
    batch_id = manager.create_batch("orders", items)
    manager.process_batch(batch_id)
    return batch_id


def cause(manager: BatchManager, field: str, batch_id: int | None = None) -> ReasonSummary:
    return next(each for each in manager.failures(batch_id, with_closed=True) if each.field == field)


def test_causes_are_counted_over_all_batches(manager: BatchManager) -> None:
    imported(manager, NO_GENRE, TOO_DEAR, TOO_DEAR, GOOD)
    imported(manager, {**TOO_DEAR, "price": 150}, GOOD)
    assert [(each.field, each.items, each.outstanding, each.batches) for each in manager.failures()] == [
        ("price", 3, 3, 2),
        ("genre", 1, 1, 1),
    ]
    dear = cause(manager, "price")
    assert [(each.value, each.items) for each in dear.values] == [("120", 2), ("150", 1)]
    assert (dear.state, dear.batch_type, dear.last_batch_id) == (ReasonState.OPEN, "orders", 2)
    assert [(each.value, each.items) for each in cause(manager, "genre").values] == [(None, 1)]
    assert [each.items for each in manager.failures(2)] == [1]
    assert [each.items for each in manager.failures(batch_type="orders")] == [3, 1]
    assert manager.failures(batch_type="nothing") == []


def test_a_cause_is_closed_when_all_was_repaired_and_open_while_something_is_outstanding(
    manager: BatchManager, deploy: Callable[[type[BaseProcessor]], BatchManager]
) -> None:
    imported(manager, NO_GENRE, TOO_DEAR, TOO_DEAR)
    repaired = deploy(CheapOrders)
    reason = cause(manager, "price").reason
    repaired.reprocess_batch(1)
    assert [each.field for each in manager.failures()] == ["genre"]
    assert cause(manager, "price").state is ReasonState.CLOSED
    genre = cause(manager, "genre")
    assert (genre.state, genre.items, genre.outstanding) == (ReasonState.OPEN, 2, 1)
    in_first = cause(manager, "genre", batch_id=1)
    assert (in_first.items, in_first.outstanding) == (1, 1), "outstanding is counted over the lineage"
    details = manager.failure(reason)
    assert [(each.kind, each.items, each.failed_again) for each in details.actions] == [("repeat", 2, 0)]


def test_what_was_given_up_is_closed(manager: BatchManager, sql: Sql) -> None:
    imported(manager, TOO_DEAR, NO_GENRE)
    reason = cause(manager, "price").reason
    manager.reprocess_batch(1, ReprocessRequest(reasons=[reason], skip="they never pay"))
    assert cause(manager, "price").state is ReasonState.CLOSED
    assert [each.field for each in manager.failures()] == ["genre"]
    assert sql("SELECT bool_and(is_counted) FROM reliable_imports.import_batches") == [(True,)]


def test_what_is_being_repeated_is_not_closed(manager: BatchManager) -> None:
    imported(manager, TOO_DEAR)
    repeat = manager.create_reprocess_batch(1)
    assert repeat is not None
    waiting = cause(manager, "price")
    assert (waiting.state, waiting.outstanding, waiting.waiting) == (ReasonState.OPEN, 0, 1)
    manager.cancel_batch(repeat)
    given_back = cause(manager, "price")
    assert (given_back.state, given_back.outstanding, given_back.waiting) == (ReasonState.OPEN, 1, 0)


def test_a_cause_is_back_when_it_fails_again_after_its_repair_under_code_that_had_not_failed(
    manager: BatchManager, deploy: Callable[[type[BaseProcessor]], BatchManager]
) -> None:
    imported(manager, TOO_DEAR)
    deploy(CheapOrders).reprocess_batch(1)
    imported(manager, TOO_DEAR)
    assert cause(manager, "price").state is ReasonState.OPEN, "a worker of the old release is no regression"
    deploy(CheapOrders).reprocess_batch(3)
    later = deploy(LaterOrders)
    imported(later, TOO_DEAR)
    assert cause(manager, "price").state is ReasonState.BACK
    later.reprocess_batch(5)
    assert cause(manager, "price").state is ReasonState.BACK, "a repair that did not help changes nothing"
    deploy(CheapOrders).reprocess_batch(5)
    assert cause(manager, "price").state is ReasonState.CLOSED


def test_new_code_that_fails_before_all_was_repaired_brings_nothing_back(
    manager: BatchManager, deploy: Callable[[type[BaseProcessor]], BatchManager]
) -> None:
    imported(manager, TOO_DEAR)
    imported(manager, TOO_DEAR)
    deploy(CheapOrders).reprocess_batch(1)
    imported(deploy(LaterOrders), TOO_DEAR)
    assert cause(manager, "price").state is ReasonState.OPEN


def test_what_is_kept_of_a_closed_batch_is_what_would_be_counted_anew(manager: BatchManager, sql: Sql) -> None:
    imported(manager, NO_GENRE, TOO_DEAR, {"id": 1, "price": 500})
    manager.reprocess_batch(1)
    kept = manager.failures(), manager.failures(1)
    assert sql("SELECT count(*) FROM reliable_imports.import_failure_counts") == [(4,)]
    assert sql("SELECT bool_and(is_counted) FROM reliable_imports.import_batches") == [(True,)]
    sql("UPDATE reliable_imports.import_batches SET is_counted = false")
    sql("TRUNCATE reliable_imports.import_failure_counts, reliable_imports.import_repeat_counts")
    assert (manager.failures(), manager.failures(1)) == kept


def test_failures_of_a_batch_that_is_worked_are_told(manager: BatchManager, sql: Sql) -> None:
    imported(manager, TOO_DEAR)
    sql(
        "UPDATE reliable_imports.import_batches SET status = 'processing', completed_items = NULL, is_counted = false, "
        "failed_items = NULL, skipped_items = NULL, finished_at = NULL, total_items = 3"
    )
    sql("TRUNCATE reliable_imports.import_failure_counts")
    assert [(each.items, each.outstanding) for each in manager.failures()] == [(1, 1)]


class Order(BaseModel):
    genre: str
    price: int


class CheckedOrders(BaseProcessor):
    """Has a model, which tells all that is wrong."""

    batch_type = "orders"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        Order.model_validate(item.source_data)


def test_an_item_with_several_causes_counts_for_each(deploy: Callable[[type[BaseProcessor]], BatchManager]) -> None:
    manager = deploy(CheckedOrders)
    imported(manager, {"genre": None, "price": "x"}, {"price": 1}, {"genre": "crime", "price": ""}, {"price": "N/A"})
    rows = {each.rule: each for each in manager.failures()}
    told = {rule: (each.field, each.items, each.only, each.outstanding_only) for rule, each in rows.items()}
    assert told == {
        "int_parsing": ("price", 3, 1, 1),
        "missing": ("genre", 2, 1, 1),
        "string_type": ("genre", 1, 0, 0),
    }
    assert [(each.value, each.items) for each in rows["missing"].values] == [(None, 2)]
    assert {(each.value, each.items) for each in rows["int_parsing"].values} == {("x", 1), ("", 1), ("N/A", 1)}


class BusyOrders(BaseProcessor):
    batch_type = "orders"
    retry_backoff = timedelta(0)
    max_tries = 1

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        raise TransientError("the bank is closed")


# Values


class SecretOrders(OrdersProcessor):
    batch_type = "orders"
    sensitive = ("price",)

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return super().validate_item(item, ctx)


def test_values_of_sensitive_fields_are_told_nowhere(
    deploy: Callable[[type[BaseProcessor]], BatchManager], sql: Sql
) -> None:
    manager = deploy(SecretOrders)
    imported(manager, {**TOO_DEAR, "price": 987654}, {"id": 987654})
    dear = cause(manager, "price")
    assert [(each.value, each.items) for each in dear.values] == [("***", 1)]
    details = manager.failure(dear.reason)
    assert "987654" not in repr(details)
    [sample] = details.samples
    assert (sample.value, sample.is_empty) == ("***", False)
    assert sample.source_data == '{"price":"***","id":2,"genre":"crime"}'
    assert [(each.value, each.items) for each in cause(manager, "genre").values] == [(None, 1)]
    kept = sql("SELECT common_values::text FROM reliable_imports.import_failure_counts")
    assert not any("987654" in text for (text,) in kept)


def test_samples_show_the_field_at_fault_first_and_those_that_are_outstanding(manager: BatchManager) -> None:
    imported(manager, GOOD, NO_GENRE, TOO_DEAR, {**TOO_DEAR, "id": 9})
    details = manager.failure(cause(manager, "price").reason, samples=1)
    [sample] = details.samples
    assert sample.source_data == '{"price":120,"id":2,"genre":"crime"}'
    assert (sample.field, sample.value, sample.item_number, sample.is_outstanding) == ("price", "120", 3, True)
    assert details.traceback is not None
    assert "validate_item" in details.traceback
    [empty] = manager.failure(cause(manager, "genre").reason).samples
    assert (empty.value, empty.is_empty) == (None, True)
    assert [each.batch_id for each in details.batches] == [1]
    assert details.days == ((details.summary.first_seen.astimezone(timezone.utc).date(), 2),)


# Names


def test_the_beginning_of_a_reason_is_enough(manager: BatchManager, sql: Sql) -> None:
    imported(manager, TOO_DEAR)
    [found] = manager.failures()
    assert manager.failure(found.reason[:3]).summary == found
    assert manager.failure(found.reason[:1], batch_id=1).summary == found
    for unknown in ("zzz", "", "%"):
        with pytest.raises(UnknownReason):
            manager.failure(unknown)
    with pytest.raises(UnknownReason, match="of batch type 'others'"):
        manager.failure(found.reason, batch_type="others")
    with pytest.raises(UnknownBatch):
        manager.failure(found.reason, batch_id=7)
    sql(
        "INSERT INTO reliable_imports.import_failure_reasons (fingerprint, version, batch_type, stage, error_type, "
        "rule, title) SELECT left(fingerprint, 7) || 'g', version, batch_type, stage, error_type, rule, title "
        "FROM reliable_imports.import_failure_reasons"
    )
    with pytest.raises(AmbiguousReason, match=f"'{found.reason[:3]}' begins several reasons: {found.reason[:7]}"):
        manager.failure(found.reason[:3])
    assert manager.failure(found.reason).summary.reason == found.reason


# What people say


def test_people_note_and_ignore_and_take_it_back(manager: BatchManager) -> None:
    imported(manager, TOO_DEAR)
    reason = cause(manager, "price").reason
    assert manager.note_failure(reason[:4], "asked the supplier", by="ann") == reason
    assert cause(manager, "price").note == "asked the supplier"
    until = datetime.now(timezone.utc) + timedelta(days=1)
    manager.ignore_failure(reason, "they never pay", until=until, by="ann")
    ignored = cause(manager, "price")
    assert (ignored.state, ignored.ignored_why, ignored.ignored_until) == (ReasonState.IGNORED, "they never pay", until)
    manager.end_ignoring_failure(reason)
    assert cause(manager, "price").state is ReasonState.OPEN
    actions = manager.failure(reason).actions
    assert [(each.kind, each.by) for each in actions] == [("note", "ann"), ("ignore", "ann"), ("end_ignore", None)]


def test_what_people_say_must_say_something(manager: BatchManager) -> None:
    imported(manager, TOO_DEAR)
    reason = cause(manager, "price").reason
    with pytest.raises(ConfigurationError, match="empty"):
        manager.note_failure(reason, " ")
    with pytest.raises(ConfigurationError, match="is over"):
        manager.ignore_failure(reason, "why", until=datetime(2001, 1, 1))
    with pytest.raises(UnknownReason):
        manager.note_failure("zzz", "who?")
    assert manager.failure(reason).actions == ()


def test_an_ignored_cause_comes_back_when_its_time_is_over(manager: BatchManager, sql: Sql) -> None:
    imported(manager, TOO_DEAR)
    reason = cause(manager, "price").reason
    manager.ignore_failure(reason, "why", until=datetime.now(timezone.utc) + timedelta(days=1))
    sql("UPDATE reliable_imports.import_reason_notes SET until = made_at")
    assert cause(manager, "price").state is ReasonState.OPEN


def test_an_ignored_cause_comes_back_when_it_surges(manager: BatchManager) -> None:
    imported(manager, *[TOO_DEAR] * 8)
    reason = cause(manager, "price").reason
    manager.ignore_failure(reason, "few")
    imported(manager, *[TOO_DEAR] * 8)
    imported(manager, *[TOO_DEAR] * 8)
    manager.reprocess_batch(1)
    left = cause(manager, "price")
    assert (left.state, left.has_surged) == (ReasonState.IGNORED, False), "twice as many is no surge; nor is a repeat"
    imported(manager, TOO_DEAR)
    surged = cause(manager, "price")
    assert (surged.state, surged.has_surged, surged.ignored_why) == (ReasonState.OPEN, True, "few")
    manager.ignore_failure(reason, "still few")
    assert cause(manager, "price").state is ReasonState.IGNORED


def test_fewer_than_ten_are_no_surge(manager: BatchManager) -> None:
    imported(manager, TOO_DEAR)
    manager.ignore_failure(cause(manager, "price").reason, "few")
    imported(manager, *[TOO_DEAR] * 9)
    assert cause(manager, "price").state is ReasonState.IGNORED
    imported(manager, TOO_DEAR)
    assert cause(manager, "price").state is ReasonState.OPEN


def test_what_waits_for_no_person_is_left_while_it_is_ignored(
    deploy: Callable[[type[BaseProcessor]], BatchManager],
) -> None:
    manager = deploy(BusyOrders)
    imported(manager, TOO_DEAR)
    [due] = manager.orchestration.lineages_due()
    assert due.due_items == 1
    [cause_now] = manager.failures()
    assert (cause_now.retryable_items, manager.failure(cause_now.reason).due_at is not None) == (1, True)
    manager.ignore_failure(cause_now.reason, "the bank is closed for good")
    assert manager.orchestration.lineages_due() == []
    assert (manager.count_outstanding(1), manager.count_ignored(1)) == (1, 1)
    assert manager.create_reprocess_batch(1, ReprocessRequest(which=WhichItems.DUE)) is None
    assert manager.create_reprocess_batch(1) is not None, "a person may repeat it all the same"


def test_an_item_with_another_cause_that_nobody_ignores_is_not_left(
    deploy: Callable[[type[BaseProcessor]], BatchManager],
) -> None:
    manager = deploy(CheckedOrders)
    imported(manager, {"genre": None, "price": "x"}, {"genre": "crime", "price": "x"})
    price = next(each for each in manager.failures() if each.field == "price")
    manager.ignore_failure(price.reason, "why")
    assert (manager.count_outstanding(1), manager.count_ignored(1)) == (2, 1)


def test_a_request_for_one_cause_takes_items_that_have_it_among_others(
    deploy: Callable[[type[BaseProcessor]], BatchManager],
) -> None:
    manager = deploy(CheckedOrders)
    imported(manager, {"genre": None, "price": "x"}, {"genre": "crime", "price": "x"}, {"genre": None, "price": 1})
    genre = next(each for each in manager.failures() if each.field == "genre")
    assert manager.reprocess_batch(1, ReprocessRequest(reasons=[genre.reason])).total_items == 2
    price = next(each for each in manager.failures() if each.field == "price")
    assert manager.reprocess_batch(1, ReprocessRequest(exclude_reasons=[price.reason])).total_items == 1


# The same cause under new code


class RenamedOrders(OrdersProcessor):
    """The check of the price stands elsewhere now, and has other words."""

    batch_type = "orders"

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return self.check_price(item, ctx)

    def check_price(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        if item.source_data.get("price", 0) >= self.limit:
            return ctx.reject("costs more than we pay", field="price")
        return True


def test_a_cause_that_is_the_old_one_under_new_code_goes_on(
    manager: BatchManager, deploy: Callable[[type[BaseProcessor]], BatchManager]
) -> None:
    imported(manager, TOO_DEAR, TOO_DEAR, NO_GENRE)
    old = cause(manager, "price")
    manager.note_failure(old.reason, "asked the supplier")
    manager.ignore_failure(old.reason, "they never pay")
    deploy(RenamedOrders).reprocess_batch(1)
    [new] = manager.failures()
    assert new.reason != old.reason
    assert (new.continues, new.note) == (old.reason, "asked the supplier")
    assert new.first_seen <= old.first_seen
    assert (new.state, new.ignored_why) == (ReasonState.IGNORED, "they never pay")
    assert manager.failure(new.reason).actions[0].text == "asked the supplier"
    manager.end_ignoring_failure(new.reason)
    assert manager.failures()[0].state is ReasonState.OPEN


def test_a_cause_of_which_some_were_repaired_is_not_continued(
    manager: BatchManager, deploy: Callable[[type[BaseProcessor]], BatchManager]
) -> None:
    class HalfRenamed(RenamedOrders):
        batch_type = "orders"
        limit = 130

        def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
            return super().validate_item(item, ctx)

    imported(manager, TOO_DEAR, {**TOO_DEAR, "price": 150})
    deploy(HalfRenamed).reprocess_batch(1)
    [new] = manager.failures()
    assert (new.items, new.continues) == (1, None)


def test_another_cause_of_the_same_field_that_was_there_before_continues_nothing(
    manager: BatchManager, deploy: Callable[[type[BaseProcessor]], BatchManager]
) -> None:
    imported(deploy(RenamedOrders), TOO_DEAR)
    imported(manager, TOO_DEAR)
    deploy(RenamedOrders).reprocess_batch(2)
    assert [each.continues for each in manager.failures()] == [None]


def test_all_items_can_be_repeated_and_causes_still_add_up(manager: BatchManager) -> None:
    imported(manager, TOO_DEAR, GOOD)
    manager.reprocess_batch(1, ReprocessRequest(which=WhichItems.ALL))
    assert [(each.items, each.outstanding) for each in manager.failures()] == [(2, 1)]
