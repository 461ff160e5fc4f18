"""Prices with their history: a price that changes ends the row that was valid, and begins another."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext


class PricesProcessor(BaseProcessor):
    natural_key = ("product",)
    setup_sql = Path(__file__).with_suffix(".sql")

    class Params(BaseModel):
        valid_from: date

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any]:
        product, price = item.source_data["product"], Decimal(item.source_data["price"])
        begins = self.params.valid_from
        current = ctx.fetch_one(
            "SELECT valid_from, price FROM shop.prices WHERE product = %s AND valid_to IS NULL FOR UPDATE", [product]
        )
        if current is not None and current["price"] == price:
            ctx.skip("the price is the same")
        if current is not None and current["valid_from"] >= begins:
            ctx.reject("a later price is there already", field="price")
        ctx.execute("UPDATE shop.prices SET valid_to = %s WHERE product = %s AND valid_to IS NULL", [begins, product])
        ctx.insert("shop.prices", {"product": product, "valid_from": begins, "price": price})
        return {"target_table": "shop.prices", "target_id": [product, begins]}
