"""Items that share a subtransaction: when one fails, the others keep their writes, and no code of theirs runs again."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from reliable_imports import BaseProcessor, BatchManager, BatchSummary, Failure, ImportBatchItem, ImportContext
from reliable_imports.engine.isolation import savepoints
from tests.core.conftest import Sql

pytestmark = pytest.mark.promise(3)

_OWN = "INSERT INTO shared (item, text) VALUES (%s, %s)"
_FAILED = "SELECT item_number, sqlstate FROM reliable_imports.import_attempts WHERE outcome = 'failed'"
_MOST_SUBTRANSACTIONS = """
    SELECT max(used)
    FROM (
        SELECT count(DISTINCT shared.xmin::text) AS used
        FROM shared
        JOIN reliable_imports.import_attempts AS attempt ON attempt.item_number = shared.item
        GROUP BY attempt.xmin::text
    ) AS by_chunk
"""


class SharedProcessor(BaseProcessor):
    """Writes by a statement of its own, or by a declared write; a text of `bad` is refused by the server."""

    tries: ClassVar[Counter[int]] = Counter()
    parent: int | None = None

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any] | None:
        self.tries[item.item_number] += 1
        row = {"item": item.item_number, "text": item.source_data.get("text", "ok")}
        match item.source_data.get("how", "own"):
            case "own":
                ctx.execute(_OWN, list(row.values()))
            case "raise":
                ctx.execute(_OWN, list(row.values()))
                raise ValueError("after its write")
            case "comment":
                ctx.execute(f"{_OWN}; -- and a remark at the end", list(row.values()))
            case "unseen":
                ctx.execute(f"{_OWN} RETURNING id", list(row.values()))
            case "several":
                ctx.execute(_OWN, list(row.values()))
                ctx.execute("UPDATE shared SET text = 'changed' WHERE item = %s", [item.item_number])
            case "declared":
                ctx.insert("shared", row)
            case "returning":
                return {"target_id": ctx.insert("shared", row, returning="id")}
            case "swallow":
                with suppress(UnicodeEncodeError):
                    ctx.execute("INSERT INTO shared (text) VALUES ('\ud800')")
            case "parent":
                ctx.execute("INSERT INTO parent DEFAULT VALUES")
            case "remember and raise":
                ctx.execute(_OWN, list(row.values()))
                self.parent = ctx.fetch_value("SELECT max(id) FROM parent")
                raise ValueError("after it has read")
            case "meet, remember and raise":
                ctx.execute(_OWN, list(row.values()))
                self.parent = ctx.fetch_value(
                    "INSERT INTO parent (code) VALUES ('x') ON CONFLICT (code) DO UPDATE SET code = 'x' RETURNING id"
                )
                raise ValueError("after it was told")
            case "upsert, remember and raise":
                self.parent = ctx.upsert("parent", {"code": "x"}, key="code", returning="id")
                raise ValueError("after it was told")
            case "child":
                self.parent = self.parent or ctx.fetch_value("SELECT max(id) FROM parent")
                ctx.execute("INSERT INTO child VALUES (%s)", [self.parent])
            case "once":
                touched = ctx.execute(
                    "INSERT INTO shared (item) SELECT %s WHERE nextval('once') = 1", [item.item_number]
                )
                return {"touched": touched}
        return None


@pytest.fixture(params=["some constraint is deferrable", "none is"])
def shared(manager: BatchManager, sql: Sql, request: pytest.FixtureRequest) -> BatchManager:
    if request.param == "none is":
        found = sql("SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE condeferrable")
        for table, name in found:
            sql(f"ALTER TABLE {table} ALTER CONSTRAINT {name} NOT DEFERRABLE")
    sql(
        "CREATE TABLE shared (id serial PRIMARY KEY, item bigint, text text DEFAULT 'ok' CHECK (text <> 'bad')); "
        "CREATE SEQUENCE once"
    )
    SharedProcessor.tries = Counter()
    manager.registry.register(SharedProcessor)
    return manager


def _run(manager: BatchManager, items: list[dict[str, Any]]) -> BatchSummary:
    return manager.process_batch(manager.create_batch("shared", items))


@pytest.mark.parametrize("others", ["own", "unseen", "comment", "several"])
@pytest.mark.parametrize("failure", [{"text": "bad"}, {"how": "raise"}])
def test_neighbours_of_a_failure_keep_their_writes(
    shared: BatchManager, sql: Sql, failure: dict[str, str], others: str
) -> None:
    for bad in (1, 2, 30, 60):
        SharedProcessor.tries.clear()
        sql("TRUNCATE shared")
        items = [failure if number == bad else {"how": others} for number in range(1, 61)]
        summary = _run(shared, items)

        assert (summary.completed_items, summary.failed_items) == (59, 1)
        assert [row[0] for row in sql("SELECT item FROM shared ORDER BY item")] == [n for n in range(1, 61) if n != bad]
        text = "changed" if others == "several" else "ok"
        assert sql("SELECT DISTINCT text FROM shared") == [(text,)]
        assert set(SharedProcessor.tries.values()) == {1}, "no item's code runs again because of another"


def test_an_item_that_was_told_an_id_keeps_it(shared: BatchManager, sql: Sql) -> None:
    items: list[dict[str, Any]] = [{"how": "returning"}, {}, {"how": "returning"}, {"text": "bad"}] * 10
    batch_id = shared.create_batch("shared", items)
    shared.process_batch(batch_id)

    told = {each.item_number: each.result["target_id"] for each in shared.list_items(batch_id) if each.result}
    assert len(told) == 20
    assert told == dict(sql("SELECT item, id FROM shared WHERE item = ANY (%s)", list(told)))
    assert set(SharedProcessor.tries.values()) == {1}


def test_a_repeated_statement_that_touches_other_rows_is_found_out(shared: BatchManager, sql: Sql) -> None:
    batch_id = shared.create_batch("shared", [{"how": "once"}, {"text": "bad"}, {}])
    summary = shared.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (2, 1)
    (first, *_) = shared.list_items(batch_id)
    assert first.result is not None
    assert sql("SELECT count(*) FROM shared WHERE item = 1") == [(first.result["touched"],)]


def test_declared_writes_between_own_statements(shared: BatchManager, sql: Sql) -> None:
    items = [{"how": "declared"} if number % 3 else {} for number in range(100)]
    items[50] = {"text": "bad"}
    items[52] = {"how": "declared", "text": "bad"}
    items[99] = {"how": "raise"}
    summary = _run(shared, items)

    assert (summary.completed_items, summary.failed_items) == (97, 3)
    expected = [number for number in range(1, 101) if number not in (51, 53, 100)]
    assert [row[0] for row in sql("SELECT item FROM shared ORDER BY item")] == expected


@pytest.mark.parametrize("how", ["own", "unseen", "declared", "returning"])
@pytest.mark.parametrize("every", [3, 10, 100_000])
def test_a_transaction_has_at_most_50_subtransactions(shared: BatchManager, sql: Sql, how: str, every: int) -> None:
    items = [{"how": how, "text": "bad" if number % every == 2 else "ok"} for number in range(1, 601)]
    summary = _run(shared, items)

    assert summary.failed_items == len([item for item in items if item["text"] == "bad"])
    ((most,),) = sql(_MOST_SUBTRANSACTIONS)
    assert 1 <= most <= 50
    chunks = sql("SELECT count(DISTINCT xmin::text) FROM reliable_imports.import_attempts")[0][0]
    if every == 100_000:
        assert chunks <= 20, "hundreds of items share a transaction"


def test_fewer_items_share_a_savepoint_where_many_fail(
    shared: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(savepoints, "_MAX_REPEATED_SECONDS", 60)  # however busy the machine is
    items = [{"text": "bad" if number % 100 < 40 else "ok"} for number in range(1, 1201)]
    _run(shared, items)

    largest = [
        sql(
            "SELECT max(number) FROM "
            "(SELECT count(*) AS number FROM shared WHERE item BETWEEN %s AND %s GROUP BY xmin::text) AS by_savepoint",
            first, first + 59,
        )[0][0]
        for first in (40, 1140)
    ]  # fmt: skip
    assert largest[0] == 20
    assert largest[1] <= 5


@pytest.mark.parametrize("how", ["own", "declared"])
def test_every_item_of_a_group_may_fail(shared: BatchManager, sql: Sql, how: str) -> None:
    summary = _run(shared, [{"how": how, "text": "bad"}] * 70)

    assert (summary.completed_items, summary.failed_items) == (0, 70)
    assert sql("SELECT count(*) FROM shared") == [(0,)]


@pytest.mark.parametrize("bad", [None, 15, 25])
def test_declared_keys_that_only_the_server_takes_for_the_same(shared: BatchManager, sql: Sql, bad: int | None) -> None:
    # Of the type char, "x" and "x " are equal: PostgreSQL refuses one INSERT ... ON CONFLICT with both.
    class PaddedProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("padded", item.source_data, key="code")

    sql("CREATE TABLE padded (code char(5) PRIMARY KEY, item int, text text CHECK (text <> 'bad'))")
    shared.registry.register(PaddedProcessor)
    items = [{"code": f"c{number}", "item": number, "text": "bad" if number == bad else "ok"} for number in range(30)]
    items[10]["code"], items[20]["code"] = "x", "x "
    summary = shared.process_batch(shared.create_batch("padded", items))

    assert summary.failed_items == (0 if bad is None else 1)
    assert sql("SELECT count(*) FROM padded") == [(29 - summary.failed_items,)]
    assert sql("SELECT item FROM padded WHERE code = 'x'") == [(20,)]


@pytest.mark.parametrize("text", ["50% off", "%s", "%(room)s %(entries)s", "%%", "it's \\ and %"])
@pytest.mark.parametrize("last", ["declared", "own"])
def test_texts_of_neighbours_are_repeated_as_they_are(shared: BatchManager, sql: Sql, text: str, last: str) -> None:
    items = [{"text": text}, {"how": "raise"}, {"how": last, "text": text}, {"how": "raise"}]
    summary = _run(shared, items)

    assert (summary.completed_items, summary.failed_items) == (2, 2)
    assert sql("SELECT item, text FROM shared ORDER BY 1") == [(1, text), (3, text)]


def test_a_statement_that_was_never_sent_is_not_repeated(shared: BatchManager, sql: Sql) -> None:
    summary = _run(shared, [{"how": "swallow"}, {"how": "raise"}, {}])

    assert (summary.completed_items, summary.failed_items) == (2, 1)
    assert sql("SELECT item FROM shared") == [(3,)]


def test_statements_that_cannot_be_parsed_are_tried_once(shared: BatchManager, sql: Sql) -> None:
    class MisspellingProcessor(SharedProcessor):
        breaker_after = None

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            self.tries[item.item_number] += 1
            ctx.execute("INSERT INTO INTO shared" if item.item_number > 30 else _OWN, [item.item_number, "ok"])

    shared.registry.register(MisspellingProcessor)
    summary = shared.process_batch(shared.create_batch("misspelling", [{}] * 60))

    assert (summary.completed_items, summary.failed_items) == (30, 30)
    assert {number for number, tries in SharedProcessor.tries.items() if tries > 1} <= set(range(1, 32))


@pytest.mark.parametrize("how", ["remember and raise", "meet, remember and raise", "upsert, remember and raise"])
def test_what_a_failed_item_has_read_of_its_neighbours_stays_true(shared: BatchManager, sql: Sql, how: str) -> None:
    sql("CREATE TABLE parent (id serial PRIMARY KEY, code text UNIQUE DEFAULT 'x')")
    sql("CREATE TABLE child (parent int REFERENCES parent)")
    items = [{"how": each} for each in ("parent", how, "child")]
    summary = _run(shared, items)

    assert (summary.completed_items, summary.failed_items) == (2, 1)
    assert sql("SELECT count(*) FROM child JOIN parent ON parent.id = child.parent") == [(1,)]


def test_an_interrupt_that_is_swallowed_fails_its_item(shared: BatchManager, sql: Sql) -> None:
    class HastyProcessor(BaseProcessor):
        item_timeout = timedelta(minutes=1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 1:
                try:
                    ctx.execute(_OWN, [1, "early"])
                    signal.setitimer(signal.ITIMER_REAL, 0.1)  # as if nearly all of the minute had passed
                    ctx.execute("INSERT INTO shared (item) SELECT 1 FROM (SELECT pg_sleep(0.25)) AS late")
                except BaseException:
                    pass
            else:
                ctx.execute(_OWN, [item.item_number, "ok"])
                if item.item_number == 2:
                    raise ValueError("so that its neighbours are repeated")

    shared.registry.register(HastyProcessor)
    batch_id = shared.create_batch("hasty", [{}] * 3)
    shared.process_batch(batch_id)

    items = {each.item_number: each.status.value for each in shared.list_items(batch_id)}
    assert items == {1: "failed", 2: "failed", 3: "completed"}
    assert sql("SELECT item FROM shared") == [(3,)]


def test_hooks_of_refused_writes_keep_to_the_limit(shared: BatchManager, sql: Sql) -> None:
    class ComplainingProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            text = "bad" if item.item_number % 5 == 0 else "ok"
            ctx.insert("shared", {"item": item.item_number, "text": text})

        def on_item_error(self, item: ImportBatchItem, failure: Failure, ctx: ImportContext) -> None:
            ctx.insert("shared", {"item": item.item_number, "text": "complaint"}, returning="id")

    shared.registry.register(ComplainingProcessor)
    summary = shared.process_batch(shared.create_batch("complaining", [{}] * 1000))

    assert (summary.completed_items, summary.failed_items) == (800, 200)
    assert sql("SELECT count(*) FROM shared WHERE text = 'complaint'") == [(200,)]
    ((most,),) = sql(_MOST_SUBTRANSACTIONS)
    assert 1 <= most <= 51


def test_text_is_sent_as_it_is_whatever_the_dsn_asks_for(database: str, shared: BatchManager, sql: Sql) -> None:
    latin = BatchManager(f"{database}{'&' if '?' in database else '?'}client_encoding=LATIN1")
    latin.registry.register(SharedProcessor)
    for how in ("own", "declared"):
        assert latin.process_batch(latin.create_batch("shared", [{"text": "é'€", "how": how}])).completed_items == 1

    assert sql("SELECT DISTINCT text FROM shared") == [("é'€",)]


def test_declared_writes_are_not_lost_when_who_sends_them_is_interrupted(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE shared (item integer CHECK (item <> 5), at timestamp)")
    sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$")  # fmt: skip
    sql("CREATE TRIGGER slow BEFORE INSERT ON shared FOR EACH STATEMENT EXECUTE FUNCTION slow()")

    class InterruptedProcessor(BaseProcessor):
        item_timeout = timedelta(minutes=1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 21:
                signal.setitimer(signal.ITIMER_REAL, 0.05)  # as if nearly all of the minute had passed
                ctx.fetch_value("SELECT 1")
            else:
                ctx.insert("shared", {"item": item.item_number, "at": datetime(2024, 1, 1)})

    manager.registry.register(InterruptedProcessor)
    manager.process_batch(manager.create_batch("interrupted", ({} for _ in range(30))))

    assert sql("SELECT count(*) FROM shared") == [(28,)]
    assert (5, "23514") in sql(_FAILED)


def test_declared_writes_are_not_lost_when_their_lack_of_room_is_swallowed(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE shared (item integer, other integer)")

    class SwallowingProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            number = item.item_number
            if number <= 60:  # neighbours of different shapes, each of which needs a subtransaction
                ctx.insert("shared", {"item": number, "other": 1} if number % 2 else {"other": 1, "item": number})
            elif number == 61:
                with suppress(Exception):
                    ctx.fetch_value("SELECT 1")

    manager.registry.register(SwallowingProcessor)
    summary = manager.process_batch(manager.create_batch("swallowing", ({} for _ in range(3_200))))

    assert summary.completed_items == 3_200
    assert sql("SELECT count(*) FROM shared") == [(60,)]
