from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pandas
import psycopg2
import pytest

from reliable_imports import BatchManager, BatchStatus, ConfigurationError, SourceError, UnknownBatchType
from reliable_imports.postgres.queries import load
from tests.core.conftest import Sql
from tests.core.doubles import PlainProcessor


@pytest.mark.promise(1)
def test_items_are_stored_before_anything_is_processed(manager: BatchManager, sql: Sql) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}])

    stored = sql("SELECT item_number, status, source_data FROM reliable_imports.import_batch_items ORDER BY 1")
    assert stored == [(1, "pending", {"id": 1, "text": "a"}), (2, "pending", {"id": 2, "text": "b"})]
    assert manager.get_summary(batch_id).status is BatchStatus.PENDING
    assert sql("SELECT count(*) FROM notes") == [(0,)]


@pytest.mark.promise(1)
def test_source_data_keeps_the_text_of_numbers(manager: BatchManager, sql: Sql) -> None:
    manager.create_batch("notes", [{"id": 1, "text": "a", "big": 12345678901234567890123, "zero": -0.0}])

    ((text,),) = sql("SELECT source_data::text FROM reliable_imports.import_items")
    assert text == '{"id":1,"text":"a","big":12345678901234567890123,"zero":-0.0}'


@pytest.mark.parametrize(
    "text", ["a\\.b", "\\.", "tab\there", "line\nbreak", "quote\"and'", "\\N", "€ \u2028 😀", "\\\\x41"]
)
@pytest.mark.promise(1)
def test_awkward_text_arrives_exactly(manager: BatchManager, sql: Sql, text: str) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": text}, {"id": 2, "text": "neighbour"}])

    assert manager.process_batch(batch_id).completed_items == 2
    assert sql("SELECT text FROM notes ORDER BY id") == [(text,), ("neighbour",)]


@pytest.mark.promise(1)
def test_a_generator_that_breaks_leaves_no_batch(manager: BatchManager, sql: Sql) -> None:
    def items() -> Iterator[object]:
        for number in range(10_000):
            yield {"id": number, "text": "a"}
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        manager.create_batch("notes", items())

    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(0,)]
    assert sql("SELECT count(*) FROM reliable_imports.import_items") == [(0,)]


def test_an_idempotency_key_makes_two_deliveries_one(manager: BatchManager, sql: Sql) -> None:
    first = manager.create_batch("notes", [{"id": 1, "text": "a"}], idempotency_key="2013-01-01")
    second = manager.create_batch("notes", iter([{"id": 2, "text": "b"}]), idempotency_key="2013-01-01")
    other = manager.create_batch("notes", [{"id": 2, "text": "b"}], idempotency_key="2013-01-02")

    assert second == first
    assert other != first
    assert sql("SELECT count(*) FROM reliable_imports.import_items") == [(2,)]


def test_the_same_delivery_four_times_at_once_is_one_batch(manager: BatchManager, sql: Sql) -> None:
    start = threading.Barrier(4)
    ids: list[int] = []

    def deliver() -> None:
        start.wait(120)
        items = ({"id": number, "text": "a"} for number in range(2_000))
        ids.append(manager.create_batch("notes", items, idempotency_key="same"))

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert sql("SELECT count(*) FROM reliable_imports.import_items") == [(2_000,)]


def test_an_unknown_batch_type_is_refused_and_the_known_ones_are_named(manager: BatchManager) -> None:
    with pytest.raises(
        UnknownBatchType, match=r"no processor for batch type 'note'; registered: flaky, immediate, notes, plain"
    ):
        manager.create_batch("note", [])


@pytest.mark.parametrize("items", [None, 5, "text", {"id": 1}])
def test_what_is_no_series_of_items_is_refused(manager: BatchManager, items: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"items is a {type(items).__name__}, not an iterable of items"):
        manager.create_batch("notes", items)


def test_an_item_that_is_too_large_is_named(manager: BatchManager) -> None:
    with pytest.raises(SourceError, match=r"item 3 holds \d+ bytes of JSON, and the limit is 16777216; no batch was"):
        manager.create_batch("notes", [{"id": 1}, {"id": 2}, {"id": 3, "text": "x" * 17_000_000}])
    assert manager.list_batches() == []


def test_an_empty_batch_is_completed_with_a_warning(manager: BatchManager) -> None:
    batch_id = manager.create_batch("notes", [])
    summary = manager.process_batch(batch_id)

    assert (summary.status, summary.total_items) == (BatchStatus.COMPLETED, 0)
    warnings = [entry.message for entry in manager.list_logs(batch_id, levels=["warning"])]
    assert warnings == ["batch created without items", "batch closed without items"]


@pytest.mark.promise(1)
@pytest.mark.parametrize(
    ("items", "ranges", "items_of_a_range"),
    [
        (1, 1, 1),
        (7_999, 16, 500),
        (8_001, 9, 1_000),
        (24_000, 24, 1_000),
        (24_001, 13, 2_000),
        (100_000, 17, 6_000),
        (1_000_000, 100, 10_000),
    ],
)
def test_ranges_are_whole_chunks_where_that_leaves_eight(
    manager: BatchManager, sql: Sql, items: int, ranges: int, items_of_a_range: int
) -> None:
    batch_id = manager.create_batch("notes", [])
    sql(load("ingest.sql")["make_ranges"] % {"batch_id": batch_id, "total_items": items})

    made = sql("SELECT next_item, last_item FROM reliable_imports.import_ranges ORDER BY range_number")
    assert len(made) == ranges
    assert made[0] == (1, items_of_a_range)
    assert [first for first, _ in made[1:]] == [last + 1 for _, last in made[:-1]]
    assert made[-1][1] == items


def test_what_json_cannot_hold_is_stored_and_fails_alone(manager: BatchManager) -> None:
    batch_id = manager.create_batch(
        "notes", [{"id": 1, "text": "a"}, {"id": 2, "text": {"a set"}}, {"id": float("inf"), "text": "b"}]
    )
    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (1, 2)
    messages = [item.error_message or "" for item in manager.list_items(batch_id, status="failed")]
    assert "$.text" in messages[0]
    assert "$.id" in messages[1]


@pytest.mark.promise(1)
def test_nul_and_lone_surrogates_reach_the_processor(manager: BatchManager) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "ok", "extra": "a\0b"}, {"id": 2, "text": "\ud800"}])
    summary = manager.process_batch(batch_id)

    # The first never writes its NUL and completes; the second tries to write the surrogate and says why it cannot.
    assert (summary.completed_items, summary.failed_items) == (1, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert failed.error_type == "ContextMisuse"


@pytest.mark.promise(7)
@pytest.mark.parametrize("table", ["import_items", "import_attempts", "import_row_keys", "import_logs"])
def test_history_refuses_change_by_hand(manager: BatchManager, sql: Sql, table: str) -> None:
    manager.process_batch(manager.create_batch("notes", [{"id": 1, "text": "a"}]))
    sql("INSERT INTO reliable_imports.import_row_keys VALUES (17, 1, 1)")

    for statement in (
        f"UPDATE reliable_imports.{table} SET item_number = 2",
        f"DELETE FROM reliable_imports.{table}",
        f"TRUNCATE reliable_imports.{table}",
    ):
        with pytest.raises(psycopg2.errors.RaiseException, match="history is only ever added to"):
            sql(statement)


class KeyedProcessor(PlainProcessor):
    natural_key = ("id", "regoin")


def test_a_natural_key_that_no_item_has_is_told(manager: BatchManager, sql: Sql) -> None:
    manager.registry.register(KeyedProcessor)
    told = manager.create_batch("keyed", [{"id": 1, "region": "north"}, "text", {"id": None}])
    assert list(manager.get_batch(told).warnings) == [
        "KeyedProcessor.natural_key names 'regoin', which no item of the batch has; duplicates are not found"
    ]
    logged = sql("SELECT message FROM reliable_imports.import_logs WHERE batch_id = %s AND level = 'warning'", told)
    assert [message for (message,) in logged] == list(manager.get_batch(told).warnings)

    fine = manager.create_batch("keyed", [{"id": 1}, {"id": 2, "regoin": None}])
    assert not manager.get_batch(fine).warnings
    assert not manager.get_batch(manager.create_batch("keyed", ["no object at all"])).warnings


def test_a_data_frame_is_no_list_of_items_but_its_records_are(manager: BatchManager, sql: Sql) -> None:
    frame = pandas.DataFrame({"id": [1, 2], "text": ["a", None]})
    with pytest.raises(ConfigurationError, match="pass its records"):
        manager.create_batch("notes", frame)
    manager.create_batch("notes", frame.to_dict("records"))
    assert sql("SELECT source_data ->> 'text' FROM reliable_imports.import_items ORDER BY item_number") == [
        ("a",),
        (None,),
    ]
