"""The INSERT statements behind `ctx.insert` and `ctx.upsert`, with every identifier quoted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from psycopg2.extras import Json

from reliable_imports.errors import ContextMisuse

_MAX_IDENTIFIER_BYTES = 63
_MAX_NATURAL_KEY = 200


def quoted_table(table: str) -> str:
    """`name` or `schema.name`, quoted for a statement that takes parameters.

    Raises:
        ContextMisuse: a name that PostgreSQL would silently cut, or that holds a NUL.
    """
    return ".".join(quoted(part) for part in table.split("."))


def quoted(identifier: str) -> str:
    """One identifier, quoted likewise; a `%` is doubled, for it would be taken for a parameter."""
    if "\0" in identifier or not 0 < len(identifier.encode("utf-8", "replace")) <= _MAX_IDENTIFIER_BYTES:
        raise ContextMisuse(f"{identifier[:80]!r} is not a name of 1 to {_MAX_IDENTIFIER_BYTES} bytes")
    return '"' + identifier.replace('"', '""').replace("%", "%%") + '"'


@lru_cache(maxsize=1024)
def insert_statement(table: str, columns: tuple[str, ...], key: tuple[str, ...] | None, returning: str | None) -> str:
    """INSERT with one `%s` for each column; with *key*, the row of that key is updated instead if it exists."""
    if not columns:
        raise ContextMisuse(f"a row for table {table} needs at least one column")
    names = ", ".join(map(quoted, columns))
    statement = f"INSERT INTO {quoted_table(table)} ({names}) VALUES ({', '.join(['%s'] * len(columns))})"
    if key is not None:
        # Where the row is the key alone, one assignment is kept: DO NOTHING would return no row.
        changed = [column for column in columns if column not in key] or [key[0]]
        assignments = ", ".join(f"{quoted(column)} = EXCLUDED.{quoted(column)}" for column in changed)
        statement += f" ON CONFLICT ({', '.join(map(quoted, key))}) DO UPDATE SET {assignments}"
    if returning is not None:
        statement += f" RETURNING {quoted(returning)}"
    return statement


def adapted(values: Sequence[Any]) -> list[Any]:
    """The values as psycopg2 takes them: a mapping, or a list that holds one, becomes JSON."""
    return [_adapted(value) if isinstance(value, dict | list) else value for value in values]


def natural_key(table: str, row: Mapping[str, Any], key: Sequence[str]) -> str:
    """The table and key of an upsert as one text, the same for 7 and "7"; long ones are hashed."""
    values = [None if row[column] is None else str(row[column]) for column in key]
    text = f"{table.rpartition('.')[2]}:{json.dumps(values, ensure_ascii=False)}"
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_NATURAL_KEY else f"sha256:{sha256(text.encode()).hexdigest()}"


def _adapted(value: dict[str, Any] | list[Any]) -> Any:
    if isinstance(value, dict) or any(isinstance(element, dict) for element in value):
        return Json(value)
    return value
