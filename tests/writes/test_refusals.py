"""What an error is about is known from the table, or asked of the server; both must say the same."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from reliable_imports.postgres.queries import load
from reliable_imports.writes.identifiers import quoted_table
from reliable_imports.writes.refusals import named_by_server, named_by_target
from reliable_imports.writes.target import Target
from tests.conftest import Sql

WRITES = load("writes.sql")

TABLES = """
CREATE SCHEMA shop;
CREATE TABLE shop.parents (a integer, b integer, PRIMARY KEY (b, a));
CREATE TABLE shop.orders (
    id integer PRIMARY KEY,
    b integer CONSTRAINT two_columns CHECK (b > id) NOT NULL,
    a integer,
    code text,
    CONSTRAINT "a parent" FOREIGN KEY (b, a) REFERENCES shop.parents (b, a),
    CONSTRAINT one_code UNIQUE (code, a) INCLUDE (b)
);
CREATE UNIQUE INDEX only_an_index ON shop.orders (code);
CREATE UNIQUE INDEX two_columns ON shop.orders (a);
CREATE TABLE shop.parts (id integer CONSTRAINT positive CHECK (id > 0)) PARTITION BY LIST (id);
CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES IN (1);
CREATE VIEW shop.looks AS SELECT * FROM shop.orders;
CREATE TABLE shop."Old Orders" (id integer PRIMARY KEY);
"""


@pytest.mark.parametrize(
    ("target", "table", "constraint", "is_known"),
    [
        ("orders", "orders", None, True),
        ("orders", "orders", "orders_pkey", True),
        ("orders", "orders", "two_columns", True),
        ("orders", "orders", "a parent", True),
        ("orders", "orders", "one_code", True),
        ("orders", "orders", "only_an_index", True),
        ("orders", "orders", "made up by a trigger", False),
        ("orders", "parents", "parents_pkey", False),
        ("parts", "parts", "positive", True),
        ("parts", "parts_1", "positive", False),
        ("parts_1", "parts_1", "positive", False),
        ("looks", "orders", None, True),
        ("looks", "orders", "one_code", False),
        ("Old Orders", "Old Orders", "Old Orders_pkey", False),
    ],
)
def test_what_is_known_of_a_table_is_what_the_server_says(
    database: str, sql: Sql, target: str, table: str, constraint: str | None, is_known: bool
) -> None:
    sql(TABLES)
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(WRITES["describe_target"], {"table": quoted_table(f"shop.{target}")})
        ((described,),) = cursor.fetchall()
        known = named_by_target(Target.of(described), "shop", table, constraint)
        cursor.execute(WRITES["root_names"], {"schema": "shop", "table": table, "constraint": constraint})
        (row,) = cursor.fetchall()

    assert (known is not None) == is_known
    assert known in (None, named_by_server(row, f"shop.{table}", constraint))
