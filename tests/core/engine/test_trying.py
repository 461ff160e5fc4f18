"""A try says what a run would make of items, and leaves nothing behind."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import (
    BaseProcessor,
    BatchManager,
    ConfigurationError,
    ImportBatchItem,
    ImportContext,
    ReprocessRequest,
    TryEnded,
    TryOutcome,
    WhichItems,
)
from reliable_imports.engine import trying
from tests.conftest import Sql

TABLES = """
CREATE TABLE towns (name text PRIMARY KEY);
CREATE TABLE shops (
    id bigint GENERATED ALWAYS AS IDENTITY, name text PRIMARY KEY, size integer CHECK (size < 100),
    town text REFERENCES towns DEFERRABLE, opened date DEFAULT '2020-01-31'
);
CREATE TABLE visits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text);
CREATE TABLE parents (name text PRIMARY KEY, parent text REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE numbers (id integer PRIMARY KEY, name text);
INSERT INTO towns VALUES ('Ulm');
INSERT INTO shops (name, size, town) VALUES ('old', 1, 'Ulm'), ('same', 2, 'Ulm');
"""


class ShopsProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any]:
        data = item.source_data
        if data["name"] == "skipped":
            ctx.skip("nobody wants it")
        if data.get("own"):
            ctx.execute("UPDATE shops SET size = size WHERE name = %s", [data["name"]])
        if data.get("parent"):
            assert ctx.fetch_value("SELECT size FROM shops WHERE name = %s", [data["parent"]]) is not None
        if data.get("returning"):
            row = {"name": data["name"], "size": data["size"], "town": data.get("town", "Ulm")}
            return {"target_id": ctx.upsert("shops", row, key="name", returning="id")}
        if data.get("visits"):
            ctx.insert("visits", {"shop": data["name"]})
        elif not data.get("own"):
            row = {"name": data["name"], "size": data["size"], "town": data.get("town", "Ulm")}
            ctx.upsert("shops", row, key="name")
        return {"target_table": "shops"}


class StopsProcessor(ShopsProcessor):
    """Waits in the middle of a try, to be interrupted."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any]:
        result = super().process_item(item, ctx)
        if item.source_data["name"] == "stop":
            ctx.fetch_value("SELECT 1")
            print("reached", flush=True)
            sys.stdin.readline()
        return result


class MailsProcessor(ShopsProcessor):
    has_effects = True


ALL_TABLES = """
SELECT table_schema || '.' || table_name FROM information_schema.tables
WHERE table_schema IN ('public', 'reliable_imports') AND table_type = 'BASE TABLE' ORDER BY 1
"""


class Contents:
    """Everything that is in any table of the database, ours and the team's."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def __call__(self) -> dict[str, Any]:
        return {
            table: self._sql(f"SELECT t::text, xmin::text, ctid::text FROM {table} AS t ORDER BY 1")
            for (table,) in self._sql(ALL_TABLES)
        }


@pytest.fixture
def manager(database: str, sql: Sql) -> BatchManager:
    sql(TABLES)
    manager = BatchManager(database)
    for processor in (ShopsProcessor, MailsProcessor):
        manager.registry.register(processor)
    manager.migrate()
    return manager


@pytest.fixture
def contents(sql: Sql, manager: BatchManager) -> Iterator[Contents]:
    """Compares all tables before and after the test, which may only try."""
    contents = Contents(sql)
    before = contents()
    yield contents
    assert contents() == before


def test_a_try_tells_what_would_be_created_changed_and_left(manager: BatchManager, contents: Contents) -> None:
    tried = manager.try_items(
        "shops",
        [
            {"name": "new", "size": 7},
            {"name": "old", "size": 5},
            {"name": "same", "size": 2},
            {"name": "skipped"},
            {"name": "huge", "size": 100},
            {"name": "lost", "size": 1, "town": "Atlantis"},
            {"size": 1},
            {"name": "same", "own": True},
        ],
    )
    assert [item.outcome for item in tried.items] == [
        TryOutcome.CREATED,
        TryOutcome.CHANGED,
        TryOutcome.UNCHANGED,
        TryOutcome.SKIPPED,
        TryOutcome.FAILED,
        TryOutcome.FAILED,
        TryOutcome.FAILED,
        TryOutcome.COMPLETED,
    ]
    counts = (tried.created, tried.changed, tried.unchanged, tried.completed, tried.skipped, tried.failed)
    assert counts == (1, 1, 1, 1, 1, 3)
    new, old, _, skipped, huge, *_ = tried.items
    assert new.rows[0].before is None
    assert new.rows[0].after is not None
    assert new.rows[0].after["size"] == 7
    assert str(new.rows[0].after["opened"]) == "2020-01-31"
    assert old.rows[0].changes == {"size": (1, 5)}
    assert skipped.words == "nobody wants it"
    assert "CheckViolation" in (huge.words or "")
    assert {reason.items for reason in tried.reasons} == {1}


def test_an_item_finds_the_rows_of_those_before_it(manager: BatchManager, contents: Contents) -> None:
    items = [{"name": f"shop {number}", "size": 1} for number in range(1500)]
    child = {"name": "child", "size": 2, "parent": "shop 0"}
    again = {"name": "shop 0", "size": 3}
    tried = manager.try_items("shops", [*items, child, again])
    assert (tried.created, tried.changed, tried.failed) == (1501, 1, 0)
    assert tried.items[-1].rows[0].changes == {"size": (1, 3)}


def test_items_of_one_row_are_told_one_after_the_other(manager: BatchManager, contents: Contents) -> None:
    tried = manager.try_items("shops", [{"name": "twice", "size": size} for size in (1, 1, 2)])
    assert (tried.created, tried.unchanged, tried.changed) == (1, 1, 1)


def test_rows_that_are_written_at_once_are_told_too(manager: BatchManager, contents: Contents) -> None:
    tried = manager.try_items(
        "shops", [{"name": name, "size": 2, "returning": True} for name in ("old", "same", "new")]
    )
    assert (tried.changed, tried.unchanged, tried.created) == (1, 1, 1)
    assert tried.items[2].result is not None
    assert tried.items[2].rows[0].after is not None
    assert tried.items[2].result["target_id"] == tried.items[2].rows[0].after["id"]


def test_a_row_without_a_key_is_created(manager: BatchManager, contents: Contents) -> None:
    tried = manager.try_items("shops", [{"name": "old", "visits": True}])
    assert tried.created == 1
    assert tried.items[0].rows[0].after == {"shop": "old"}


@pytest.mark.parametrize("seconds", [60.0, 0.0])
def test_a_try_says_what_the_run_then_does(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(trying, "_LONGEST_SECONDS", seconds)
    chance = random.Random(7)
    items: list[dict[str, Any]] = []
    for number in range(1500):
        item: dict[str, Any] = {"name": f"n{number}", "size": chance.choice([1, 2, 99, 100])}
        if seconds:  # else the rows of earlier items may be gone
            item["name"] = chance.choice(["old", "same", f"n{chance.randrange(800)}", "skipped"])
        if number % 500 > 400:
            item[chance.choice(["own", "returning", "visits"])] = True
        if chance.random() < 0.01 and not item.get("returning"):
            item |= {"name": f"lost {number}", "town": "Atlantis"}
        items.append(item)
    tried = manager.try_items("shops", items)
    batch_id = manager.create_batch("shops", items)
    manager.process_batch(batch_id)
    done = sql(
        "SELECT status, reason FROM reliable_imports.import_batch_items WHERE batch_id = %s ORDER BY item_number",
        batch_id,
    )
    completed = {TryOutcome.CREATED, TryOutcome.CHANGED, TryOutcome.UNCHANGED, TryOutcome.COMPLETED}
    said = [("completed" if each.outcome in completed else each.outcome.value, each.reason) for each in tried.items]
    assert said == done
    shops = {
        row.after["name"]: row.after for item in tried.items for row in item.rows if row.after and row.table == "shops"
    }
    stand = sql("SELECT name, size, town FROM shops")
    assert {name: (row["size"], row["town"]) for name, row in shops.items()}.items() <= {
        name: (size, town) for name, size, town in stand
    }.items()


def test_effects_outside_the_database_are_tried_only_on_request(manager: BatchManager, contents: Contents) -> None:
    with pytest.raises(ConfigurationError, match="has_effects"):
        manager.try_items("mails", [{"name": "new", "size": 7}])
    assert manager.try_items("mails", [{"name": "new", "size": 7}], with_effects=True).created == 1


def test_a_sample_lies_evenly_over_all_items(manager: BatchManager, contents: Contents) -> None:
    tried = manager.try_items("shops", [{"name": f"n{number}", "size": 1} for number in range(1000)], sample=10)
    assert [item.item_number for item in tried.items] == list(range(100, 1001, 100))
    assert tried.total_items == 1000


def test_failures_are_tried_under_todays_code(manager: BatchManager, sql: Sql) -> None:
    items = [{"name": f"huge {number}", "size": 100 + number} for number in range(6)]
    items += [{"name": f"lost {number}", "size": number, "town": "Atlantis"} for number in range(4)]
    batch_id = manager.create_batch("shops", items)
    manager.process_batch(batch_id)
    sql("ALTER TABLE shops DROP CONSTRAINT shops_size_check; ALTER TABLE shops ADD CHECK (size <> 105)")
    before = Contents(sql)()
    tried = manager.try_reprocess(batch_id)
    assert (tried.created, tried.failed, tried.same_reason) == (5, 5, 5)
    assert [item.item_number for item in tried.items] == list(range(1, 11))
    sampled = manager.try_reprocess(batch_id, sample=2)
    assert [item.item_number for item in sampled.items] == [3, 6, 8, 10]
    (reason,) = [each.reason for each in manager.failure_reasons(batch_id) if each.items == 4]
    chosen = manager.try_reprocess(batch_id, ReprocessRequest(reasons=[reason]))
    assert [item.item_number for item in chosen.items] == [7, 8, 9, 10]
    assert Contents(sql)() == before


def test_completed_items_tell_what_would_come_out_differently(manager: BatchManager, sql: Sql) -> None:
    batch_id = manager.create_batch("shops", [{"name": name, "size": 2} for name in ("old", "same", "new")])
    manager.process_batch(batch_id)
    sql("UPDATE shops SET size = 1 WHERE name = 'old'")
    before = Contents(sql)()
    tried = manager.try_reprocess(batch_id, ReprocessRequest(which=WhichItems.ALL))
    assert (tried.changed, tried.unchanged) == (1, 2)
    assert manager.try_items("shops", batch_id).changed == 1
    assert Contents(sql)() == before


STOP = [{"name": f"n{number}", "size": 1} for number in range(1200)] + [{"name": "stop", "size": 1}]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_try_that_was_ended(contents: Contents, database: str, sql: Sql, number: int) -> None:
    before = contents()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.core.engine.test_trying", database],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "reached\n"
        child.send_signal(number)
        if number == signal.SIGKILL:
            assert child.wait(timeout=60) == -signal.SIGKILL
            assert contents() == before
        _, said = child.communicate("\n", timeout=60)
    assert "KeyboardInterrupt" in said or child.returncode == -number
    assert sql("SELECT count(*) FROM shops WHERE name = 'n1'") == [(0,)]


def test_items_that_no_processor_sees_are_told_as_in_a_run(
    manager: BatchManager, contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShopsProcessor, "natural_key", ("name",))
    file = tmp_path / "shops.jsonl"
    file.write_text('{"name": "one", "size": 1}\nnonsense\n{"name": "one", "size": 2}\n')
    tried = manager.try_items("shops", manager.open_source("shops", file))
    assert [item.outcome for item in tried.items] == [TryOutcome.SKIPPED, TryOutcome.FAILED, TryOutcome.CREATED]
    assert "item 3 of this batch has the same natural key" in (tried.items[0].words or "")
    assert "UnreadableItem" in (tried.items[1].words or "")


def test_an_item_that_waits_for_a_later_one_is_tried_again(manager: BatchManager, contents: Contents) -> None:
    manager.registry.register(ParentsProcessor)
    chain = [{"name": f"n{number}", "parent": f"n{number + 1}"} for number in range(5)]
    tried = manager.try_items("parents", [*chain, {"name": "n5"}, {"name": "lost", "parent": "nobody"}])
    assert (tried.created, tried.failed) == (6, 1)
    assert tried.items[6].outcome is TryOutcome.FAILED


class ParentsProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("parents", item.source_data, key="name")


def test_tables_that_only_the_setup_makes_are_there_and_are_not_left(
    manager: BatchManager, contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    setup = tmp_path / "setup.sql"
    setup.write_text("CREATE TABLE IF NOT EXISTS more (name text PRIMARY KEY);")
    monkeypatch.setattr(MoreProcessor, "setup_sql", setup)
    manager.registry.register(MoreProcessor)
    assert manager.try_items("more", [{"name": "a"}]).created == 1
    assert sql("SELECT to_regclass('more')") == [(None,)]
    setup.write_text("CREATE TABLE nonsense nonsense")
    with pytest.raises(TryEnded, match="set-up"):
        manager.try_items("more", [{"name": "a"}])


class MoreProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("more", item.source_data, key="name")


def test_hooks_that_tell_of_a_batch_are_not_called(
    manager: BatchManager, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(ShopsProcessor, "on_batch_start", lambda *args: called.append("start"))
    monkeypatch.setattr(ShopsProcessor, "on_item_error", lambda *args: called.append("error"))
    monkeypatch.setattr(ShopsProcessor, "on_batch_complete", lambda *args: called.append("complete"))
    monkeypatch.setattr(ShopsProcessor, "prepare_item", lambda self, item: called.append("prepare"))
    manager.try_items("shops", [{"name": "huge", "size": 100}])
    assert called == ["prepare", "start"]


def test_a_long_try_lets_go_of_rows_and_says_what_may_be_missing_for_it(
    manager: BatchManager, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "_LONGEST_SECONDS", 0.0)
    manager.registry.register(ParentsProcessor)
    items = [{"name": f"n{number}"} for number in range(1000)]
    tried = manager.try_items("parents", [*items, {"name": "child", "parent": "n1"}])
    assert (tried.created, tried.failed) == (1000, 1)
    assert tried.items[1000].may_lack_rows


def test_one_item_that_ends_the_transaction_fails_alone(manager: BatchManager, contents: Contents) -> None:
    manager.registry.register(SpoilsProcessor)
    tried = manager.try_items("spoils", [{"name": "a"}, {"name": "spoil"}, {"name": "b"}])
    assert [item.outcome.value for item in tried.items] == ["created", "failed", "created"]


class SpoilsProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        if item.source_data["name"] == "spoil":
            ctx.execute("SELECT 1")
            ctx._state.database.chunk.transaction.connection.cursor().execute("ROLLBACK")  # type: ignore[attr-defined]
        ctx.upsert("parents", item.source_data, key="name")


def test_a_key_that_is_no_value_of_its_column_fails_its_item_alone(manager: BatchManager, contents: Contents) -> None:
    manager.registry.register(NumbersProcessor)
    tried = manager.try_items("numbers", [{"id": 1, "name": "a"}, {"id": "x", "name": "b"}, {"id": 2, "name": "c"}])
    assert [item.outcome.value for item in tried.items] == ["created", "failed", "created"]


class NumbersProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("numbers", item.source_data, key="id")


if __name__ == "__main__":
    starting = BatchManager(sys.argv[1])
    starting.registry.register(StopsProcessor)
    starting.try_items("stops", STOP)
