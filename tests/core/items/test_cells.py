"""How a source writes its cells is declared once, and holds for models, tables and code of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pydantic
import pytest

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext, TableProcessor
from reliable_imports.items.cells import WHITE_SPACE, CellReader, Spelling
from tests.core.conftest import Sql

PLAIN = Spelling({}, False, frozenset(), False, ())


def test_white_space_is_what_python_takes_for_it() -> None:
    assert "".join(each for each in map(chr, range(0x110000)) if each.isspace()) == WHITE_SPACE


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.234,56", "1234.56"),
        ("1 234\u00a0567,8", None),
        ("1 234 567,8", "1234567.8"),
        ("1'234,5", "1234.5"),
        ("12,5", "12.5"),
        ("-0,50", "-0.50"),
        (",5", "0.5"),
        ("1.234", "1234"),
        ("1234", "1234"),
        (" 7 ", "7"),
        ("1,5e3", "1.5e3"),
        ("12.5", None),
        ("1,234.56", None),
        ("1.23.456", None),
        ("1234.567", None),
        ("1,", None),
        ("", None),
        ("x", None),
    ],
)
def test_a_number_with_a_comma_is_read_or_refused(text: str, number: str | None) -> None:
    reader = CellReader(PLAIN._replace(decimal_comma=("price",)), {})
    cells = reader.read({"price": text, "other": text})
    assert cells.data == {"price": text if number is None else number, "other": text}
    assert [(fault.field, fault.kind) for fault in cells.faults] == (
        [("price", "decimal_parsing")] if number is None else []
    )


@pytest.mark.parametrize(
    ("formats", "text", "iso"),
    [
        ("%d.%m.%Y", "31.01.2024", "2024-01-31"),
        ("%d.%m.%Y", "2024-01-31", None),
        ("%d.%m.%Y", "31.02.2024", None),
        (("%d.%m.%Y %H:%M", "%d.%m.%Y"), "31.01.2024 10:30", "2024-01-31T10:30:00"),
        (("%d.%m.%Y %H:%M", "%d.%m.%Y"), "31.01.2024", "2024-01-31"),
        ("%Y-%m-%dT%H:%M:%SZ", "2024-01-31T10:30:00Z", "2024-01-31T10:30:00"),
        ({"day": ["%b %d, %Y"]}, "Jan 31, 2024", "2024-01-31"),
        ({"day": "%H.%M"}, "10.30", "10:30:00"),
    ],
)
def test_a_date_is_read_as_declared_or_refused(formats: Any, text: str, iso: str | None) -> None:
    reader = CellReader(PLAIN._replace(dates=formats), {"day": "date"})
    cells = reader.read({"day": text})
    assert cells.data == {"day": text if iso is None else iso}
    assert len(cells.faults) == (iso is None)


class Order(pydantic.BaseModel):
    order_no: int
    price: Decimal
    ordered: date | None = None
    seen: datetime | None = None
    note: str = ""


class Dialect:
    rename: Mapping[str, str] = {"Nr.": "order_no", "Nummer": "order_no", "Preis": "price", "Datum": "ordered"}
    strip = True
    null_tokens = frozenset({"", "-"})
    decimal_comma = True
    dates = "%d.%m.%Y"


class OrdersProcessor(Dialect, TableProcessor):
    table = "orders"


class ModelledProcessor(OrdersProcessor):
    key = "order_no"
    model = Order


class OwnProcessor(Dialect, BaseProcessor):
    decimal_comma = ("price",)
    dates: Mapping[str, str] = {"ordered": "%d.%m.%Y"}
    natural_key = ("order_no",)

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return item.source_data["price"] != "0"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("orders", item.source_data, key="order_no")


@pytest.fixture
def orders(manager: BatchManager, sql: Sql) -> BatchManager:
    columns = "order_no integer PRIMARY KEY, price numeric NOT NULL, ordered date, seen timestamp, note text"
    sql(f"CREATE TABLE orders ({columns})")
    for processor in (OrdersProcessor, ModelledProcessor, OwnProcessor):
        manager.registry.register(processor)
    return manager


@pytest.mark.parametrize("batch_type", ["orders", "modelled", "own"])
def test_a_declared_way_of_writing_holds_for_every_processor(orders: BatchManager, sql: Sql, batch_type: str) -> None:
    items = [
        {"Nr.": " 7", "Preis": "1.234,50 ", "Datum": "31.01.2024", "note": " first "},
        {"Nr.": "7\u00a0", "Preis": "2,5", "Datum": " - ", "note": "1,5"},
        {"Nummer": 8, "Preis": 3, "Datum": None},
    ]
    batch_id = orders.create_batch(batch_type, items)
    summary = orders.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items) == (2, 1), "one key, whatever it is called and padded with"
    assert sql("SELECT order_no, price, ordered, note FROM orders ORDER BY 1") == [
        (7, Decimal("2.5"), None, "1,5"),
        (8, Decimal(3), None, None if batch_type != "modelled" else ""),
    ]
    assert [json.loads(str(item.source_data)) for item in orders.list_items(batch_id)] == items, "as they came"


@pytest.mark.parametrize("batch_type", ["orders", "modelled"])
def test_cells_that_are_not_written_so_are_told_with_all_other_faults(
    orders: BatchManager, sql: Sql, batch_type: str
) -> None:
    item = {"Nr.": "x", "Preis": "12.50", "Datum": "2024-01-31", "seen": "31.01.24"}
    orders.process_batch(orders.create_batch(batch_type, [item]))

    faults = sql(
        "SELECT fault ->> 'field', fault ->> 'rule', fault ->> 'value' "
        "FROM reliable_imports.import_attempts, jsonb_array_elements(faults) AS fault"
    )
    assert sorted(faults) == [
        ("order_no", "int_parsing", "x"),
        ("ordered", "date_parsing", "2024-01-31"),
        ("price", "decimal_parsing", "12.50"),
        ("seen", "datetime_parsing", "31.01.24"),
    ]


def test_a_processor_with_code_of_its_own_sees_no_cell_that_is_not_written_so(orders: BatchManager) -> None:
    batch_id = orders.create_batch("own", [{"Nr.": 1, "price": "1.5", "ordered": "x"}, {"Nr.": 2, "order_no": 2}])
    orders.process_batch(batch_id)

    messages = [item.error_message for item in orders.list_items(batch_id)]
    assert messages == [
        "price: Input should be a valid decimal; ordered: Input should be a valid date in the format %d.%m.%Y",
        "order_no: Input should be given once, and is given as 'Nr.' and as 'order_no'",
    ]
