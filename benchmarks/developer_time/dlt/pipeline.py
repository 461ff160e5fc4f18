import csv
import hashlib
import os
import sys
from collections.abc import Iterator
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import dlt
import psycopg2
from psycopg2.extras import RealDictCursor
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

DSN = os.environ["DATABASE_URL"]
CELLS = ("Order No.", "Customer", "SKU", "Qty", "Unit price", "Ordered on", "Note")


def number(value: Any) -> Any:
    return value.replace(".", "").replace(",", ".") if isinstance(value, str) else value


def day(value: Any) -> Any:
    return datetime.strptime(value, "%d.%m.%Y").date() if isinstance(value, str) else value


class Order(BaseModel):
    order_no: str = Field(alias="Order No.")
    customer_id: int = Field(alias="Customer")
    sku: str = Field(alias="SKU")
    quantity: int = Field(alias="Qty", gt=0)
    unit_price: Annotated[Decimal, BeforeValidator(number), Field(max_digits=10, decimal_places=2)] = Field(
        alias="Unit price"
    )
    ordered_on: Annotated[date, BeforeValidator(day)] = Field(alias="Ordered on")
    note: str | None = Field(alias="Note")


def query(statement: str) -> list[dict[str, Any]]:
    connection = psycopg2.connect(DSN, cursor_factory=RealDictCursor)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def prepare() -> None:
    """dlt merges into the table that is there, and wants two columns in it; rejects have one row for each order."""
    query(
        """
        ALTER TABLE shop.orders
            ADD COLUMN IF NOT EXISTS _dlt_load_id varchar,
            ADD COLUMN IF NOT EXISTS _dlt_id varchar,
            ADD COLUMN IF NOT EXISTS delivered_at timestamptz;
        CREATE TABLE IF NOT EXISTS shop.order_rejects (
            order_no text PRIMARY KEY,
            file_name text NOT NULL,
            line bigint NOT NULL,
            cells jsonb NOT NULL,
            reason text NOT NULL,
            delivered_at timestamptz NOT NULL,
            settled bool NOT NULL,
            _dlt_load_id varchar,
            _dlt_id varchar
        );
        CREATE TABLE IF NOT EXISTS shop.order_files (
            sha256 text PRIMARY KEY,
            file_name text NOT NULL,
            received bigint NOT NULL,
            imported bigint NOT NULL,
            rejected bigint NOT NULL,
            _dlt_load_id varchar,
            _dlt_id varchar
        );
        """
    )


def check(cells: dict[str, str], customers: set[int]) -> tuple[dict[str, Any], str | None]:
    """The row, or why there is none."""
    given = {name: None if cell.strip() in ("", "NA") else cell.strip() for name, cell in cells.items()}
    try:
        row = Order.model_validate(given).model_dump()
    except ValidationError as error:
        return {}, "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    if row["customer_id"] not in customers:
        return {}, f"Customer: {row['customer_id']} is not known"
    return row, None


def known_customers() -> set[int]:
    return {row["id"] for row in query("SELECT id FROM shop.customers")}


def upserted(rows: list[dict[str, Any]], table: str, key: str, **columns: Any) -> Any:
    hints = dlt.mark.make_hints(
        table_name=table,
        primary_key=key,
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        columns=columns,
    )
    return dlt.mark.with_hints(rows, hints, create_table_variant=True)


def results(good: dict[str, Any], bad: dict[str, Any]) -> Iterator[Any]:
    if good:
        yield upserted(list(good.values()), "orders", "order_no")
    if bad:
        yield upserted(list(bad.values()), "order_rejects", "order_no", cells={"data_type": "json"})


@dlt.resource
def orders_file(path: Path) -> Iterator[Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if any(row["sha256"] == digest for row in query("SELECT sha256 FROM shop.order_files")):
        return
    customers, now = known_customers(), datetime.now(timezone.utc)
    good: dict[str, Any] = {}
    bad: dict[str, Any] = {}
    received = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        for cells in csv.DictReader(file, CELLS, delimiter=";", restval=""):
            if cells["Order No."] == "Order No.":
                continue
            received += 1
            row, reason = check(cells, customers)
            order_no = cells["Order No."].strip()
            if reason is None:
                good[order_no] = {**row, "delivered_at": now}
            else:
                bad[order_no] = {
                    "order_no": order_no,
                    "file_name": path.name,
                    "line": received + 1,
                    "cells": cells,
                    "reason": reason,
                    "delivered_at": now,
                    "settled": False,
                }
    yield from results(good, bad)
    summary = {"sha256": digest, "file_name": path.name, "received": received}
    yield upserted([{**summary, "imported": received - len(bad), "rejected": len(bad)}], "order_files", "sha256")
    print(received - len(bad), "rows imported,", len(bad), "rejected")


@dlt.resource
def open_rejects() -> Iterator[Any]:
    """Those that a later delivery has brought are settled by that; the others are tried again."""
    customers = known_customers()
    newer = {row["order_no"]: row["delivered_at"] for row in query("SELECT order_no, delivered_at FROM shop.orders")}
    good: dict[str, Any] = {}
    bad: dict[str, Any] = {}
    columns = "order_no, file_name, line, cells, reason, delivered_at"
    for reject in query(f"SELECT {columns} FROM shop.order_rejects WHERE NOT settled"):
        order_no = reject["order_no"]
        row, reason = check(reject["cells"], customers)
        is_newer = order_no in newer and newer[order_no] > reject["delivered_at"]
        if reason is None and not is_newer:
            good[order_no] = {**row, "delivered_at": reject["delivered_at"]}
        settled = reason is None or is_newer
        bad[order_no] = {**reject, "reason": reason or reject["reason"], "settled": settled}
    yield from results(good, bad)
    print(len(good), "rejects imported")


def main() -> None:
    prepare()
    pipeline = dlt.pipeline("orders", destination=dlt.destinations.postgres(DSN), dataset_name="shop")
    pipeline.run()  # what a run before this one has left behind
    pipeline.run(open_rejects() if sys.argv[1] == "--retry" else orders_file(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
