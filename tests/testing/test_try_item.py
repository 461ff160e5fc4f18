"""`try_item`: one item, with a database and without one, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from reliable_imports import (
    BaseProcessor,
    ConfigurationError,
    ImportBatchItem,
    ImportContext,
    InvalidProcessor,
    TableProcessor,
    TryOutcome,
)
from reliable_imports.testing import Written, try_item
from tests.conftest import Sql

TABLES = """
CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.customers (id integer GENERATED ALWAYS AS IDENTITY, email text UNIQUE);
CREATE TABLE IF NOT EXISTS shop.orders (
    no text PRIMARY KEY, customer_id integer, total numeric(8, 2) CHECK (total >= 0), note text DEFAULT 'none'
);
"""


class Order(BaseModel):
    no: str
    total: Decimal
    note: str | None = None


class OrdersProcessor(TableProcessor):
    table = "shop.orders"
    key = ("no",)
    model = Order
    null_tokens = frozenset({"", "NA"})


class SalesProcessor(BaseProcessor):
    """Of a customer who is there, with whatever else an item may come to."""

    sensitive = ("email",)

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return "@" in item.source_data["email"]

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any]:
        data = item.source_data
        try:
            customer = ctx.lookup("shop.customers", {"email": data["email"]})
        except Exception:  # as people do; what was not answered is told all the same
            customer = None
        if customer is None:
            ctx.reject("nobody has the address", field="email")
        if data["no"] == "draft":
            ctx.skip("a draft")
        ctx.upsert("shop.orders", {"no": data["no"], "customer_id": customer}, key="no")
        return {"target_id": data["no"]}


ROWS = {"shop.customers": [{"email": "ada@example.com", "id": 7}]}


@pytest.fixture
def shop(database: str, sql: Sql) -> str:
    sql(TABLES)
    sql("INSERT INTO shop.customers (email) VALUES ('ada@example.com')")
    return database


# Without a database


def test_what_is_written_is_what_the_model_makes_of_the_item() -> None:
    tried = try_item(OrdersProcessor, {"no": "7", "total": "1.50", "note": "NA"})

    assert tried.outcome is TryOutcome.COMPLETED
    assert tried.written == (Written("shop.orders", {"no": "7", "total": Decimal("1.50"), "note": None}),)
    assert tried.row["total"] == Decimal("1.50")
    assert tried.result == {"target_table": "shop.orders", "target_id": "7"}
    assert (tried.faults, tried.words) == ((), None)


def test_all_that_is_wrong_with_an_item_is_told_at_once() -> None:
    tried = try_item(OrdersProcessor, {"total": "much"})

    assert tried.outcome is TryOutcome.FAILED
    assert tried.rules == {"no": "missing", "total": "decimal_parsing"}
    assert len(tried.reasons) == 2
    with pytest.raises(AssertionError, match=r"would be failed and write 0 rows: .*InvalidRow"):
        _ = tried.row


def test_an_item_without_a_value_for_its_key_fails() -> None:
    class KeyedProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("shop.orders", {"no": item.source_data["no"]}, key="no", null_keys="fail")

    assert [fault.rule for fault in try_item(KeyedProcessor, {"no": None}).faults] == ["NullInKey"]


def test_look_ups_find_the_rows_that_are_declared() -> None:
    tried = try_item(SalesProcessor, {"no": "7", "email": "ada@example.com"}, rows=ROWS)
    assert (tried.row["customer_id"], tried.result) == (7, {"target_id": "7"})

    unknown = try_item(SalesProcessor, {"no": "7", "email": "bob@example.com"}, rows=ROWS)
    assert (unknown.outcome, unknown.rules) == (TryOutcome.FAILED, {"email": "rejected"})
    assert [fault.value for fault in unknown.faults] == [None], "a sensitive value is shown"


def test_what_no_row_answers_is_refused_though_the_processor_swallows_it() -> None:
    with pytest.raises(
        ConfigurationError, match=r"looks up email in shop.customers; .* rows={'shop.customers': \[...\]}"
    ):
        try_item(SalesProcessor, {"no": "7", "email": "ada@example.com"})


def test_the_other_ends_of_an_item() -> None:
    skipped = try_item(SalesProcessor, {"no": "draft", "email": "ada@example.com"}, rows=ROWS)
    assert (skipped.outcome, skipped.words, skipped.written) == (TryOutcome.SKIPPED, "a draft", ())
    rejected = try_item(SalesProcessor, {"no": "7", "email": "ada"})
    assert "`'@' in item.source_data['email']` is not so" in (rejected.words or "").replace('"', "'")
    raised = try_item(SalesProcessor, {"no": "7"})
    assert [fault.rule for fault in raised.faults] == ["KeyError"]
    unreadable = try_item(SalesProcessor, {"no": {1, 2}})
    assert [fault.rule for fault in unreadable.faults] == ["not-json-value"]


def test_what_only_a_server_can_tell_is_refused() -> None:
    class AskingProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any]:
            if item.source_data == "sql":
                ctx.fetch_value("SELECT now()")
            return {"id": ctx.upsert("shop.customers", {"email": item.source_data}, key="email", returning="id")}

    assert try_item(AskingProcessor, "ada@example.com", rows=ROWS).result == {"id": 7}
    with pytest.raises(ConfigurationError, match="only a database knows 'id'"):
        try_item(AskingProcessor, "bob@example.com", rows=ROWS)
    with pytest.raises(ConfigurationError, match=r"SELECT now\(\); or try the item with database="):
        try_item(AskingProcessor, "sql")


class RatesProcessor(BaseProcessor):
    has_effects = True

    class Params(BaseModel):
        day: str = "today"

    async def prepare_item(self, item: ImportBatchItem) -> float:
        raise LookupError("no network in tests")

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any]:
        return {"rate": item.prepared, "day": self.params.day}


def test_what_is_fetched_beforehand_can_be_given() -> None:
    with pytest.raises(ConfigurationError, match="has_effects"):
        try_item(RatesProcessor, {})
    unprepared = try_item(RatesProcessor, {}, with_effects=True)
    assert [fault.rule for fault in unprepared.faults] == ["LookupError"]
    own = RatesProcessor.prepare_item
    given = try_item(RatesProcessor, {}, prepared=1.07, params={"day": "monday"}, with_effects=True)
    assert given.result == {"rate": 1.07, "day": "monday"}
    assert RatesProcessor.prepare_item is own


def test_a_class_that_cannot_be_used_is_refused() -> None:
    class UnfinishedProcessor(TableProcessor):
        tabel = "shop.orders"

    with pytest.raises(InvalidProcessor):
        try_item(UnfinishedProcessor, {})


# With a database


def test_the_database_has_its_say_and_keeps_nothing(shop: str, sql: Sql) -> None:
    sql("INSERT INTO shop.orders (no, total) VALUES ('7', 1)")

    changed = try_item(OrdersProcessor, {"no": "7", "total": "2"}, database=shop)
    created = try_item(OrdersProcessor, {"no": "8", "total": "2.005"}, database=shop)
    failed = try_item(OrdersProcessor, {"no": "9", "total": "-1"}, database=shop)

    assert (changed.outcome, changed.row["total"]) == (TryOutcome.CHANGED, Decimal("2.00"))
    assert changed.written[0].before == {"no": "7", "customer_id": None, "total": Decimal("1.00"), "note": "none"}
    assert (created.outcome, created.row["total"], created.row["note"]) == (TryOutcome.CREATED, Decimal("2.01"), "none")
    assert (failed.outcome, [fault.rule for fault in failed.faults]) == (TryOutcome.FAILED, ["orders_total_check"])
    assert sql("SELECT no, total FROM shop.orders") == [("7", 1)]
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(0,)]


def test_both_ways_agree_on_what_needs_no_server(shop: str) -> None:
    for processor, item in (
        (OrdersProcessor, {"total": "much"}),
        (SalesProcessor, {"no": "7", "email": "ada"}),
        (SalesProcessor, {"no": "7", "email": "bob@example.com"}),
        (SalesProcessor, {"no": "draft", "email": "ada@example.com"}),
        (SalesProcessor, {"email": "ada@example.com"}),
    ):
        assert try_item(processor, item, database=shop) == try_item(processor, item, rows=ROWS)


def test_prepared_values_and_tables_of_the_set_up_are_there(database: str, tmp_path: Path, sql: Sql) -> None:
    (tmp_path / "tables.sql").write_text(TABLES)

    class PricedProcessor(OrdersProcessor):
        setup_sql = tmp_path / "tables.sql"

        def prepare_item(self, item: ImportBatchItem) -> str:
            raise LookupError("no network in tests")

        def to_row(self, item: ImportBatchItem) -> Mapping[str, Any]:
            return {**super().to_row(item), "note": item.prepared}

    tried = try_item(PricedProcessor, {"no": "1", "total": "1"}, database=database, prepared="dear")

    assert tried.row["note"] == "dear"
    assert sql("SELECT to_regclass('shop.orders')") == [(None,)]
    with pytest.raises(ConfigurationError, match="rows are for a try without a database"):
        try_item(PricedProcessor, {}, database=database, rows={})
