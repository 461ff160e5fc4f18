"""Statements with their parameters in place, exactly as psycopg2 sends them, in half the time that it takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

from psycopg2.extensions import Boolean, Float, Int, ISQLQuote, NoneAdapter, QuotedString, adapters

_PLACES = re.compile(r"%(?:\((?P<name>[^()%]*)\))?s|%%|(?P<other>%)")


def _text(value: str) -> str | None:
    if "\\" in value or "\0" in value:
        return None
    return "'" + value.replace("'", "''") + "'"


def _integer(value: int) -> str:
    return str(value) if value >= 0 else f" {value}"


def _float(value: float) -> str | None:
    if not isfinite(value):
        return None
    text = repr(value)
    return f" {text}" if text[0] == "-" else text  # also of -0.0


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _null(value: None) -> str:
    return "NULL"


_LITERALS: Mapping[type, Callable[[Any], str | None]] = {
    str: _text,
    int: _integer,
    float: _float,
    bool: _boolean,
    type(None): _null,
}
"""The literal of a value; None if psycopg2 has to say what becomes of it."""

_USUAL = {str: QuotedString, int: Int, float: Float, bool: Boolean, type(None): NoneAdapter}


def are_adapted_as_usual() -> bool:
    """Whether nobody has told psycopg2 to write texts, numbers or booleans in another way."""
    return all(adapters.get((each, ISQLQuote)) is usual for each, usual in _USUAL.items())


def with_literals(statement: str, parameters: Any, adapt: Callable[[Any], str]) -> str | None:
    """*statement* with its parameters in place; None if psycopg2 has to do it, which also knows what is wrong with it.

    Args:
        adapt: gives the literal of a value of any other type.

    Raises:
        UnicodeEncodeError: a text cannot be sent.
    """
    names = _names_in(statement)
    if names is None or not parameters:
        return None
    kind = type(parameters)
    if kind is dict:
        if None in names:
            return None
        literals: Any = {}
        for name in names:
            if name not in parameters:
                return None
            value = parameters[name]
            write = _LITERALS.get(type(value))
            literals[name] = (None if write is None else write(value)) or adapt(value)
    elif kind is list or kind is tuple:
        if len(names) != len(parameters) or names.count(None) != len(names):
            return None
        given = []
        for value in parameters:
            write = _LITERALS.get(type(value))
            given.append((None if write is None else write(value)) or adapt(value))
        literals = tuple(given)
    else:
        return None
    text: str = statement % literals
    if not text.isascii():
        text.encode()
    return text


@lru_cache(maxsize=1024)
def _names_in(statement: str) -> tuple[str | None, ...] | None:
    """The names of the places in a statement, None for each that has none; None if it says anything else by a `%`."""
    places = list(_PLACES.finditer(statement))
    if any(each["other"] for each in places):
        return None
    return tuple(each["name"] for each in places if each[0] != "%%")
