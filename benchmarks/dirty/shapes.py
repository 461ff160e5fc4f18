"""The files and tables of the scenario `dirty`: orders of 6 columns and of 40, and flights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of file and the table that it goes to.

    Attributes:
        columns: of the table, with their types; those of a file of orders have the same names, and the same order.
        key: what a row is known by.
    """

    name: str
    table: str
    columns: dict[str, str]
    key: tuple[str, ...]


_ORDER = {
    "order_no": "text",
    "reference": "text",
    "customer_id": "integer",
    "quantity": "integer",
    "price": "numeric(10,2)",
    "ordered_on": "date",
}
_MORE = {
    **{f"text_{number}": "text" for number in range(1, 13)},
    **{f"count_{number}": "integer" for number in range(1, 11)},
    **{f"amount_{number}": "numeric(10,2)" for number in range(1, 7)},
    **{f"day_{number}": "date" for number in range(1, 5)},
    **{f"flag_{number}": "boolean" for number in range(1, 3)},
}

NARROW = Shape("narrow", "shop.orders", _ORDER, ("order_no",))
WIDE = Shape("wide", "shop.wide_orders", {**_ORDER, **_MORE}, ("order_no",))
FLIGHTS = Shape(
    "flights",
    "example.flights",
    {
        "flight_date": "date",
        "carrier": "text",
        "flight": "smallint",
        "origin": "text",
        "dest": "text",
        "tailnum": "text",
        "time_hour": "timestamptz",
        "sched_dep_time": "time",
        "dep_time": "time",
        "dep_delay": "smallint",
        "sched_arr_time": "time",
        "arr_time": "time",
        "arr_delay": "smallint",
        "air_time": "smallint",
        "distance": "smallint",
    },
    ("flight_date", "carrier", "flight", "origin"),
)
SHAPES = {shape.name: shape for shape in (NARROW, WIDE, FLIGHTS)}


def tables_sql(shape: Shape) -> str:
    """The tables of a shape of orders, and the thousand customers that they refer to."""
    constraints = {
        "order_no": " PRIMARY KEY",
        "reference": " NOT NULL CONSTRAINT orders_reference_key UNIQUE",
        "customer_id": " NOT NULL CONSTRAINT orders_customer_id_fkey REFERENCES shop.customers",
        "quantity": " NOT NULL CONSTRAINT orders_quantity_check CHECK (quantity > 0)",
    }
    columns = ",\n    ".join(
        f"{name} {type_}{constraints.get(name, ' NOT NULL')}" for name, type_ in shape.columns.items()
    )
    return f"""
CREATE SCHEMA shop;
CREATE TABLE shop.customers (id integer PRIMARY KEY);
INSERT INTO shop.customers SELECT generate_series(1, {CUSTOMERS});
CREATE TABLE {shape.table} (
    {columns}
);
ANALYZE shop.customers;
"""


CUSTOMERS = 1000


def upsert_sql(shape: Shape, values: str) -> str:
    """INSERT of *values*, or the UPDATE of the row with the same key."""
    sets = ", ".join(f"{column} = EXCLUDED.{column}" for column in shape.columns if column not in shape.key)
    return (
        f"INSERT INTO {shape.table} ({', '.join(shape.columns)}) {values} "
        f"ON CONFLICT ({', '.join(shape.key)}) DO UPDATE SET {sets}"
    )
