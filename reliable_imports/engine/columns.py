"""Declared rows as columns: PostgreSQL cuts a few long texts apart faster than it parses thousands of values.

Only where text means the same to a column as the value itself does. For all others there are rows, value by value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from reliable_imports.json_text import is_utf8

SEPARATOR = "\x1e"
NULL = "\x1f"

_WHOLE_NUMBERS = frozenset({"int2", "int4", "int8"})
_TEXTUAL = frozenset({"text", "varchar", "bpchar"})
_TAKEN_AS_TEXT = frozenset(
    {*_TEXTUAL, *_WHOLE_NUMBERS, "numeric", "float4", "float8", "bool", "date", "timestamp", "timestamptz", "uuid"}
    | {"json", "jsonb"}
)

_KINDS: dict[type, tuple[frozenset[str], Callable[[Any], str]]] = {
    str: (_TAKEN_AS_TEXT, str),
    int: (_WHOLE_NUMBERS | {"numeric"}, str),
    float: (frozenset({"numeric", "float8"}), lambda value: repr(value + 0.0)),  # a number in SQL has no -0.0
    bool: (frozenset({"bool"}), str),
    Decimal: (frozenset({"numeric"}), str),
    date: (frozenset({"date"}), date.isoformat),
}
"""For the type of a value: the columns to which its text says the same, and the text. Times are not here: PostgreSQL
overlooks the zone in the text of a timestamp, and converts a value."""

_LARGEST = 2**63


def selected(types: Sequence[str]) -> str:
    """The list of a SELECT that makes values of *types* of the columns c1, c2 and so on, which are text.

    Text stays text: its assignment refuses what is too long for a varchar(3), and a cast would cut it off.
    """
    return ", ".join(
        f"c{number}" if kind in _TEXTUAL else f"c{number}::pg_catalog.{kind}" for number, kind in enumerate(types, 1)
    )


def texts_of(rows: Sequence[Sequence[Any]], types: Sequence[str]) -> list[str] | None:
    """One text for each column, its values separated by SEPARATOR; None if it cannot be done for one of them."""
    texts = []
    for values, column in zip(zip(*rows, strict=True), types, strict=True):
        text = _text_of(values, column)
        if text is None or text.count(SEPARATOR) != len(rows) - 1:
            return None
        texts.append(text)
    return texts


def _text_of(values: Sequence[Any], column: str) -> str | None:
    kinds = set(map(type, values))
    if kinds == {str}:
        return SEPARATOR.join(values) if column in _TAKEN_AS_TEXT and NULL not in values else None
    parts = []
    for value in values:
        if value is None:
            parts.append(NULL)
            continue
        columns, write = _KINDS[type(value)]
        if column not in columns or value == NULL:
            return None
        parts.append(write(value))
    return SEPARATOR.join(parts)


def is_plain(values: Sequence[Any]) -> bool:
    """Whether the values may be kept as they are until their rows are written: none of them can change, or be refused
    by anything but the server."""
    for value in values:
        kind = type(value)
        if kind is str:
            if "\0" in value or not (value.isascii() or is_utf8(value)):
                return False
        elif kind is int:
            if not -_LARGEST <= value < _LARGEST:
                return False
        elif kind is float:
            if not math.isfinite(value):
                return False
        elif kind is Decimal:
            if not value.is_finite():
                return False
        elif kind not in _KINDS and value is not None:
            return False
    return True
