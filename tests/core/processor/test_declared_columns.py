"""Declared rows that travel as columns: what arrives is what arrives row by row, and what is refused is refused."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ContextMisuse, ImportBatchItem, ImportContext
from tests.core.conftest import Sql

pytestmark = pytest.mark.promise(2)

ROWS: list[dict[str, Any]] = []
"""What the items declare; JSON could not hold all of it."""

Import = Callable[..., Any]


class RowsProcessor(BaseProcessor):
    table = "target"
    key: tuple[str, ...] = ()

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        row = ROWS[item.source_data["row"]]
        if self.key:
            ctx.upsert(self.table, row, key=self.key)
        else:
            ctx.insert(self.table, row)


@pytest.fixture
def import_rows(manager: BatchManager, sql: Sql) -> Import:
    """Declares the rows as items of one batch."""

    def run(rows: list[dict[str, Any]], *, key: tuple[str, ...] = (), table: str = "target") -> Any:
        class ThisProcessor(RowsProcessor):
            batch_type = "rows"

        ThisProcessor.key, ThisProcessor.table = key, table
        ROWS[:] = rows
        manager.registry = type(manager.registry)()
        manager.registry.register(ThisProcessor)
        return manager.process_batch(manager.create_batch("rows", ({"row": row} for row in range(len(rows)))))

    return run


def test_rows_of_one_kind_are_one_statement(import_rows: Import, sql: Sql) -> None:
    sql(
        "CREATE TABLE target (id integer PRIMARY KEY, name text, amount numeric, ratio float8, is_new boolean, "
        "day date, nothing text)"
    )
    rows = [
        {
            "id": number,
            "name": f"'{number}'\\ \"%s\" é\n",
            "amount": Decimal("1.50"),
            "ratio": number / 7,
            "is_new": number % 2 == 0,
            "day": date(2024, 2, 29),
            "nothing": None,
        }
        for number in range(100)
    ]

    assert import_rows(rows, key=("id",)).completed_items == 100

    by_statement = sql("SELECT count(*) FROM target GROUP BY xmin::text, cmin::text")
    assert by_statement == [(50,), (50,)], "the batch has two ranges"
    assert sql("SELECT * FROM target ORDER BY id") == [tuple(row.values()) for row in rows]


@pytest.fixture
def ignored_sigterm() -> Iterator[None]:
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, previous)


# For each type of a column, values that a program might have for it, and some that the type refuses.
_TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    st.sampled_from(["", "NULL", "\x1e", "\x1f", "a\x1eb", "\\N", "{}", "'", '"', "%s", "nan", "1.5", "007", "true"]),
)
_NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.integers(-5, 5))
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": _TEXTS,
    "varchar(3)": _TEXTS,
    "char(3)": _TEXTS,
    "integer": st.one_of(_NUMBERS, st.sampled_from(["7", "007", "x", "", " 8 "]), st.booleans(), st.floats(-9, 9)),
    "bigint": _NUMBERS,
    "smallint": _NUMBERS,
    "numeric": st.one_of(_NUMBERS, st.floats(), st.decimals(allow_nan=True, allow_infinity=False), st.just("1e3")),
    "numeric(5,2)": st.one_of(st.floats(-2000, 2000), st.decimals(-2000, 2000), st.just("12.345")),
    "double precision": st.one_of(st.floats(), _NUMBERS, st.sampled_from(["NaN", "-inf", "1e-400"])),
    "real": st.floats(width=32),
    "boolean": st.one_of(st.booleans(), st.integers(0, 1), st.sampled_from(["yes", "off", "2"])),
    "date": st.one_of(st.dates(), st.sampled_from(["2024-02-30", "2024-02-29", "infinity"])),
    "timestamp(0)": st.one_of(st.datetimes(), st.dates(), st.just("2024-01-01 00:00:00.7+09")),
    "timestamptz": st.one_of(st.datetimes(), st.just("2024-01-01 00:00:00.7+09")),
    "uuid": st.one_of(st.uuids().map(str), st.just("no")),
    "integer[]": st.sampled_from(["{1,2}", "{", [1, 2], []]),
    "bit(2)": st.sampled_from(["10", "101", "1"]),
    "interval": st.sampled_from(["1 day", "x"]),
    "positive": st.one_of(st.integers(-2, 5), st.just("3")),
    "three": _TEXTS,
}


@pytest.mark.parametrize("column", _VALUES)
def test_what_arrives_is_what_arrives_row_by_row(import_rows: Import, sql: Sql, database: str, column: str) -> None:
    sql("CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
    sql("CREATE DOMAIN three AS varchar(3)")
    sql(f"CREATE TABLE target (id integer, value {column})")
    sql(f"CREATE TABLE one_by_one (id integer, value {column})")
    connection = psycopg2.connect(database)
    connection.autocommit = True
    cursor = connection.cursor()

    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.one_of(st.none(), _VALUES[column]), min_size=12, max_size=20))
    def same(values: list[Any]) -> None:
        sql("TRUNCATE target, one_by_one")
        for number, value in enumerate(values):
            try:
                cursor.execute("INSERT INTO one_by_one VALUES (%s, %s)", [number, value])
            except (psycopg2.Error, ValueError, OverflowError):
                continue
        summary = import_rows([{"id": number, "value": value} for number, value in enumerate(values)])

        by_rows = sql("SELECT id, value::text FROM one_by_one ORDER BY id")
        assert sql("SELECT id, value::text FROM target ORDER BY id") == by_rows
        assert summary.completed_items == len(by_rows)

    same()
    connection.close()


def test_a_refused_row_is_found_and_the_others_arrive(import_rows: Import, sql: Sql) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, n integer CHECK (n >= 0))")

    summary = import_rows([{"id": number, "n": -1 if number in (3, 77) else number} for number in range(100)])

    assert (summary.completed_items, summary.failed_items) == (98, 2)
    assert sql("SELECT count(*) FROM target WHERE n = id") == [(98,)]
    failed = sql("SELECT item_number, sqlstate, constraint_name FROM reliable_imports.import_attempts "
                 "WHERE outcome = 'failed' ORDER BY item_number")  # fmt: skip
    assert failed == [(4, "23514", "target_n_check"), (78, "23514", "target_n_check")]


def test_a_deferred_constraint_refuses_its_row_too(import_rows: Import, sql: Sql) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, other integer REFERENCES target DEFERRABLE INITIALLY DEFERRED)")

    summary = import_rows([{"id": number, "other": 1_000 if number == 50 else None} for number in range(100)])

    assert (summary.completed_items, summary.failed_items) == (99, 1)
    assert sql("SELECT count(*), count(*) FILTER (WHERE id = 50) FROM target") == [(99, 0)]


def test_rows_of_one_key_are_written_in_their_order(import_rows: Import, sql: Sql) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, n integer)")

    summary = import_rows([{"id": number % 10, "n": number} for number in range(100)], key=("id",))

    assert summary.completed_items == 100
    assert sql("SELECT id, n FROM target ORDER BY id") == [(number, 90 + number) for number in range(10)]


def test_an_item_whose_row_a_trigger_leaves_out_is_skipped(import_rows: Import, sql: Sql) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY)")
    sql("CREATE FUNCTION no_odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.id % 2 = 1 THEN RETURN NULL; END IF; RETURN NEW; END $$")  # fmt: skip
    sql("CREATE TRIGGER no_odd BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION no_odd()")

    summary = import_rows([{"id": number} for number in range(100)])

    assert (summary.completed_items, summary.skipped_items) == (50, 50)
    assert sql("SELECT count(*) FROM target") == [(50,)]


def test_names_are_quoted(import_rows: Import, sql: Sql) -> None:
    sql('CREATE SCHEMA "100% ""mine"""')
    sql('CREATE TABLE "100% ""mine"""."a ""t%s" ("the id" integer PRIMARY KEY, "%(n)s" text)')

    rows = [{"the id": number, "%(n)s": "x"} for number in range(100)]
    assert import_rows(rows, table='100% "mine".a "t%s', key=("the id",)).completed_items == 100

    assert sql('SELECT count(*) FROM "100% ""mine"""."a ""t%s"') == [(100,)]


def test_a_column_that_is_altered_meanwhile_gets_what_was_declared(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, code integer)")

    class AlteringProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.insert("target", {"id": item.item_number, "code": "007"})

    def alter(summary: Any) -> None:
        sql("ALTER TABLE target ALTER COLUMN code TYPE text USING lpad(code::text, 3, '0')")

    manager.registry.register(AlteringProcessor)
    summary = manager.process_batch(manager.create_batch("altering", ({} for _ in range(5_000))), on_progress=alter)

    assert summary.status is BatchStatus.COMPLETED
    assert sql("SELECT code, count(*) FROM target GROUP BY 1") == [("007", 5_000)]


def test_a_trigger_that_a_partition_gets_meanwhile_is_noticed(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (id bigint PRIMARY KEY) PARTITION BY RANGE (id)")
    sql("CREATE TABLE target_part PARTITION OF target DEFAULT")
    sql("CREATE FUNCTION drop_even() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN CASE WHEN NEW.id % 2 = 1 THEN NEW END; END $$")  # fmt: skip

    class AlteringProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 1_500:
                sql("CREATE TRIGGER odd BEFORE INSERT ON target_part FOR EACH ROW EXECUTE FUNCTION drop_even()")
            ctx.insert("target", {"id": item.item_number})

    manager.registry.register(AlteringProcessor)
    summary = manager.process_batch(manager.create_batch("altering", ({} for _ in range(3_000))))

    assert summary.skipped_items > 700
    assert sql("SELECT count(*) FROM target") == [(summary.completed_items,)]


@pytest.mark.parametrize("good", [20, 19])
def test_a_partition_that_is_not_written_to_is_not_waited_for(
    manager: BatchManager, sql: Sql, database: str, good: int
) -> None:
    sql("CREATE TABLE target (id bigint PRIMARY KEY, CHECK (id < 20)) PARTITION BY RANGE (id)")
    sql("CREATE TABLE target_now PARTITION OF target FOR VALUES FROM (0) TO (1000)")
    sql("CREATE TABLE target_old PARTITION OF target FOR VALUES FROM (-1000) TO (0)")

    class PatientProcessor(BaseProcessor):
        statement_timeout = timedelta(seconds=30)  # of which a statement that waits has had enough

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.insert("target", {"id": item.item_number - (good - 19)})

    manager.registry.register(PatientProcessor)
    batch_id = manager.create_batch("patient", ({} for _ in range(20)))
    with psycopg2.connect(database) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE target_old IN ACCESS EXCLUSIVE MODE")
        summary = manager.process_batch(batch_id)
    other.close()

    assert (summary.completed_items, summary.failed_items) == (good, 20 - good)


def test_a_schema_that_this_role_may_not_use_fails_its_items(import_rows: Import, sql: Sql) -> None:
    summary = import_rows([{"id": number} for number in range(15)], table="nowhere.target")

    assert summary.failed_items == 15


def test_minus_zero_is_what_a_number_in_sql_is(import_rows: Import, sql: Sql) -> None:
    sql("CREATE TABLE target (id integer, value float8)")
    sql("INSERT INTO target VALUES (%s, %s)", 0, -0.0)

    import_rows([{"id": number, "value": -0.0} for number in range(1, 15)])

    assert sql("SELECT value::text, count(*) FROM target GROUP BY 1") == [("0", 15)]


def test_a_trigger_that_leaves_rows_out_fires_once_for_each(import_rows: Import, sql: Sql) -> None:
    sql("CREATE TABLE target (id integer)")
    sql("CREATE SEQUENCE firings")
    sql("CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM nextval('firings'); RETURN NULL; END $$")  # fmt: skip
    sql("CREATE TRIGGER dropped BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION drop_row()")

    assert import_rows([{"id": number} for number in range(200)]).skipped_items == 200

    assert sql("SELECT last_value FROM firings") == [(200,)]


@pytest.mark.parametrize("table", ["another.database.target", "a.b.c.d"])
def test_a_table_that_cannot_be_fails_each_item_once(manager: BatchManager, table: str) -> None:
    tried = []

    class UnnameableProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            tried.append(item.item_number)
            ctx.insert(table, {"id": item.item_number})

    manager.registry.register(UnnameableProcessor)

    assert manager.process_batch(manager.create_batch("unnameable", ({} for _ in range(15)))).failed_items == 15
    assert tried == list(range(1, 16))


def test_a_name_that_no_table_can_have_ends_no_run(manager: BatchManager) -> None:
    class StubbornProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            with suppress(ContextMisuse):
                ctx.upsert("a\0b", {"id": 1}, key="id")

    manager.registry.register(StubbornProcessor)

    assert manager.process_batch(manager.create_batch("stubborn", [{}])).completed_items == 1


def test_a_statement_that_is_cancelled_because_we_must_stop_is_not_sent_again(
    manager: BatchManager, sql: Sql, ignored_sigterm: None
) -> None:
    sql("CREATE TABLE target (id integer)")
    sql("CREATE SEQUENCE firings")
    sql("CREATE FUNCTION cancel_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('firings') = 1 THEN PERFORM pg_cancel_backend(pg_backend_pid()), pg_sleep(60); END IF; "
        "RETURN NULL; END $$")  # fmt: skip
    sql("CREATE TRIGGER cancelled BEFORE INSERT ON target FOR EACH STATEMENT EXECUTE FUNCTION cancel_first()")

    class TerminatedProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.insert("target", {"id": item.item_number})
            if item.item_number == 15:
                signal.raise_signal(signal.SIGTERM)

    manager.registry.register(TerminatedProcessor)

    assert manager.process_batch(manager.create_batch("terminated", ({} for _ in range(15)))).open_items == 15
    assert sql("SELECT last_value FROM firings") == [(1,)]
