"""Ours: the orders of `dirty`, declared, and by a statement of one's own."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, create_model

from benchmarks.dirty.shapes import NARROW, WIDE, upsert_sql
from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, TableProcessor

_TYPES: dict[str, type] = {"text": str, "integer": int, "numeric(10,2)": Decimal, "date": date, "boolean": bool}
_VALUES = f"VALUES ({', '.join(f'%({column})s' for column in NARROW.columns)})"
_UPSERT = f"{upsert_sql(NARROW, _VALUES)} RETURNING order_no"


class Order(BaseModel):
    order_no: str
    reference: str
    customer_id: int
    quantity: int
    price: Decimal
    ordered_on: date


_WIDE_FIELDS: dict[str, Any] = {column: (_TYPES[type_], ...) for column, type_ in WIDE.columns.items()}
WideOrder = create_model("WideOrder", **_WIDE_FIELDS)


class OrdersProcessor(TableProcessor):
    table = NARROW.table
    key = NARROW.key
    model = Order


class WideOrdersProcessor(TableProcessor):
    table = WIDE.table
    key = WIDE.key
    model = WideOrder


class OwnStatementOrdersProcessor(BaseProcessor):
    """Checked by the server alone."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any]:
        return {"target_table": NARROW.table, "target_id": ctx.fetch_value(_UPSERT, item.source_data)}
