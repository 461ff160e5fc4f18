"""Type-checked as users check their code (mypy without --strict), and never run."""

from datetime import date
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext, TableProcessor


class CustomerDataProcessor(BaseProcessor):
    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        data = item.source_data
        return data.get("email") and "@" in data["email"]

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict:
        customer_id = self._create_or_update_customer(item.source_data, ctx)
        return {"target_table": "customers", "target_id": customer_id}

    def _create_or_update_customer(self, data: dict, ctx: ImportContext) -> int:
        return ctx.upsert("customers", data, key="email", returning="id")


class Airline(BaseModel):
    carrier: str
    name: str


class AirlinesProcessor(TableProcessor):
    table = "airlines"
    key = ("carrier",)
    model = Airline
    source = Path("airlines.csv")
    null_tokens = frozenset({"", "NA"})
    depends_on = ["airports"]
    schedule = "0 6 * * *"


class OrdersProcessor(TableProcessor):
    table = "shop.orders"
    rename = {"Order No.": "order_no"}
    strip = True
    decimal_comma = True
    dates = "%d.%m.%Y"


class PricesProcessor(BaseProcessor):
    class Params(BaseModel):
        since: date
        rate: Decimal = Decimal("1.0")

    params: Params
    partitions = "daily from 2024-01-01"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict:
        return {"price": item.source_data["price"] * self.params.rate}


manager = BatchManager("postgresql://user:pass@host/db")
manager.registry.discover("myapp.processors")
batch_id = manager.create_batch(batch_type="customer_data", items=[{"email": "john@example.com", "name": "John Doe"}])
tried = manager.try_items("customer_data", [{"email": "john@example.com", "name": "John Doe"}], sample=100)
print(tried.created, tried.changed, tried.unchanged, tried.skipped, tried.failed, tried.items[0].rows[0].changes)
summary = manager.process_batch(batch_id)
print(f"Completed: {summary.completed_items}/{summary.total_items}")
if summary.failed_items > 0:
    manager.reprocess_batch(batch_id, failed_items_only=True)
