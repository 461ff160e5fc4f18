"""Python objects as the JSON text of items.

`dumps_item` writes an object without spaces and with its keys in their order:

    dict and other mappings                  object; the keys must be strings
    list, tuple                              array
    str, int, float, bool, None              string, number, true or false, null
    Decimal                                  number with exactly its digits (`Decimal("1.10")` -> `1.10`)
    NaN                                      null: what it says is that there is no value
    datetime, date, time                     string, `isoformat()`
    timedelta                                string, ISO 8601: `P1DT2.5S`
    UUID, pathlib paths                      string, `str()`
    Enum                                     as its value
    dataclass, msgspec.Struct, pydantic      object by field name; for pydantic by alias, as the model validates it
    numpy scalars, arrays                    as the Python value that equals them; arrays as lists of such
    pandas NA, NaT                           null
    pandas Timestamp, Timedelta, Series      as datetime, timedelta, mapping

Whatever else there is (bytes, sets, infinities, keys that are no strings) is not guessed at: see `dumps_item`.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from json.encoder import encode_basestring
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec

from reliable_imports.items.json_check import MAX_NESTING, TOO_DEEP, is_utf8, server_can_read, shortened
from reliable_imports.items.short_repr import short_repr
from reliable_imports.items.source_item import MAX_ITEM_BYTES, SourceItem

_MAX_PLAIN = 64 * 1024
_NO_FLOATS = frozenset({str, int, bool, type(None)})
_SCALARS = _NO_FLOATS | {float}
_SIMPLE = _NO_FLOATS | {date}
_ONLY_STR = frozenset({str})
_encode = msgspec.json.Encoder().encode
_NOT_ENCODED = (ValueError, OverflowError, msgspec.MsgspecError)


class TooLarge(ValueError):
    """A value has more JSON than there is room for; how much, in words."""


def plain_object(value: object) -> str | None:
    """What `dumps_item` would give as text, for an object of scalars and of lists of such, as most are; None for all
    others."""
    if type(value) is not dict:
        return None
    for key, each in value.items():
        kind = type(each)
        if type(key) is not str:
            return None
        if kind in _SIMPLE or (kind is float and not math.isinf(each)):
            continue
        if kind is not list or not _SIMPLE.issuperset(map(type, each)):
            return None
    try:
        text = _encode(value).decode()
    except _NOT_ENCODED:
        return None
    if len(text) > _MAX_PLAIN or ("\\" in text and "\\u" in text):
        return None
    return text


def dumps_item(value: object, *, max_bytes: int = MAX_ITEM_BYTES) -> SourceItem:
    """One Python object as an item. What JSON cannot hold becomes an item with a problem that names where it is.

    Raises:
        TooLarge: it is larger than *max_bytes*.
    """
    try:
        try:
            text = _encode(value).decode() if _is_plain(value, 1) else _write(value, 1)
        except _NOT_ENCODED:  # a lone surrogate, or more digits than Python prints: the slow way knows what to do
            text = _write(value, 1)
    except _NotJson as refusal:
        return _refused(value, refusal.kind, f"{refusal.place()}: {refusal.problem}")
    except RecursionError:
        return _refused(value, "too-deep", f"$: {TOO_DEEP}")
    except Exception as error:  # the objects' own code runs here, and may raise anything
        return _refused(value, "not-json-value", f"$: reading the item raised {type(error).__name__}")
    if len(text) * 4 > max_bytes and (size := len(text.encode("utf-8", "backslashreplace"))) > max_bytes:
        raise TooLarge(f"{size} bytes of JSON, and the limit is {max_bytes}")
    if (text.isascii() or is_utf8(text)) and server_can_read(text):
        return SourceItem(text, None, None)
    return SourceItem(None, text.encode("utf-8", "backslashreplace"), None)


def place_of_nan(value: object, place: str) -> str | None:
    """Where a NaN is in what was written as JSON a moment ago, so it is not nested without end."""
    if isinstance(value, float):
        return place if math.isnan(value) else None
    found = None
    if isinstance(value, Mapping):
        found = (place_of_nan(member, f"{place}.{name}") for name, member in value.items())
    elif isinstance(value, list | tuple):
        found = (place_of_nan(member, f"{place}[{number}]") for number, member in enumerate(value))
    return None if found is None else next((each for each in found if each is not None), None)


def _are_scalars(values: Collection[object]) -> bool:
    """Whether the encoder does with all of them what this module promises; it would turn Infinity into null."""
    kinds = set(map(type, values))
    return kinds <= _NO_FLOATS or (kinds <= _SCALARS and not _has_infinity(values))


def _has_infinity(values: Collection[object]) -> bool:
    return any(math.isinf(value) for value in values if type(value) is float)


def _is_plain(value: object, depth: int) -> bool:
    """Likewise, for values that hold others; it would turn the key 1 into "1"."""
    kind = type(value)
    children: Any
    if kind is dict:
        if not _ONLY_STR.issuperset(map(type, value)):  # type: ignore[call-overload]
            return False
        children = value.values()  # type: ignore[attr-defined]
    elif kind is list or kind is tuple:
        children = value
    else:
        return _are_scalars((value,))
    if _are_scalars(children):
        return True
    if depth == MAX_NESTING or _has_infinity(children):
        return False
    for child in children:  # noqa: SIM110 - a generator would take a second frame on each level
        if type(child) not in _SCALARS and not _is_plain(child, depth + 1):
            return False
    return True


class _NotJson(Exception):
    def __init__(self, problem: str, kind: str = "not-json-value") -> None:
        self.problem = problem
        self.kind = kind
        self.path: list[str | int] = []
        """From the inside out: each container that is left adds its part."""

    def place(self) -> str:
        parts = []
        for part in self.path[:-11:-1]:
            if isinstance(part, int):
                parts.append(f"[{part}]")
            else:
                parts.append(f".{part}" if part.isidentifier() and len(part) <= 60 else f"[{shortened(part)}]")
        return "$" + "".join(parts) + ("…" if len(self.path) > len(parts) else "")


def _write(value: Any, depth: int) -> str:
    """JSON text of *value*, written piece by piece in Python."""
    for kinds, write in _WRITERS:
        if isinstance(value, kinds):
            return write(value, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _write_object({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, depth)
    # If nobody has imported a package, this is no value of it.
    for package, write_foreign in _FOREIGN.items():
        module = sys.modules.get(package)
        text = None if module is None else write_foreign(value, depth, module)
        if text is not None:
            return text
    raise _NotJson(f"a value of type {type(value).__name__} is not JSON")


def _write_int(value: int, depth: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:  # longer than Python prints; Decimal has no such limit
        return str(Decimal(value))


def _write_float(value: float, depth: int) -> str:
    if math.isinf(value):
        raise _NotJson("Infinity is not JSON")
    return _encode(float(value)).decode()


def _write_decimal(value: Decimal, depth: int) -> str:
    if value.is_infinite():
        raise _NotJson("Infinity is not JSON")
    return "null" if value.is_nan() else str(value)


def _write_instant(value: datetime | date | time, depth: int) -> str:
    # NaT of pandas is a datetime that is none, and prints as such.
    return "null" if value != value else encode_basestring(value.isoformat())


def _write_duration(value: timedelta, depth: int) -> str:
    # One of pandas has nanoseconds too.
    microseconds = (value.days * 86_400 + value.seconds) * 10**6 + value.microseconds
    return _duration_text(microseconds * 1000 + getattr(value, "nanoseconds", 0))


def _duration_text(nanoseconds: int) -> str:
    days, rest = divmod(abs(nanoseconds), 86_400 * 10**9)
    seconds, fraction = divmod(rest, 10**9)
    digits = f".{fraction:09}".rstrip("0").rstrip(".")
    return f'"{"-" if nanoseconds < 0 else ""}P{f"{days}D" if days else ""}T{seconds}{digits}S"'


def _write_struct(value: msgspec.Struct, depth: int) -> str:
    return _write_object({name: getattr(value, name) for name in value.__struct_fields__}, depth)


_WRITERS: tuple[tuple[type | tuple[type, ...], Callable[[Any, int], str]], ...] = (
    (type(None), lambda value, depth: "null"),
    (Enum, lambda value, depth: _write(value.value, depth)),
    (str, lambda value, depth: encode_basestring(value)),
    (bool, lambda value, depth: "true" if value else "false"),
    (int, _write_int),
    (float, _write_float),
    (Mapping, lambda value, depth: _write_object(value, depth)),
    ((list, tuple), lambda value, depth: _write_array(value, depth)),
    (Decimal, _write_decimal),
    ((datetime, date, time), _write_instant),
    (timedelta, _write_duration),
    ((UUID, PurePath), lambda value, depth: encode_basestring(str(value))),
    (msgspec.Struct, _write_struct),
)
"""In this order: an Enum may be a str, and a bool is an int."""


def _write_pydantic(value: Any, depth: int, pydantic: Any) -> str | None:
    return _write_object(value.model_dump(by_alias=True), depth) if isinstance(value, pydantic.BaseModel) else None


def _write_pandas(value: Any, depth: int, pandas: Any) -> str | None:
    if value is pandas.NA:
        return "null"
    return _write_object(value.to_dict(), depth) if isinstance(value, pandas.Series) else None


def _write_numpy(value: Any, depth: int, numpy: Any) -> str | None:
    match value:
        case numpy.datetime64() | numpy.timedelta64() if numpy.isnat(value):
            return "null"
        case numpy.timedelta64():  # which is an integer too
            unit, size = numpy.datetime_data(value.dtype)
            # A year, a month, or a number without a unit has no length.
            return _duration_text(int(value.astype(int)) * size * _NANOSECONDS[unit]) if unit in _NANOSECONDS else None
        case numpy.datetime64():
            instant, _, fraction = str(value).partition(".")
            return encode_basestring(f"{instant}.{fraction}".rstrip("0").rstrip(".") if fraction else instant)
        case numpy.bool_() | numpy.integer():
            return _write(value.item(), depth)
        case numpy.floating():
            # The digits of one that is longer than a float would be lost in a float.
            return _write(value.item() if value.itemsize <= 8 else Decimal(str(value)), depth)
        case numpy.ndarray():
            return _write_array(list(value), depth) if value.ndim else _write(value[()], depth)
    return None


_NANOSECONDS = {
    "W": 7 * 86_400 * 10**9,
    "D": 86_400 * 10**9,
    "h": 3_600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
}
_FOREIGN: dict[str, Callable[[Any, int, Any], str | None]] = {
    "pydantic": _write_pydantic,
    "pandas": _write_pandas,
    "numpy": _write_numpy,
}


def _write_object(members: Mapping[Any, Any], depth: int) -> str:
    if depth > MAX_NESTING:
        raise _NotJson(TOO_DEEP, "too-deep")
    parts = []
    for name, value in members.items():
        if not isinstance(name, str):
            raise _NotJson(f"an object's key of type {type(name).__name__} is not JSON")
        try:
            parts.append(f"{encode_basestring(name)}:{_write(value, depth + 1)}")
        except _NotJson as refusal:
            refusal.path.append(name)
            raise
    return f"{{{','.join(parts)}}}"


def _write_array(values: list[Any] | tuple[Any, ...], depth: int) -> str:
    if depth > MAX_NESTING:
        raise _NotJson(TOO_DEEP, "too-deep")
    parts = []
    for index, value in enumerate(values):
        try:
            parts.append(_write(value, depth + 1))
        except _NotJson as refusal:
            refusal.path.append(index)
            raise
    return f"[{','.join(parts)}]"


def _refused(value: object, kind: str, problem: str) -> SourceItem:
    return SourceItem(None, short_repr(value), problem, kind=kind)
