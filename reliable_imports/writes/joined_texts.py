"""The texts of a column as one text, which the server cuts apart sooner than it reads an array."""

from __future__ import annotations

from collections.abc import Sequence

SEPARATOR = "\x1e"
NULL = "\x1f"
"""Between the texts of a column, and in place of a text where there is none; a text that holds one is written apart."""

_SEPARATOR_AND_NULL = r"E'\x1e', E'\x1f'"


def columns_of_texts(rows: Sequence[Sequence[str | None]]) -> list[str] | None:
    """One text for each column, its values separated by SEPARATOR; None if a value holds what stands between them."""
    texts = []
    for values in zip(*rows, strict=True):
        try:
            text = SEPARATOR.join(values)
        except TypeError:
            text = SEPARATOR.join([NULL if value is None else value for value in values])
            if text.count(NULL) != values.count(None):
                return None
        else:
            if NULL in text:
                return None
        # An empty text alone would be cut into nothing.
        if text.count(SEPARATOR) != len(rows) - 1 or not text:
            return None
        texts.append(text)
    return texts


def cut(sql: str) -> str:
    """SQL that cuts a text into the values that were joined; the text as SQL."""
    return f"pg_catalog.string_to_array({sql}, {_SEPARATOR_AND_NULL})"


def joined(sql: str) -> str:
    """SQL that joins values into a text; the values as SQL for an array."""
    return f"pg_catalog.array_to_string({sql}, {_SEPARATOR_AND_NULL})"
