"""What a DBA writes: COPY into a staging table of texts, then one statement that judges every row and sorts them.

Bad rows go to a table with the line, the row as it came, and the first thing that is wrong with it.
"""

from __future__ import annotations

import sys
from contextlib import closing

import psycopg2

from benchmarks.dirty.shapes import FLIGHTS, SHAPES, Shape, upsert_sql

_FLIGHTS_HEADER = [
    *("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay"),
    *("carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance", "hour", "minute", "time_hour"),
]

_REJECTS = """
CREATE TABLE IF NOT EXISTS public.rejects (
    line bigint NOT NULL,
    row jsonb NOT NULL,
    reason text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now()
)
"""

# What is wrong with a row of orders by itself, or by what it refers to. Columns of other types are looked at likewise.
_ORDERS_JUDGED = """
SELECT staged.*, CASE
    {invalid}
    WHEN customers.id IS NULL THEN 'customer_id is not present in customers'
    WHEN quantity::integer <= 0 THEN 'quantity must be positive'
END AS reason
FROM staged
LEFT JOIN shop.customers ON id = CASE WHEN pg_input_is_valid(customer_id, 'integer') THEN customer_id::integer END
"""

# A reference belongs to the first good row that has it, or to an order that is there already.
_ORDERS_UNIQUE = """
SELECT judged.*, CASE
    WHEN judged.reason IS NOT NULL THEN judged.reason
    WHEN there.order_no <> judged.order_no THEN 'reference is taken by order ' || there.order_no
    WHEN first_value(judged.order_no) OVER same <> judged.order_no THEN 'reference is taken by an earlier row'
END AS why
FROM judged
LEFT JOIN {table} AS there ON there.reference = judged.reference
WINDOW same AS (PARTITION BY judged.reference, judged.reason IS NULL ORDER BY judged.line)
"""


def _clock(column: str) -> str:
    """`517` -> 05:17, and `2400` -> 00:00."""
    return f"lpad(CASE {column} WHEN '2400' THEN '0' ELSE {column} END, 4, '0')::time AS {column}"


_FLIGHTS_JUDGED = f"""
SELECT
    line, make_date(staged.year::integer, month::integer, day::integer) AS flight_date, staged.carrier,
    flight::smallint, origin, dest, staged.tailnum, time_hour::timestamptz,
    {_clock("sched_dep_time")}, {_clock("dep_time")}, dep_delay::smallint,
    {_clock("sched_arr_time")}, {_clock("arr_time")}, arr_delay::smallint, air_time::smallint, distance::smallint,
    CASE
        WHEN staged.tailnum IS NOT NULL AND planes.tailnum IS NULL THEN 'tailnum is not present in planes'
        WHEN destinations.faa IS NULL THEN 'dest is not present in airports'
        WHEN origins.faa IS NULL THEN 'origin is not present in airports'
        WHEN airlines.carrier IS NULL THEN 'carrier is not present in airlines'
    END AS why
FROM staged
LEFT JOIN example.planes ON planes.tailnum = staged.tailnum
LEFT JOIN example.airports AS destinations ON destinations.faa = dest
LEFT JOIN example.airports AS origins ON origins.faa = origin
LEFT JOIN example.airlines ON airlines.carrier = staged.carrier
"""


def main(dsn: str, path: str, shape: Shape) -> None:
    header = _FLIGHTS_HEADER if shape is FLIGHTS else list(shape.columns)
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_REJECTS)
        cursor.execute(
            f"CREATE TEMPORARY TABLE staged (line bigint GENERATED ALWAYS AS IDENTITY, {' text, '.join(header)} text)"
        )
        with open(path, "rb") as file:
            cursor.copy_expert(f"COPY staged ({', '.join(header)}) FROM STDIN (FORMAT csv, HEADER, NULL 'NA')", file)
        cursor.execute("ANALYZE staged")
        cursor.execute(_flights_statement() if shape is FLIGHTS else _orders_statement(shape))
        print(cursor.rowcount, "rows")
        cursor.execute("SELECT reason, count(*) FROM public.rejects GROUP BY reason ORDER BY count(*) DESC LIMIT 10")
        for reason, count in cursor.fetchall():
            print(count, "rejected:", reason)


def _orders_statement(shape: Shape) -> str:
    invalid = "\n    ".join(
        f"WHEN NOT pg_input_is_valid({column}, '{type_}') THEN '{column} is no {type_}'"
        for column, type_ in shape.columns.items()
        if type_ != "text"
    )
    values = ", ".join(f"{column}::{type_}" for column, type_ in shape.columns.items())
    return _sorted(
        {
            "judged": _ORDERS_JUDGED.format(invalid=invalid),
            "sorted": _ORDERS_UNIQUE.format(table=shape.table),
        },
        upsert_sql(shape, f"SELECT {values} FROM sorted WHERE why IS NULL"),
    )


def _flights_statement() -> str:
    columns = ", ".join(FLIGHTS.columns)
    upsert = upsert_sql(FLIGHTS, f"SELECT {columns} FROM sorted WHERE why IS NULL")
    return _sorted({"sorted": _FLIGHTS_JUDGED}, upsert)


def _sorted(judgements: dict[str, str], upsert: str) -> str:
    """One statement: what *judgements* find wrong goes to the rejects as it came, and the rest to the table."""
    with_ = ", ".join(f"{name} AS MATERIALIZED ({query})" for name, query in judgements.items())
    return f"""
        WITH {with_}, rejected AS (
            INSERT INTO public.rejects (line, row, reason)
            SELECT line + 1, to_jsonb(staged) - 'line', why FROM sorted JOIN staged USING (line) WHERE why IS NOT NULL
        )
        {upsert}
    """


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], SHAPES[sys.argv[3]])
