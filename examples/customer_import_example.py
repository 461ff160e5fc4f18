"""One import from start to finish: a bad customer fails alone, what it lacked is added, and it is run again.

    python examples/customer_import_example.py [DSN]

Without a DSN it uses RELIABLE_IMPORTS_DSN, or else the embedded server. It makes the schema `customer_example` anew.
"""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Any

import psycopg2

from reliable_imports import BaseProcessor, BatchManager, BatchSummary, ImportBatchItem, ImportContext

TABLES = """
    DROP SCHEMA IF EXISTS customer_example CASCADE;
    CREATE SCHEMA customer_example;
    CREATE TABLE customer_example.plans (plan text PRIMARY KEY);
    CREATE TABLE customer_example.customers (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        email text NOT NULL UNIQUE,
        name text NOT NULL,
        plan text NOT NULL REFERENCES customer_example.plans
    );
    INSERT INTO customer_example.plans VALUES ('free'), ('team');
"""

CUSTOMERS = [
    {"email": "john@example.com", "name": "John Doe", "plan": "free"},
    {"email": "jane@example.com", "name": "Jane Roe", "plan": "enterprise"},
    {"email": "ravi@example.com", "name": "Ravi Iyer", "plan": "team"},
]


class CustomerDataProcessor(BaseProcessor):
    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        data = item.source_data
        return data.get("email") and "@" in data["email"]

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any]:
        customer_id = ctx.upsert("customer_example.customers", item.source_data, key="email", returning="id")
        return {"target_table": "customers", "target_id": customer_id}


def main() -> None:
    manager = BatchManager(sys.argv[1] if len(sys.argv) > 1 else None)
    manager.registry.register(CustomerDataProcessor)
    execute(manager, TABLES)

    batch_id = manager.create_batch(batch_type="customer_data", items=CUSTOMERS)
    summary = manager.process_batch(batch_id)
    show(summary)

    if summary.failed_items > 0:
        for reason in manager.failure_reasons(batch_id):
            print(f"  {reason.items} failed: {reason.title}")
            print(f"  such as item {reason.sample_item_number}: {reason.sample_source_data}")
        execute(manager, "INSERT INTO customer_example.plans VALUES ('enterprise')")
        show(manager.reprocess_batch(batch_id, failed_items_only=True))


def show(summary: BatchSummary) -> None:
    print(f"Batch {summary.batch_id} is {summary.status}: {summary.completed_items}/{summary.total_items} completed")


def execute(manager: BatchManager, statements: str) -> None:
    with closing(psycopg2.connect(manager.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statements)


if __name__ == "__main__":
    main()
