"""An order and its lines are one item: all of them go in, or none does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext


class OrdersProcessor(BaseProcessor):
    natural_key = ("number",)
    setup_sql = Path(__file__).with_suffix(".sql")

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any]:
        order = item.source_data
        if not order["lines"]:
            ctx.reject("an order without lines", field="lines")
        head = {"number": order["number"], "customer": order["customer"], "ordered_on": order["date"]}
        ctx.upsert("shop.orders", head, key="number")
        for line, each in enumerate(order["lines"], start=1):
            row = {"order_number": order["number"], "line": line, **each}
            ctx.upsert("shop.order_lines", row, key=("order_number", "line"))
        # A later delivery of the order may have fewer lines.
        ctx.execute(
            "DELETE FROM shop.order_lines WHERE order_number = %s AND line > %s", [order["number"], len(order["lines"])]
        )
        return {"target_table": "shop.orders", "target_id": order["number"]}
