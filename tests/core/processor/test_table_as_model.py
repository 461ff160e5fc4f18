"""A TableProcessor that declares a table and nothing else: columns, types and key are the table's."""

from __future__ import annotations

import csv
import json
from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from reliable_imports import (
    BatchManager,
    BatchStatus,
    ConfigurationError,
    ImportBatchItem,
    InvalidTarget,
    SourceError,
    TableProcessor,
    TryOutcome,
)
from reliable_imports.testing import try_item
from tests.core.conftest import Sql

ORDERS = """
    CREATE SCHEMA shop;
    CREATE TYPE shop.state AS ENUM ('open', 'paid');
    CREATE DOMAIN shop.code AS varchar(5) NOT NULL CHECK (VALUE <> 'bad');
    CREATE TABLE shop.orders (
        order_no  integer PRIMARY KEY,
        customer  varchar(8) NOT NULL,
        amount    numeric(8, 2),
        state     shop.state NOT NULL DEFAULT 'open',
        code      shop.code DEFAULT 'none',
        ordered   date,
        doubled   numeric GENERATED ALWAYS AS (amount * 2) STORED
    )
"""


class OrdersProcessor(TableProcessor):
    table = "shop.orders"


@pytest.fixture
def orders(manager: BatchManager, sql: Sql) -> BatchManager:
    sql(ORDERS)
    manager.registry.register(OrdersProcessor)
    return manager


def order(number: object = 1, **fields: object) -> dict[str, object]:
    return {"order_no": number, "customer": "Ann", **fields}


def run(manager: BatchManager, items: Any, batch_type: str = "orders") -> Any:
    return manager.process_batch(manager.create_batch(batch_type, items))


def faults_of(sql: Sql) -> dict[str, tuple[str, str]]:
    """Rule and words for each field of the one item that has failed."""
    rows = sql("""
        SELECT fault ->> 'field', fault ->> 'rule', reason.title
        FROM reliable_imports.import_attempts, jsonb_array_elements(faults) AS fault
        JOIN reliable_imports.import_failure_reasons AS reason ON reason.fingerprint = fault ->> 'reason'
        WHERE outcome = 'failed'
    """)
    return {field: (rule, title.partition(f"{field}: ")[2]) for field, rule, title in rows}


def test_a_table_is_all_that_has_to_be_declared(orders: BatchManager, sql: Sql, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_no,customer,amount,ordered\n7,Ann,1.10,2024-01-31\n8,Ben,20,2024-02-01\n7,Ann,1.20,20240131\n"
    )
    for _ in range(2):
        summary = run(orders, orders.open_source("orders", path))
        assert (summary.completed_items, summary.skipped_items, summary.failed_items) == (2, 1, 0)

    assert sql("SELECT * FROM shop.orders ORDER BY 1") == [
        (7, "Ann", Decimal("1.20"), "open", "none", date(2024, 1, 31), Decimal("2.40")),
        (8, "Ben", Decimal("20.00"), "open", "none", date(2024, 2, 1), Decimal("40.00")),
    ]
    first, *_ = orders.list_items(1)
    assert first.skip_reason == "item 3 of this batch has the same natural key"


def test_all_faults_of_a_row_are_told_at_once_in_the_words_of_a_model(orders: BatchManager, sql: Sql) -> None:
    item = {"order_no": "seven", "amount": "1.005", "state": "lost", "code": "too long", "ordered": "31.01.2024"}
    run(orders, [item])

    assert faults_of(sql) == {
        "order_no": ("int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
        "customer": ("missing", "Field required"),
        "amount": ("decimal_max_places", "Decimal input should have no more than 2 decimal places"),
        "state": ("literal_error", "Input should be 'open' or 'paid'"),
        "code": ("string_too_long", "String should have at most 5 characters"),
        "ordered": ("date_parsing", "Input should be a valid date or datetime, invalid character in year"),
    }


def test_what_the_table_checks_besides_fails_the_item_alone(orders: BatchManager) -> None:
    summary = run(orders, [order(1, code="bad"), order(2, state=None), order(3)])

    assert (summary.completed_items, summary.failed_items) == (1, 2)


def test_absent_columns_keep_their_value_and_missing_ones_take_their_default(orders: BatchManager, sql: Sql) -> None:
    run(orders, [order(1, amount="5", state="paid")])
    run(orders, [order(1, customer="Anna"), order(2, amount=None)])

    assert sql("SELECT customer, amount, state FROM shop.orders ORDER BY order_no") == [
        ("Anna", Decimal(5), "paid"),
        ("Ann", None, "open"),
    ]


def test_what_a_file_has_too_much_or_not_at_all_is_told(orders: BatchManager, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("order_no,custmer,doubled\n7,Ann,3\n")
    batch_id = orders.create_batch("orders", orders.open_source("orders", path))
    missing, unread = orders.get_batch(batch_id).warnings
    assert missing.startswith(
        'the header has no column for customer (is it "custmer", which no field is named for?), amount, '
    )
    assert unread == 'table shop.orders has no field for the columns "doubled"'

    path.write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match=r"has none of the columns of table shop.orders order_no, customer, amount, "):
        orders.create_batch("orders", orders.open_source("orders", path))


ACCEPTED: list[tuple[str, object, object]] = [
    ("smallint", "-7", -7),
    ("integer", " 7 ", 7),
    ("integer", "7.0", 7),
    ("bigint", 2**63 - 1, 2**63 - 1),
    ("numeric", "0.10", Decimal("0.10")),
    ("numeric(5, 1)", "12.50", Decimal("12.5")),
    ("numeric(3, 0)", 999, Decimal(999)),
    ("double precision", "0.1", 0.1),
    ("double precision", "1.25e2", 125.0),
    ("real", "16777216", 16777216.0),
    ("real", "0.1", 0.1),
    ("money", "1.500", "$1.50"),
    ("name", "n" * 63, "n" * 63),
    ("boolean", "No", False),
    ("boolean", 1, True),
    ("text", " as it is ", " as it is "),
    ("text", 12345678901234567890, "12345678901234567890"),
    ("char(3)", "ab", "ab"),
    ("date", "20240131", date(2024, 1, 31)),
    ("date", "2024-01-31T00:00:00", date(2024, 1, 31)),
    ("timestamp", "2024-01-31 10:00:00.123456", datetime(2024, 1, 31, 10, 0, 0, 123456)),
    ("timestamp(0)", "2024-01-31", datetime(2024, 1, 31)),
    ("timestamptz", "2024-01-31T10:00:00+02:00", datetime(2024, 1, 31, 8, tzinfo=timezone.utc)),
    ("time", "10:30", time(10, 30)),
    ("time(1)", "10:30:00.50", time(10, 30, 0, 500000)),
    ("timetz(0)", "10:30:00.0+02", "10:30:00+02"),
    ("uuid", "8c9e6679-7425-40de-944b-e07fc1f90ae7", "8c9e6679-7425-40de-944b-e07fc1f90ae7"),
    ("inet", "10.0.0.1/8", "10.0.0.1/8"),
    ("interval", "1 day", "1 day"),
    ("bytea", "\\x00ff", "\\x00ff"),
    ("jsonb", "1", '"1"'),
    ("jsonb", '{"a": 1}', r'"{\"a\": 1}"'),
    ("jsonb[]", ["1", 1], '{"\\"1\\"",1}'),
    ("jsonb", {"a": [1, None]}, '{"a": [1, null]}'),
    ("integer[]", "{1,NULL,3}", "{1,NULL,3}"),
    ("integer[]", "[1, null, 3]", "{1,NULL,3}"),
    ("integer[]", [[1, 2], [3, 4]], "{{1,2},{3,4}}"),
    ("text[]", ["a,b", 'say "x"'], '{"a,b","say \\"x\\""}'),
    ("int4range", "[1,5)", "[1,5)"),
]


def test_texts_of_every_kind_of_column_are_read(manager: BatchManager, sql: Sql) -> None:
    columns = ", ".join(f"c{place} {kind}" for place, (kind, _, _) in enumerate(ACCEPTED))
    sql(f"CREATE TABLE things (id integer PRIMARY KEY, {columns})")

    things(manager)
    given = {f"c{place}": value for place, (_, value, _) in enumerate(ACCEPTED)}
    summary = run(manager, [{"id": 1, **given}], "things")

    assert manager.list_items(summary.batch_id)[0].error_message is None
    for place, (kind, value, stored) in enumerate(ACCEPTED):
        cast = "::text" if isinstance(stored, str) else ""
        assert sql(f"SELECT c{place}{cast} FROM things") == [(stored,)], (kind, value)


REFUSED: list[tuple[str, object, str]] = [
    ("smallint", "32768", "Input should be less than or equal to 32767"),
    ("integer", "1_000", "Input should be a valid integer, unable to parse string as an integer"),
    ("integer", "", "Input should be a valid integer, unable to parse string as an integer"),
    ("integer", True, "Input should be a valid integer"),
    ("integer", 7.5, "Input should be a valid integer, got a number with a fractional part"),
    ("numeric", "1,5", "Input should be a valid decimal"),
    ("numeric", "NaN", "Input should be a finite number"),
    ("numeric(3, 1)", "100", "Decimal input should have no more than 2 digits before the decimal point"),
    ("double precision", "1e999", "Input should be a finite number"),
    ("double precision", "9007199254740993", "Input should be a number that the column keeps as it is"),
    ("double precision", "1e-400", "Input should be a number that the column keeps as it is"),
    ("real", 16777217, "Input should be a number that the column keeps as it is"),
    ("real", 1e-50, "Input should be a number that the column keeps as it is"),
    ("money", 1.005, "Decimal input should have no more than 2 decimal places"),
    ("name", "ü" * 32, "String should have at most 63 characters"),
    ('"char"', "ab", "String should have at most 1 character"),
    ("boolean", "ja", "Input should be a valid boolean, unable to interpret input"),
    ("varchar(3)", "ab  ", "String should have at most 3 characters"),
    ("date", "45000", "Input should be a valid date in the format YYYY-MM-DD, a number is no date"),
    ("date", 45000, "Input should be a valid date"),
    ("date", "2024-01-31 10:00", "Datetimes provided to dates should have zero time - e.g. be exact dates"),
    ("timestamp", "2024-01-31T10:00:00Z", "Input should not have timezone info"),
    (
        "timestamp(0)",
        "2024-01-31 10:00:00.5",
        "Input should be a valid datetime, second fraction value is more than 0 ",
    ),
    ("time", "36000", "Input should be in a valid time format, a number is no time"),
    ("time(1)", "10:30:00.55", "Input should be in a valid time format, second fraction value is more than 1 digits"),
    (
        "timetz(0)",
        "10:30:00.5+02",
        "Input should be in a valid time format, second fraction value is more than 0 digits",
    ),
    ("uuid", "8c9e", "Input should be a valid UUID"),
    ("inet", "10.0.0", "value is not a valid IPv4 or IPv6 interface"),
    ("integer[]", "1,2", "Input should be a valid list"),
]


def test_nothing_is_changed_in_silence(manager: BatchManager, sql: Sql) -> None:
    columns = ", ".join(f"c{place} {kind}" for place, (kind, _, _) in enumerate(REFUSED))
    sql(f"CREATE TABLE things (id integer PRIMARY KEY, {columns})")

    things(manager)
    given = {f"c{place}": value for place, (_, value, _) in enumerate(REFUSED)}
    run(manager, [{"id": 1, **given}], "things")

    found = faults_of(sql)
    for place, (kind, value, words) in enumerate(REFUSED):
        assert found[f"c{place}"][1].startswith(words), (kind, value)


_TEXTS_OF_JSON = ["1", "true", "null", "[1, 2]", '{"a": 1.10}', '"x"']


def test_a_text_of_a_source_with_types_is_a_json_string(manager: BatchManager, sql: Sql, tmp_path: Path) -> None:
    sql("CREATE TABLE things (id integer PRIMARY KEY, value jsonb, given text)")
    things(manager)
    items = [{"id": number, "value": text} for number, text in enumerate([*_TEXTS_OF_JSON, "no JSON", "{a: 1}"])]
    path = tmp_path / "things.json"
    path.write_text(json.dumps(items))

    for source in (items, manager.open_source("things", path)):
        sql("DELETE FROM things")
        summary = run(manager, source, "things")
        assert (summary.completed_items, summary.failed_items) == (len(items), 0)
        stored = sql("SELECT jsonb_typeof(value), value #>> '{}' FROM things ORDER BY id")
        assert stored == [("string", item["value"]) for item in items]


def _things_of_cells(path: Path) -> Path:
    """A file of cells, by its name; the last one is no JSON."""
    rows = [["id", "value"], *([str(number), text] for number, text in enumerate([*_TEXTS_OF_JSON, "{a: 1}"]))]
    if path.suffix == ".xlsx":
        with xlsxwriter.Workbook(str(path)) as book:
            sheet = book.add_worksheet()
            for place, row in enumerate(rows):
                sheet.write_row(place, 0, row)
    else:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return path


@pytest.mark.parametrize("name", ["things.csv", "things.xlsx"])
def test_a_cell_of_a_json_column_is_json(manager: BatchManager, sql: Sql, tmp_path: Path, name: str) -> None:
    sql("CREATE TABLE things (id integer PRIMARY KEY, value jsonb)")
    things(manager)
    path = _things_of_cells(tmp_path / name)
    tried = manager.try_items("things", manager.open_source("things", path))
    summary = run(manager, manager.open_source("things", path), "things")

    assert (tried.failed, summary.failed_items) == (1, 1)
    assert sql("SELECT value::text FROM things ORDER BY id") == [(text,) for text in _TEXTS_OF_JSON]
    assert faults_of(sql)["value"][0] == "json_invalid"
    # A repeat of an item is of the same kind as the item.
    sql("DELETE FROM things")
    manager.reprocess_batch(summary.batch_id, failed_items_only=False)
    assert sql("SELECT value::text FROM things ORDER BY id") == [(text,) for text in _TEXTS_OF_JSON]


KEYS: list[tuple[str, str]] = [
    ("id integer PRIMARY KEY, code text UNIQUE", "id"),
    ("id serial PRIMARY KEY, code text UNIQUE", "code"),
    ("id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text UNIQUE, UNIQUE (code)", "code"),
    ("id uuid PRIMARY KEY DEFAULT gen_random_uuid(), code text UNIQUE", "code"),
    ("id serial, code text, PRIMARY KEY (code, id)", "code, id"),
    ("id serial PRIMARY KEY, code text", "id"),
    ("id integer, code text UNIQUE", "code"),
    ("id serial PRIMARY KEY, code text, name text, UNIQUE (code, name)", "code, name"),
]


@pytest.mark.parametrize(("columns", "key"), KEYS)
def test_the_key_is_the_tables(manager: BatchManager, sql: Sql, columns: str, key: str) -> None:
    sql(f"CREATE TABLE things ({columns})")

    things(manager)
    items = [{name: 7 if name == "id" else "x" for name in key.split(", ")}] * 2
    for _ in range(2):
        assert run(manager, items, "things").skipped_items == 1
    assert sql("SELECT count(*) FROM things") == [(1,)]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("id integer, code text", r"table things has no unique index that could be its key, .*; make one, or .*= \(\)"),
        ("id serial PRIMARY KEY, a text UNIQUE, b text UNIQUE", r'declare key = \("a",\) or key = \("b",\)$'),
        ("id integer, code text, EXCLUDE USING btree (id WITH =)", "has no unique index"),
        ("id integer UNIQUE DEFERRABLE", "has no unique index"),
        ("id integer, twice integer GENERATED ALWAYS AS (id * 2) STORED UNIQUE", "has no unique index"),
    ],
)  # fmt: skip
def test_a_key_that_the_table_does_not_tell_has_to_be_declared(
    manager: BatchManager, sql: Sql, columns: str, words: str
) -> None:
    sql(f"CREATE TABLE things ({columns})")

    processor = things(manager)
    with pytest.raises(InvalidTarget, match=words):
        manager.create_batch("things", [{"id": 1}])
    assert manager.list_batches() == []

    processor.key = ()
    assert run(manager, [{"id": 1}], "things").completed_items == 1


def test_two_keys_in_one_file_have_to_be_chosen_between(manager: BatchManager, sql: Sql, tmp_path: Path) -> None:
    sql("CREATE TABLE things (id serial PRIMARY KEY, code text UNIQUE)")

    processor = things(manager)
    path = tmp_path / "things.csv"
    path.write_text("id,code\n7,x\n")
    for items in (manager.open_source("things", path), [{"id": 7, "code": "x"}]):
        with pytest.raises(
            InvalidTarget, match=r'both id, .*, and code, .*; declare key = \("id",\) or key = \("code",\)$'
        ):
            manager.create_batch("things", items)

    processor.key = "id"
    assert run(manager, manager.open_source("things", path), "things").completed_items == 1


def things(manager: BatchManager, **attributes: object) -> type[TableProcessor]:
    processor = type("ThingsProcessor", (TableProcessor,), {"table": "things", **attributes})
    manager.registry.register(processor)
    return processor


def test_a_table_that_is_missing_is_told_before_any_item(manager: BatchManager, sql: Sql) -> None:
    things(manager)
    with pytest.raises(InvalidTarget, match="processor ThingsProcessor cannot be used: there is no table things, or"):
        manager.create_batch("things", [{"id": 1}])

    sql("CREATE TABLE things (id integer PRIMARY KEY)")
    batch_id = manager.create_batch("things", [{"id": number} for number in range(30)])
    sql("DROP TABLE things")
    summary = manager.process_batch(batch_id)
    assert (summary.status, summary.open_items) == (BatchStatus.PAUSED, 30)
    assert "ThingsProcessor cannot write: there is no table things" in (summary.pause_reason or "")
    with pytest.raises(InvalidTarget, match="there is no table things"):
        manager.try_items("things", batch_id)

    sql("CREATE TABLE things (id integer PRIMARY KEY)")
    assert manager.process_batch(batch_id).completed_items == 30


def test_a_table_that_setup_sql_makes_is_there_in_time(manager: BatchManager, sql: Sql, tmp_path: Path) -> None:
    script = tmp_path / "tables.sql"
    script.write_text("CREATE TABLE IF NOT EXISTS things (id integer PRIMARY KEY)")
    things(manager, setup_sql=script)

    (tried,) = manager.try_items("things", [{"id": 1}]).items
    assert tried.outcome is TryOutcome.CREATED
    assert sql("SELECT to_regclass('things')") == [(None,)]
    assert run(manager, [{"id": 1}, {"id": "1"}], "things").skipped_items == 1


def test_a_table_that_was_altered_is_read_anew(orders: BatchManager, sql: Sql) -> None:
    batch_id = run(orders, [order(1, amount="1000000.00", note="new")]).batch_id
    assert faults_of(sql)["amount"][0] == "decimal_whole_digits"

    sql("ALTER TABLE shop.orders DROP COLUMN doubled, ALTER COLUMN amount TYPE numeric(12, 2), ADD COLUMN note text")
    (tried,) = orders.try_reprocess(batch_id).items
    assert tried.outcome is TryOutcome.CREATED
    assert orders.reprocess_batch(batch_id).completed_items == 1
    assert sql("SELECT amount, note FROM shop.orders") == [(Decimal("1000000.00"), "new")]


def test_a_view_needs_a_key_and_is_written_as_a_table(orders: BatchManager, sql: Sql) -> None:
    sql("CREATE VIEW things AS SELECT order_no, customer, amount FROM shop.orders")
    processor = things(orders)
    with pytest.raises(InvalidTarget, match="view things has no unique index that could be its key"):
        orders.create_batch("things", [order()])

    processor.key = "order_no"
    assert run(orders, [order(amount="x"), order(2), order(2)], "things").completed_items == 1
    assert run(orders, [order(2, amount="7")], "things").completed_items == 1
    assert sql("SELECT order_no, amount FROM shop.orders") == [(2, Decimal(7))]


HOSTILE = ['say "x"', "100 %s", "Straße; DROP TABLE x --", "a.b", "{key}", "class", "model_", "__dunder__", "new\nline"]


def test_names_may_be_any_text(manager: BatchManager, sql: Sql) -> None:
    quoted = ['"{}"'.format(name.replace('"', '""')) for name in HOSTILE]
    columns = ", ".join(f"{name} integer NOT NULL".replace("%", "%%") for name in quoted)
    sql(f"CREATE TABLE things ({columns}, PRIMARY KEY ({', '.join(quoted).replace('%', '%%')}))".replace("%%", "%"))
    things(manager)
    row = {name: str(place) for place, name in enumerate(HOSTILE)}

    assert run(manager, [row, row, {**row, HOSTILE[0]: "x"}], "things").failed_items == 1
    assert sql("SELECT * FROM things") == [tuple(range(len(HOSTILE)))]
    assert list(faults_of(sql)) == [HOSTILE[0]]


def test_sensitive_columns_stay_masked_under_the_names_of_the_source(orders: BatchManager, sql: Sql) -> None:
    OrdersProcessor.sensitive = ("customer",)
    OrdersProcessor.rename = {"Kunde": "customer"}
    try:
        batch_id = run(orders, [{"order_no": 1, "Kunde": "Annabella"}, {"order_no": 2}]).batch_id
        said = repr(sql("SELECT to_json(a)::text FROM reliable_imports.import_attempts AS a"))
        assert "String should have at most 8 characters" in said
        assert "Annabella" not in said
        assert {"Kunde", "customer"} <= orders.sensitive_fields(batch_id)
    finally:
        OrdersProcessor.sensitive, OrdersProcessor.rename = (), {}


def test_one_item_is_tried_with_a_database_and_never_without(orders: BatchManager, database: str) -> None:
    tried = try_item(OrdersProcessor, order("7", amount="1.50"), database=database)
    assert tried.row["amount"] == Decimal("1.50")
    assert try_item(OrdersProcessor, order("x"), database=database).rules == {"order_no": "int_parsing"}

    with pytest.raises(ConfigurationError, match="leaves its columns or its key to table shop"):
        try_item(OrdersProcessor, order())


def test_a_row_may_be_changed_and_added_to(orders: BatchManager, sql: Sql) -> None:
    class BuiltProcessor(OrdersProcessor):
        def to_row(self, item: ImportBatchItem) -> dict[str, Any]:
            row = dict(super().to_row(item))
            return {**row, "order_no": row["ordered"].year, "customer": "built"}

    orders.registry.register(BuiltProcessor)
    summary = run(orders, [{"ordered": "2024-01-31"}], "built")
    assert summary.completed_items == 1
    assert summary.warnings == []  # what code adds, no source has to have
    assert sql("SELECT order_no, customer FROM shop.orders") == [(2024, "built")]
