"""The loop that everybody writes: a savepoint for each row, an upsert, and a table for those that are refused."""

from __future__ import annotations

import csv
import sys
from contextlib import closing

import psycopg2
from psycopg2.extras import Json

from benchmarks.dirty.programs.flight_rows import flight_row
from benchmarks.dirty.shapes import FLIGHTS, SHAPES, Shape, upsert_sql

_REJECTS = """
CREATE TABLE IF NOT EXISTS public.rejects (
    line bigint NOT NULL,
    row jsonb NOT NULL,
    reason text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now()
)
"""
_REJECT = "INSERT INTO public.rejects (line, row, reason) VALUES (%s, %s, %s)"


def main(dsn: str, path: str, shape: Shape) -> None:
    upsert = upsert_sql(shape, f"VALUES ({', '.join(f'%({column})s' for column in shape.columns)})")
    good = bad = 0
    with (
        closing(psycopg2.connect(dsn)) as connection,
        connection,
        connection.cursor() as cursor,
        open(path, encoding="utf-8", newline="") as file,
    ):
        cursor.execute(_REJECTS)
        reader = csv.DictReader(file)
        for row in reader:
            cursor.execute("SAVEPOINT row")
            try:
                cursor.execute(upsert, flight_row(row) if shape is FLIGHTS else row)
            except (psycopg2.DataError, psycopg2.IntegrityError, ValueError) as error:
                cursor.execute("ROLLBACK TO SAVEPOINT row")
                cursor.execute(_REJECT, (reader.line_num, Json(row), str(error)))
                bad += 1
            else:
                good += 1
            cursor.execute("RELEASE SAVEPOINT row")
    print(good, "rows,", bad, "rejected")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], SHAPES[sys.argv[3]])
