"""Customers, by hand: what to do when a row and a table are not alike."""

from collections.abc import Mapping
from typing import Any

from example_repo import DATA, TABLES_SQL
from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext


class CustomerDataProcessor(BaseProcessor):
    """Customers by e-mail address; one without an address fails."""

    source = DATA / "customers.jsonl"
    setup_sql = TABLES_SQL

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        data = item.source_data
        return data.get("email") and "@" in data["email"]

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any]:
        customer_id = self._create_or_update_customer(item.source_data, ctx)
        return {"target_table": "customers", "target_id": customer_id}

    def _create_or_update_customer(self, data: Mapping[str, Any], ctx: ImportContext) -> int:
        row = {"email": data["email"].strip().lower(), "name": data["name"]}
        customer_id: int = ctx.upsert("example.customers", row, key="email", returning="id")
        return customer_id
