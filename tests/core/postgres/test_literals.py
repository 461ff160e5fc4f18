"""Parameters that are put into a statement here are put in as psycopg2 does it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import AsIs, register_adapter

from reliable_imports.engine.isolation.transaction import ChunkTransaction
from reliable_imports.postgres.connect import open_connection

_VALUES: list[Any] = [
    "", "it's", "''", "back\\slash", "50% %s %%", "Gdańsk €", "a\nb", 0, -1, 2**70, True, False, None, 0.1, -0.0, 1e300,
    -2.5, float("nan"), float("-inf"), Decimal("-1.50"), datetime(2024, 1, 1, tzinfo=timezone.utc),
    b"\x00'", [1, "it's"],
    AsIs("now()"),
]  # fmt: skip


@pytest.fixture
def transaction(database: str) -> Iterator[ChunkTransaction]:
    connection = open_connection(database)
    yield ChunkTransaction(connection)
    connection.close()


def _as_psycopg2(transaction: ChunkTransaction, statement: str, parameters: Any) -> Any:
    try:
        return transaction.cursor.mogrify(statement, parameters).decode()
    except Exception as error:
        return type(error)


def _as_we(transaction: ChunkTransaction, statement: str, parameters: Any) -> Any:
    try:
        return transaction.mogrify(statement, parameters)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT %(a)s, 10 %% 3, '%%', %(b)s, %(a)s",
        "SELECT %s, 'ü%%', %s",
        "SELECT %s, %(a)s",
        "SELECT %s",
        "SELECT %(c)s",
        "SELECT %d, %(a)d",
        "SELECT 1 %",
        "SELECT '%%'",
    ],
)
def test_a_statement_is_what_psycopg2_makes_of_it(transaction: ChunkTransaction, statement: str) -> None:
    for value in [*_VALUES, "nul\0", "\ud800", object()]:
        for parameters in ({"a": value, "b": "b"}, (value, 2), [value, "b"], [], {}, (), value):
            if parameters is not None:
                expected = _as_psycopg2(transaction, statement, parameters)
                assert _as_we(transaction, statement, parameters) == expected, (statement, parameters)


def test_an_adapter_of_the_teams_own_is_used(transaction: ChunkTransaction) -> None:
    usual = psycopg2.extensions.adapters[(str, psycopg2.extensions.ISQLQuote)]
    register_adapter(str, lambda value: AsIs(f"upper('{value}')"))
    try:
        assert ChunkTransaction(transaction.connection).mogrify("SELECT %s", ["a"]) == "SELECT upper('a')"
    finally:
        register_adapter(str, usual)
