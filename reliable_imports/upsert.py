"""The INSERT statements behind `ctx.insert` and `ctx.upsert`, with every identifier quoted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name
from psycopg2.extras import Json

from reliable_imports.errors import ContextMisuse

_MAX_IDENTIFIER_BYTES = 63
_MAX_NATURAL_KEY = 200


def table_name(table: str) -> sql.Identifier:
    """`name` or `schema.name` as an identifier.

    Raises:
        ContextMisuse: a name that PostgreSQL would silently cut, or that holds a NUL.
    """
    return sql.Identifier(*[_checked(part) for part in table.split(".")])


def insert_statement(
    connection: Connection, table: str, columns: tuple[str, ...], key: tuple[str, ...] | None, returning: str | None
) -> str:
    """INSERT with one `%s` for each column; with *key*, the row of that key is updated instead if it exists."""
    return _statement(_Quoting(connection), table, columns, key, returning)


class _Quoting:
    """A connection as far as quoting identifiers needs one; all are equal, so that statements are cached once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Quoting)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=1024)
def _statement(
    quoting: _Quoting, table: str, columns: tuple[str, ...], key: tuple[str, ...] | None, returning: str | None
) -> str:
    if not columns:
        raise ContextMisuse(f"a row for table {table} needs at least one column")
    names = [sql.Identifier(_checked(column)) for column in columns]
    parts = [
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table_name(table), sql.SQL(", ").join(names), sql.SQL(", ").join([sql.Placeholder()] * len(names))
        )
    ]
    if key is not None:
        parts.append(_on_conflict(table, columns, key))
    if returning is not None:
        parts.append(sql.SQL("RETURNING {}").format(sql.Identifier(_checked(returning))))
    return sql.SQL(" ").join(parts).as_string(quoting.connection)


def _on_conflict(table: str, columns: tuple[str, ...], key: tuple[str, ...]) -> sql.Composed:
    missing = [column for column in key if column not in columns]
    if missing or not key:
        raise ContextMisuse(f"the key of an upsert into {table} must be among the row's columns; missing: {missing}")
    # Where the row is the key alone, one assignment is kept: DO NOTHING would return no row.
    changed = [column for column in columns if column not in key] or [key[0]]
    assignments = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(column)) for column in changed]
    return sql.SQL("ON CONFLICT ({}) DO UPDATE SET {}").format(
        sql.SQL(", ").join(map(sql.Identifier, key)), sql.SQL(", ").join(assignments)
    )


def adapted(values: Sequence[Any]) -> list[Any]:
    """The values as psycopg2 takes them: a mapping, or a list that holds one, becomes JSON."""
    return [_adapted(value) if isinstance(value, dict | list) else value for value in values]


def natural_key(table: str, row: Mapping[str, Any], key: Sequence[str]) -> str:
    """The table and key of an upsert as one text; long ones are hashed."""
    text = f"{table}:{json.dumps([row[column] for column in key], default=str, ensure_ascii=False)}"
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_NATURAL_KEY else f"{table}:sha256:{sha256(text.encode()).hexdigest()}"


def _adapted(value: dict[str, Any] | list[Any]) -> Any:
    if isinstance(value, dict) or any(isinstance(element, dict) for element in value):
        return Json(value)
    return value


def _checked(identifier: str) -> str:
    if "\0" in identifier or not 0 < len(identifier.encode("utf-8", "replace")) <= _MAX_IDENTIFIER_BYTES:
        raise ContextMisuse(f"{identifier[:80]!r} is not a name of 1 to {_MAX_IDENTIFIER_BYTES} bytes")
    return identifier
