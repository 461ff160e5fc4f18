"""What a processor can do with its ImportContext, and what it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from reliable_imports import BaseProcessor, BatchManager, BatchSummary, ContextMisuse, ImportBatchItem, ImportContext
from tests.core.conftest import Sql


@pytest.fixture
def run(manager: BatchManager) -> Callable[..., BatchSummary]:
    """Process items with a function in place of process_item."""

    def run(process: Callable[[ImportBatchItem, ImportContext], Any], *items: object) -> BatchSummary:
        class AdHocProcessor(BaseProcessor):
            def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
                process(item, ctx)
                return None

        manager.registry.register(AdHocProcessor)
        return manager.process_batch(manager.create_batch("ad_hoc", items or [{}]))

    return run


def test_rows_come_as_dicts(run: Callable[..., BatchSummary]) -> None:
    seen: list[Any] = []

    def process(item: ImportBatchItem, ctx: ImportContext) -> None:
        seen.append(ctx.execute("INSERT INTO notes (id, text) VALUES (1, %s), (2, %s)", ["a", "b"]))
        seen.append(ctx.fetch_one("SELECT id, text FROM notes WHERE id = %(id)s", {"id": 2}))
        seen.append(ctx.fetch_one("SELECT id FROM notes WHERE id = 3"))
        seen.append(ctx.fetch_all("SELECT id FROM notes ORDER BY id"))
        seen.append(ctx.fetch_value("SELECT count(*) FROM notes"))
        seen.append(ctx.fetch_value("SELECT 100 WHERE '50%' = 'x'"))

    assert run(process).completed_items == 1
    assert seen == [2, {"id": 2, "text": "b"}, None, [{"id": 1}, {"id": 2}], 2, None]


def test_a_read_sees_the_declared_writes_before_it(run: Callable[..., BatchSummary]) -> None:
    seen: list[Any] = []

    def process(item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("notes", {"id": item.item_number, "text": "declared"}, key="id")
        if item.item_number == 3:
            seen.append(ctx.fetch_value("SELECT count(*) FROM notes"))

    assert run(process, {}, {}, {}).completed_items == 3
    assert seen == [3]


def test_upsert_returns_what_it_is_asked_for(run: Callable[..., BatchSummary], sql: Sql) -> None:
    seen: list[Any] = []

    def process(item: ImportBatchItem, ctx: ImportContext) -> None:
        seen.append(ctx.upsert("public.notes", {"id": 1, "text": f"v{item.item_number}"}, key="id", returning="text"))
        seen.append(ctx.upsert("places", {"id": 50}, key=["id"], returning="id"))
        seen.append(ctx.insert("places", {"id": 60 + item.item_number}, returning="id"))

    assert run(process, {}, {}).completed_items == 2
    assert seen == ["v1", 50, 61, "v2", 50, 62]
    assert sql("SELECT text FROM notes") == [("v2",)]


def test_an_immediate_write_can_be_caught_only_as_misuse(run: Callable[..., BatchSummary]) -> None:
    caught: list[BaseException] = []

    def process(item: ImportBatchItem, ctx: ImportContext) -> None:
        try:
            ctx.upsert("notes", {"id": 1, "text": "bad"}, key="id", returning="id")
        except Exception as error:
            caught.append(error)
        with pytest.raises(ContextMisuse, match="an SQL error \\(CheckViolation\\) was caught and ignored"):
            ctx.fetch_value("SELECT 1")

    assert run(process).failed_items == 1
    assert len(caught) == 1


def test_values_of_many_types_are_written(run: Callable[..., BatchSummary], sql: Sql) -> None:
    sql("CREATE TABLE types (id integer PRIMARY KEY, tags text[], facts jsonb, list jsonb, day date, amount numeric)")

    def process(item: ImportBatchItem, ctx: ImportContext) -> None:
        row = {
            "id": 1,
            "tags": ["a", "b"],
            "facts": {"x": [1, "%s"]},
            "list": [{"y": 1}],
            "day": "2013-01-01",
            "amount": "1.10",
        }
        ctx.upsert("types", row, key="id")

    assert run(process).completed_items == 1
    assert sql("SELECT tags, facts, list, day::text, amount::text FROM types") == [
        (["a", "b"], {"x": [1, "%s"]}, [{"y": 1}], "2013-01-01", "1.10")
    ]


@pytest.mark.parametrize(
    ("row", "key", "error", "words"),
    [
        ({"text": "a"}, "id", "ContextMisuse", "lacks its key: id"),
        ({"id": 1, "txet": 1}, "id", "UnusableTarget", "has no column txet; did you mean text?"),
    ],
)
def test_an_impossible_upsert_says_why(
    manager: BatchManager, run: Callable[..., BatchSummary], row: dict[str, Any], key: str, error: str, words: str
) -> None:
    summary = run(lambda item, ctx: ctx.upsert("notes", row, key=key))

    (failed,) = manager.list_items(summary.batch_id)
    assert failed.error_type == error
    assert words in (failed.error_message or "")


def test_identifiers_are_quoted(run: Callable[..., BatchSummary], sql: Sql) -> None:
    sql('CREATE TABLE "Odd "" table" ("a; DROP TABLE notes" integer PRIMARY KEY)')
    summary = run(lambda item, ctx: ctx.upsert('Odd " table', {"a; DROP TABLE notes": 1}, key="a; DROP TABLE notes"))

    assert summary.completed_items == 1
    assert sql("SELECT count(*) FROM notes") == [(0,)]


def test_a_lookup_is_remembered_for_the_run(run: Callable[..., BatchSummary], sql: Sql) -> None:
    seen: list[Any] = []

    def process(item: ImportBatchItem, ctx: ImportContext) -> None:
        seen.append(ctx.lookup("places", {"id": 2}, column="id"))
        if item.item_number == 1:
            ctx.execute("DELETE FROM places WHERE id = 2")
        seen.append(ctx.lookup("places", {"id": 99}))

    assert run(process, {}, {}).completed_items == 2
    assert seen == [2, None, 2, None]


def test_a_lookup_of_an_item_that_failed_is_forgotten(run: Callable[..., BatchSummary]) -> None:
    seen: list[Any] = []

    def process(item: ImportBatchItem, ctx: ImportContext) -> None:
        if item.item_number == 1:
            ctx.execute("INSERT INTO places VALUES (70)")
            seen.append(ctx.lookup("places", {"id": 70}))
            raise ValueError("undone")
        seen.append(ctx.lookup("places", {"id": 70}))

    run(process, {}, {})
    assert seen == [70, None]


def test_a_context_is_refused_after_its_item(run: Callable[..., BatchSummary]) -> None:
    kept: list[ImportContext] = []
    run(lambda item, ctx: kept.append(ctx))

    with pytest.raises(ContextMisuse, match="belongs to an item that has ended"):
        kept[0].execute("SELECT 1")


def test_logs_are_tied_to_batch_item_and_run(
    manager: BatchManager, run: Callable[..., BatchSummary], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "reliable_imports"):
        summary = run(lambda item, ctx: ctx.log("looked at it", level="warning", colour="red"))

    (entry,) = manager.list_logs(summary.batch_id, item_number=1)
    assert (entry.level, entry.message, entry.details) == ("warning", "looked at it", {"colour": "red"})
    assert entry.run_id == manager.list_runs(batch_id=summary.batch_id)[0].run_id
    (forwarded,) = [record for record in caplog.records if record.message == "looked at it"]
    assert (forwarded.levelname, forwarded.batch_id, forwarded.item_number) == ("WARNING", summary.batch_id, 1)  # type: ignore[attr-defined]


def test_logs_of_a_failed_item_are_kept(manager: BatchManager) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "ok", "do": "log and raise"}])
    manager.process_batch(batch_id)

    (entry,) = manager.list_logs(batch_id, item_number=1)
    assert (entry.level, entry.message) == ("info", "about to fail")


def test_statements_that_return_nothing_cannot_be_fetched(
    run: Callable[..., BatchSummary], manager: BatchManager
) -> None:
    summary = run(lambda item, ctx: ctx.fetch_one("INSERT INTO places VALUES (80)"))

    (failed,) = manager.list_items(summary.batch_id)
    assert "returns no rows" in (failed.error_message or "")


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError


class PrintsNul:
    def __repr__(self) -> str:
        return "a\0b"


@pytest.mark.parametrize(
    "value", ["a\0b", "\ud800", float("nan"), {1, 2}, object(), "\\u0000", Unprintable(), PrintsNul()]
)
def test_any_details_can_be_logged(manager: BatchManager, run: Callable[..., BatchSummary], value: object) -> None:
    summary = run(lambda item, ctx: ctx.log("odd\0 \ud800", value=value))

    assert summary.completed_items == 1
    (entry,) = manager.list_logs(summary.batch_id, item_number=1)
    assert entry.message.startswith("odd")
    assert entry.details


def test_details_are_kept_as_they_were_when_they_were_logged(
    manager: BatchManager, run: Callable[..., BatchSummary]
) -> None:
    seen: dict[str, int] = {}

    def process(item: ImportBatchItem, ctx: ImportContext) -> None:
        seen[str(item.item_number)] = 1
        ctx.log("so far", seen=seen)

    summary = run(process, {}, {})

    (entry,) = manager.list_logs(summary.batch_id, item_number=1)
    assert entry.details == {"seen": {"1": 1}}


def test_any_reason_to_skip_can_be_recorded(manager: BatchManager, run: Callable[..., BatchSummary]) -> None:
    summary = run(lambda item, ctx: ctx.skip("nothing\0 \ud800"))

    assert summary.skipped_items == 1
    assert manager.list_items(summary.batch_id)[0].skip_reason == "nothing ?"
