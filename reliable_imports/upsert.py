"""The INSERT statements behind `ctx.insert` and `ctx.upsert`, with every identifier quoted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from psycopg2.extras import Json

from reliable_imports.errors import ContextMisuse
from reliable_imports.json_text import is_utf8

_MAX_IDENTIFIER_BYTES = 63
_MAX_NATURAL_KEY = 200
_SCALARS = frozenset({str, int, float, bool, type(None), Decimal, date, datetime})


class InsertTemplate(NamedTuple):
    """An INSERT in three parts: between *head* and *tail* may stand any number of rows, separated by commas.

    Attributes:
        table: quoted.
        into: the head without its VALUES.
    """

    table: str
    columns: tuple[str, ...]
    into: str
    head: str
    row: str
    """One `%s` for each column, in parentheses."""
    tail: str
    statement: str
    """All of it for one row, with parameters."""


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
def insert_template(table: str, columns: tuple[str, ...], key: tuple[str, ...] | None) -> InsertTemplate:
    """INSERT of rows; with *key*, the row of that key is updated instead if it exists. Head and tail are final SQL."""
    if not columns:
        raise ContextMisuse(f"a row for table {table} needs at least one column")
    names = ", ".join(map(quoted, columns))
    tail = ""
    if key is not None:
        # Where the row is the key alone, one assignment is kept: DO NOTHING would return no row.
        changed = [column for column in columns if column not in key] or [key[0]]
        assignments = ", ".join(f"{quoted(column)} = EXCLUDED.{quoted(column)}" for column in changed)
        tail = f" ON CONFLICT ({', '.join(map(quoted, key))}) DO UPDATE SET {assignments}"
    name = quoted_table(table)
    into = f"INSERT INTO {name} ({names}) "
    head = f"{into}VALUES "
    row = f"({', '.join(['%s'] * len(columns))})"
    # Head and tail are sent as they stand.
    sent = [text.replace("%%", "%") for text in (name, into, head, tail)]
    return InsertTemplate(sent[0], columns, sent[1], sent[2], row, sent[3], head + row + tail)


def adapted(values: Sequence[Any]) -> list[Any]:
    """The values as psycopg2 takes them: a mapping, or a list that holds one, becomes JSON."""
    if _SCALARS.issuperset(map(type, values)):
        return list(values)
    return [_adapted(value) if isinstance(value, dict | list) else value for value in values]


def row_literal(values: Iterable[Any]) -> str | None:
    """The values in parentheses, as psycopg2 would write them; None where one is not of the plainest kind.

    Adapting value by value costs as much as the server's INSERT, and most values are text without a quote, or numbers.
    """
    parts = []
    for value in values:
        kind = type(value)
        if kind is str:
            if "'" in value or "\\" in value or "\0" in value or not (value.isascii() or is_utf8(value)):
                return None
            parts.append(f"'{value}'")
        elif kind is int:
            parts.append(int.__repr__(value))
        elif value is None:
            parts.append("NULL")
        else:
            return None
    return f"({', '.join(parts)})"


def natural_key(name: str, values: Sequence[Any]) -> str:
    """What an item is about as one line of text, the same for 7 and "7"; long ones are hashed, and those of odd names.

    Args:
        name: the table of an upsert, or the batch type of a declared key.
    """
    if len(values) == 1 and values[0] is not None:
        text = f"{name}:[{encode_basestring(str(values[0]))}]"
    else:
        parts = ["null" if value is None else encode_basestring(str(value)) for value in values]
        text = f"{name}:[{', '.join(parts)}]"
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) > _MAX_NATURAL_KEY or not name.isprintable():
        return f"sha256:{sha256(text.encode()).hexdigest()}"
    return text


def _adapted(value: dict[str, Any] | list[Any]) -> Any:
    if isinstance(value, dict) or any(isinstance(element, dict) for element in value):
        return Json(value)
    return value
