from __future__ import annotations

import dataclasses
from datetime import date
from decimal import Decimal
from typing import Any

import pydantic
import pytest

from reliable_imports import BatchManager, TableProcessor
from tests.core.conftest import Sql


class Order(pydantic.BaseModel):
    number: int = pydantic.Field(alias="Order No")
    day: date
    amount: Decimal | None = None


class OrdersProcessor(TableProcessor):
    table = "orders"
    key = ("number",)
    model = Order
    null_tokens = frozenset({"", "NA"})


@dataclasses.dataclass
class Point:
    x: int
    y: int


class PointsProcessor(TableProcessor):
    table = "points"
    key = ("x", "y")
    model = Point


@pytest.fixture
def tables(manager: BatchManager, sql: Sql) -> BatchManager:
    sql("CREATE TABLE orders (number integer PRIMARY KEY, day date NOT NULL, amount numeric)")
    sql("CREATE TABLE points (x integer, y integer, PRIMARY KEY (x, y))")
    manager.registry.register(OrdersProcessor)
    manager.registry.register(PointsProcessor)
    return manager


def test_rows_are_checked_converted_and_upserted(tables: BatchManager, sql: Sql) -> None:
    items = [
        {"Order No": "7", "day": "2013-01-01", "amount": "1.10"},
        {"Order No": "8", "day": "2013-01-02", "amount": "NA"},
        {"Order No": "7", "day": "2013-01-03", "amount": ""},
    ]
    batch_id = tables.create_batch("orders", items)
    summary = tables.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items) == (2, 1)
    assert sql("SELECT * FROM orders ORDER BY 1") == [(7, date(2013, 1, 3), None), (8, date(2013, 1, 2), None)]
    replaced, _, last = tables.list_items(batch_id)
    assert replaced.skip_reason == "item 3 of this batch has the same natural key"
    assert last.result == {"target_table": "orders", "target_id": 7}


def test_all_field_errors_are_told_at_once_and_without_values(tables: BatchManager) -> None:
    batch_id = tables.create_batch(
        "orders", [{"Order No": "seven", "day": "someday"}, {"Order No": "eight", "day": "x"}]
    )
    tables.process_batch(batch_id)

    (reason,) = tables.failure_reasons(batch_id)
    assert (reason.items, reason.stage, reason.error_type) == (2, "validate", "InvalidRow")
    message = tables.list_items(batch_id)[0].error_message or ""
    assert "Order No: " in message
    assert "day: " in message
    assert "seven" not in message


def test_other_fields_are_other_reasons(tables: BatchManager) -> None:
    items: list[dict[str, Any]] = [
        {"Order No": "x", "day": "2013-01-01"},
        {"Order No": 1},
        {"Order No": 2, "day": "no"},
    ]
    batch_id = tables.create_batch("orders", items)
    tables.process_batch(batch_id)

    assert sorted(reason.items for reason in tables.failure_reasons(batch_id)) == [1, 1, 1]


def test_a_dataclass_is_a_model_too(tables: BatchManager, sql: Sql) -> None:
    batch_id = tables.create_batch("points", [{"x": 1, "y": "2"}, {"x": 1, "y": 2}, {"x": "a", "y": 2}])
    summary = tables.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items, summary.skipped_items) == (1, 1, 1)
    assert sql("SELECT * FROM points") == [(1, 2)]
    assert tables.list_items(batch_id)[1].result == {"target_table": "points", "target_id": [1, 2]}


def test_an_item_that_is_no_object_fails_alone(tables: BatchManager) -> None:
    summary = tables.process_batch(tables.create_batch("points", [[1, 2], "text", None, 7, {"x": 1, "y": 2}]))

    assert (summary.completed_items, summary.failed_items) == (1, 4)


def test_columns_are_the_fields_also_where_the_model_is_written_by_alias(tables: BatchManager, sql: Sql) -> None:
    class ByAlias(Order):
        model_config = pydantic.ConfigDict(serialize_by_alias=True)

    class ByAliasProcessor(OrdersProcessor):
        model = ByAlias

    tables.registry.register(ByAliasProcessor)
    items = [{"Order No": "7", "day": "2013-01-01", "amount": "1.10"}]

    assert tables.process_batch(tables.create_batch("by_alias", items)).completed_items == 1
