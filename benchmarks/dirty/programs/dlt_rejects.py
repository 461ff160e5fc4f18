"""dlt 1 with a table of rejects: a resource that checks each row and says to which table it goes, and a merge.

dlt writes what it is given, so all that the database would refuse is looked for in Python: a pydantic model for the
values, and sets of what is there already for keys. A row that slips through would fail the load. In files of CSV,
which dlt loads by COPY, and with the strategy upsert, as is the fastest. The table gets the columns that dlt wants.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import dlt
import psycopg2
from pydantic import BaseModel, Field, ValidationError, create_model

from benchmarks.dirty.programs.flight_rows import flight_row
from benchmarks.dirty.shapes import FLIGHTS, SHAPES, Shape

_TYPES: dict[str, Any] = {"text": str, "integer": int, "numeric(10,2)": Decimal, "date": date, "boolean": bool}
_HINTS: dict[str, Any] = {
    "text": {"data_type": "text"},
    "integer": {"data_type": "bigint"},
    "smallint": {"data_type": "bigint"},
    "numeric(10,2)": {"data_type": "decimal", "precision": 10, "scale": 2},
    "date": {"data_type": "date"},
    "boolean": {"data_type": "bool"},
    "time": {"data_type": "time"},
    "timestamptz": {"data_type": "timestamp"},
}
_REJECT_HINTS: Any = {"line": {"data_type": "bigint"}, "row": {"data_type": "json"}, "reason": {"data_type": "text"}}
_PAGE = 5000


def main(dsn: str, path: str, shape: Shape) -> None:
    schema, _, table = shape.table.partition(".")
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {shape.table} ADD COLUMN IF NOT EXISTS _dlt_load_id varchar, "
            "ADD COLUMN IF NOT EXISTS _dlt_id varchar"
        )
        connection.commit()
        rows = _flights(cursor, path) if shape is FLIGHTS else _orders(cursor, path, shape)

        @dlt.resource(
            name=table,
            primary_key=shape.key,
            write_disposition={"disposition": "merge", "strategy": "upsert"},
            columns={column: {**_HINTS[type_], "nullable": True} for column, type_ in shape.columns.items()},
            file_format="csv",
        )
        def sorted_rows() -> Iterator[Any]:
            good, bad = [], []
            for line, row, reason, given in rows:
                if reason is None:
                    good.append(row)
                else:
                    bad.append({"line": line, "row": given, "reason": reason})
                if len(good) >= _PAGE:
                    yield good
                    good = []
                if len(bad) >= _PAGE:
                    yield _rejects(bad)
                    bad = []
            yield good
            if bad:
                yield _rejects(bad)

        with tempfile.TemporaryDirectory() as folder:
            pipeline = dlt.pipeline(
                "imports", destination=dlt.destinations.postgres(dsn), dataset_name=schema, pipelines_dir=folder
            )
            print(pipeline.run(sorted_rows()))
            print(pipeline.last_trace.last_normalize_info)


def _rejects(rows: list[dict[str, Any]]) -> Any:
    return dlt.mark.with_hints(
        rows,
        dlt.mark.make_hints(table_name="rejects", write_disposition="append", columns=_REJECT_HINTS, primary_key=()),
        create_table_variant=True,
    )


Checked = Iterator[tuple[int, dict[str, Any], str | None, dict[str, str]]]


def _orders(cursor: Any, path: str, shape: Shape) -> Checked:
    fields: dict[str, Any] = {column: (_TYPES[type_], ...) for column, type_ in shape.columns.items()}
    fields["quantity"] = (Annotated[int, Field(gt=0)], ...)
    model: type[BaseModel] = create_model("Order", **fields)
    cursor.execute("SELECT id FROM shop.customers")
    customers = {customer for (customer,) in cursor.fetchall()}
    cursor.execute(f"SELECT reference, order_no FROM {shape.table}")
    references: dict[str, str] = dict(cursor.fetchall())
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for given in reader:
            reason = None
            row: dict[str, Any] = {}
            try:
                row = model.model_validate(given).model_dump()
            except ValidationError as error:
                reason = "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
            else:
                if row["customer_id"] not in customers:
                    reason = "customer_id is not known"
                elif references.setdefault(row["reference"], row["order_no"]) != row["order_no"]:
                    reason = f"reference is taken by {references[row['reference']]}"
            yield reader.line_num, row, reason, given


def _flights(cursor: Any, path: str) -> Checked:
    known = {}
    for column, table, key in (
        ("tailnum", "planes", "tailnum"),
        ("dest", "airports", "faa"),
        ("origin", "airports", "faa"),
        ("carrier", "airlines", "carrier"),
    ):
        cursor.execute(f"SELECT {key} FROM example.{table}")
        known[column] = {value for (value,) in cursor.fetchall()}
    known["tailnum"].add(None)
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for given in reader:
            reason = None
            row: dict[str, Any] = {}
            try:
                row = flight_row(given)
            except ValueError as error:
                reason = str(error)
            else:
                wrong = [column for column, values in known.items() if row[column] not in values]
                reason = f"{wrong[0]} is not known" if wrong else None
            yield reader.line_num, row, reason, given


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], SHAPES[sys.argv[3]])
