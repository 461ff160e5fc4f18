"""A value of Python as the text that PostgreSQL reads for a column of some type.

The column decides, never the type of one value. What single INSERTs of the same values by psycopg2 would store is
stored, and where those would refuse or change a value (a list in a `jsonb`, a UUID, an enumeration, a set), what a
person would expect:

    json, jsonb                     any value as JSON; a str is a JSON string. `psycopg2.extras.Json` passes as it is
    arrays                          lists, tuples, sets; nested ones are dimensions
    hstore                          a mapping
    composite types                 a tuple or a list by position, a mapping by name
    ranges                          psycopg2's Range objects, or a list or tuple of two: lower and upper, `[)`
    text and all other types        str; numbers as they print; mappings, lists and sets as JSON
    whole numbers                   a float or Decimal with a fraction is rounded, as the server does

In all of them an Enum is its value, and UUIDs, paths, IP addresses and URLs are their text. Text is read by the server
as it reads any text for the column, so the cell `7` of a file goes into an `integer`.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID

from psycopg2 import extensions
from psycopg2.extras import Json, Range

from reliable_imports.errors import ContextMisuse
from reliable_imports.items.json_check import is_utf8
from reliable_imports.items.json_write import dumps_item, place_of_nan


class ColumnType(NamedTuple):
    """What `describe_type` says of a type.

    Attributes:
        cast: what a text is cast to; a domain's is its base type, and there is no length.
        kind: `json`, `array`, `hstore`, `composite`, `range`, `multirange`, the name of one of PostgreSQL's own base
            types, or `other`.
        element: of an array.
        attributes: of a composite type: names and types.
        labels: of an enumeration.
    """

    cast: str
    kind: str
    is_hashable: bool
    element: ColumnType | None
    attributes: tuple[tuple[str, ColumnType], ...]
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> ColumnType:
        return cls(
            described["cast"],
            described["kind"],
            described["is_hashable"],
            None if described["element"] is None else cls.of(described["element"]),
            tuple((name, cls.of(each)) for name, each in described["attributes"] or ()),
            tuple(described["labels"] or ()),
        )


class Expression(NamedTuple):
    """A value that no text of the column's type says; SQL for it. `{}` stands for a text, as which *text* is given."""

    sql: str
    text: str | None


Written = str | Expression | None
Writer = Callable[[Any], Written]

_NUMBERS = frozenset({"int2", "int4", "int8", "oid", "numeric", "float4", "float8", "money"})
_WHOLE_NUMBERS = frozenset({"int2", "int4", "int8", "oid"})
_WITHOUT_ZONE = frozenset({"timestamp", "date", "time"})
_RANGES_WITHOUT_ZONE = frozenset(
    f"pg_catalog.{name}" for name in ("tsrange", "daterange", "tsmultirange", "datemultirange")
)
_TIMES = frozenset({*_WITHOUT_ZONE, "timestamptz", "timetz", "interval"})
_AS_THEY_PRINT = (
    UUID,
    PurePath,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)


def writer_for(column_type: ColumnType) -> Writer:
    """What writes values for columns of a type.

    It raises ContextMisuse for a value that cannot be written there.
    """
    match column_type.kind:
        case "json":
            return _json
        case "array":
            return lambda value: _array(value, column_type)
        case "hstore":
            return _hstore
        case "composite":
            return lambda value: _composite(value, column_type)
        case "range" | "multirange" as kind:
            write: Writer = _range if kind == "range" else _multirange
            return partial(_without_zone, write) if column_type.cast in _RANGES_WITHOUT_ZONE else write
        case kind if kind in _WHOLE_NUMBERS:
            return _whole_number
        case kind if kind in _TIMES:
            return lambda value: _time(value, column_type)
        case kind if kind in _NUMBERS:
            return _number
        case "bytea":
            return _bytes
        case "bool":
            return _boolean
        case _:
            return _text


def simple_writers_for(column_type: ColumnType) -> Mapping[type, Callable[[Any], str]]:
    """What writes values of exactly these types as `writer_for` would, always as a text, and sooner.

    It raises ValueError for a number that is longer than Python prints.
    """
    match column_type.kind:
        case kind if kind in _TIMES:
            simple: dict[type, Callable[[Any], str]] = {date: date.isoformat, time: time.isoformat}
            return simple if kind in _WITHOUT_ZONE else {**simple, datetime: datetime.isoformat}
        case kind if kind in _WHOLE_NUMBERS:
            return {int: int.__repr__}
        case kind if kind in _NUMBERS:
            return {int: int.__repr__, float: _float, Decimal: _decimal}
        case "text" | "varchar":
            return {int: int.__repr__}
        case "bool":
            return {bool: _true_or_false}
        case _:
            return {}


# Each begins with the types that nearly all values have.


def _text(value: Any) -> Written:
    kind = type(value)
    if kind is str:
        return value if value.isascii() and "\0" not in value else _sendable(value)
    if value is None:
        return None
    if kind is int:
        return _digits(value)
    if kind is float:
        # As a number of SQL prints, and not `1e+16`.
        return format(Decimal(repr(value)), "f") if math.isfinite(value) else _float(value)
    if kind is datetime:
        return str(value.isoformat(sep=" "))
    if isinstance(value, timedelta):
        return _interval(value)
    return _of_any_kind(value, _text)


def _whole_number(value: Any) -> Written:
    kind = type(value)
    if kind is int:
        return _digits(value)
    if kind is str:
        return _sendable(value)
    if value is None:
        return None
    if kind is float and math.isfinite(value):
        return str(Decimal(repr(value)).to_integral_value(ROUND_HALF_UP))
    if isinstance(value, Decimal) and value.is_finite():
        return _digits(int(value.to_integral_value(ROUND_HALF_UP)))
    return _number(value)


def _number(value: Any) -> Written:
    kind = type(value)
    if kind is str:
        return _sendable(value)
    if value is None:
        return None
    if kind is float:
        return _float(value)
    if kind is int:
        return _digits(value)
    if kind is Decimal:
        return _decimal(value)
    return _of_any_kind(value, _number)


def _time(value: Any, column_type: ColumnType) -> Written:
    kind = type(value)
    if kind is str:
        return _sendable(value)
    if value is None:
        return None
    if kind is date:
        return str(value.isoformat())
    if kind is timedelta:
        return _interval(value)
    if isinstance(value, datetime):
        if value.tzinfo is not None and column_type.kind in _WITHOUT_ZONE:
            # The server converts an instant to local time, and overlooks the zone in a text.
            return Expression(f"{{}}::pg_catalog.timestamptz::pg_catalog.{column_type.kind}", value.isoformat())
        return value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    return _of_any_kind(value, lambda each: _time(each, column_type))


def _boolean(value: Any) -> Written:
    if isinstance(value, bool):
        return _true_or_false(value)
    if isinstance(value, int | float | Decimal):
        raise ContextMisuse("a number is no boolean, to PostgreSQL neither; write True or False")
    return _text(value)


def _bytes(value: Any) -> Written:
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    return None if value is None else _text(value)


def _json(value: Any) -> Written:
    if value is None:
        return None
    if isinstance(value, Json):
        return _sendable(value.dumps(value.adapted))
    stored = dumps_item(value)
    if stored.problem is not None:
        stored = dumps_item(_as_json(value))
    if stored.problem is not None:
        raise ContextMisuse(f"a value for a json column cannot be written: {stored.problem}")
    # Of a source NaN is a value that is missing; here it would be lost.
    if stored.text is not None and "null" in stored.text and (place := place_of_nan(value, "$")) is not None:
        raise ContextMisuse(f"a value for a json column cannot be written: {place}: NaN is not JSON")
    return stored.text if stored.text is not None else _sendable((stored.raw or b"").decode())


def _as_json(value: Any) -> Any:
    """The value with what JSON has no word for replaced: sets by lists, addresses and URLs by their text."""
    if isinstance(value, Mapping):
        return {_name(name): _as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [_as_json(each) for each in value]
    if isinstance(value, timedelta):
        seconds = value.seconds + value.microseconds / 1_000_000
        return f"P{value.days}DT{seconds:g}S"  # ISO 8601
    if isinstance(value, _AS_THEY_PRINT) or _is_url(value):
        return str(value)
    if isinstance(value, Enum):
        return _as_json(value.value)
    return value


def _name(name: Any) -> Any:
    """The name of a member of an object, which JSON wants as text."""
    if isinstance(name, Enum):
        return _name(name.value)
    if isinstance(name, (bool, int, float, Decimal, date, time, *_AS_THEY_PRINT)):
        return _plain(_text(name))
    return name


def _array(value: Any, column_type: ColumnType) -> Written:
    if value is None or isinstance(value, str):
        return None if value is None else _sendable(value)
    if isinstance(value, Enum):
        return _array(value.value, column_type)
    element = column_type.element
    assert element is not None
    if not isinstance(value, list | tuple | AbstractSet):
        return _of_any_kind(value, _text)
    if element.kind in _WITHOUT_ZONE and _has_zone(value):
        # As for a single value, for which see `_time`.
        text = _array_text(list(value), element.kind, _text)
        return Expression(f"{{}}::pg_catalog.timestamptz[]::pg_catalog.{element.kind}[]", text)
    return _array_text(list(value), element.kind, writer_for(element))


_EMPTY = "{}"


def _array_text(values: Sequence[Any], kind: str, write: Writer) -> str:
    parts = []
    for value in values:
        if _is_dimension(value, kind):
            parts.append(_array_text(list(value), kind, write))
        else:
            parts.append(_element(_plain(write(value)), null="NULL"))
    if parts and all(part == _EMPTY for part in parts):  # which servers before 17 do not take for an empty array
        return _EMPTY
    return f"{{{','.join(parts)}}}"


def _has_zone(value: Any) -> bool:
    if isinstance(value, list | tuple | AbstractSet):
        return any(map(_has_zone, value))
    return isinstance(value, datetime) and value.tzinfo is not None


def _is_dimension(value: Any, kind: str) -> bool:
    """Whether a list within an array is a dimension of it, and not an element: those of json are any value, and a row
    or a range may be a tuple, or a list of what are no lists."""
    if kind == "json" or not isinstance(value, list | tuple | AbstractSet):
        return False
    if kind in ("composite", "range"):
        return not isinstance(value, tuple) and all(isinstance(each, list | tuple | Mapping) for each in value)
    return True


def _composite(value: Any, column_type: ColumnType) -> Written:
    if value is None or isinstance(value, str):
        return None if value is None else _sendable(value)
    attributes = column_type.attributes
    if isinstance(value, Mapping):
        unknown = [str(name) for name in value if name not in {known for known, _ in attributes}]
        if unknown:
            raise ContextMisuse(f"the type {column_type.cast} has no attribute {', '.join(unknown)}")
        values = [value.get(name) for name, _ in attributes]
    elif isinstance(value, list | tuple):
        values = list(value)
    else:
        return _of_any_kind(value, _text)
    if len(values) != len(attributes):
        raise ContextMisuse(f"a value of type {column_type.cast} has {len(attributes)} attributes, not {len(values)}")
    parts = [
        _element(_plain(writer_for(kind)(each)), null="") for each, (_, kind) in zip(values, attributes, strict=True)
    ]
    return f"({','.join(parts)})"


def _hstore(value: Any) -> Written:
    if not isinstance(value, Mapping):
        return _text(value)
    parts = []
    for name, each in value.items():
        parts.append(f"{_element(_plain(_text(name)), null='')}=>{_element(_plain(_text(each)), null='NULL')}")
    return ", ".join(parts)


def _range(value: Any) -> Written:
    if isinstance(value, Range):
        if value.isempty:
            return "empty"
        opening, closing = "[" if value.lower_inc else "(", "]" if value.upper_inc else ")"
        return f"{opening}{_bound(value.lower)},{_bound(value.upper)}{closing}"
    if isinstance(value, list | tuple) and len(value) == 2:
        return f"[{_bound(value[0])},{_bound(value[1])})"
    return _text(value)


def _without_zone(write: Writer, value: Any) -> Written:
    bounds = [value.lower, value.upper] if isinstance(value, Range) else value
    if isinstance(bounds, list | tuple | AbstractSet):
        ranges = [[each.lower, each.upper] if isinstance(each, Range) else each for each in bounds]
        if _has_zone(ranges):
            raise ContextMisuse(
                "a datetime with a zone cannot be a bound of a range without one; convert it to local time first"
            )
    return write(value)


def _multirange(value: Any) -> Written:
    if isinstance(value, list | tuple | AbstractSet):
        return f"{{{','.join(_plain(_range(each)) or '' for each in value)}}}"
    return _text(value)


def _bound(value: Any) -> str:
    text = _plain(value.isoformat() if isinstance(value, datetime) else _text(value))
    return "" if text is None else _element(text, null="")


def _element(text: str | None, *, null: str) -> str:
    """A part of an array, a row or an hstore, always in quotes, so that `NULL` is a text."""
    if text is None:
        return null
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _of_any_kind(value: Any, write: Writer) -> Written:
    """What the types of values that are less common are written as."""
    if isinstance(value, Enum):
        return write(value.value)
    if isinstance(value, bool):
        return _true_or_false(value)
    if isinstance(value, str):
        return _sendable(str(value))
    if isinstance(value, int):
        return _digits(int(value))
    if isinstance(value, float):
        return write(float(value))
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else "NaN" if value.is_nan() else str(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _interval(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(value)
    if isinstance(value, _AS_THEY_PRINT) or _is_url(value):
        return _sendable(str(value))
    if isinstance(value, Json):
        return _json(value)
    if isinstance(value, Range):
        return _range(value)
    if _has_adapter(value):
        return _adapted(value)
    if isinstance(value, Mapping | list | tuple | AbstractSet) or hasattr(type(value), "__iter__"):
        return _json(value)
    stored = dumps_item(value)  # models and dataclasses
    if stored.text is not None:
        return stored.text
    raise ContextMisuse(f"a value of type {type(value).__name__} cannot be written to a column")


_PLAIN = frozenset({str, int, float, bool, type(None), Decimal, date, datetime})


def as_parameter(value: Any) -> Any:
    """A value that is compared with a column of unknown type, as psycopg2 takes it."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return as_parameter(value.value)
    return str(value) if isinstance(value, _AS_THEY_PRINT) or _is_url(value) else value


def _is_url(value: Any) -> bool:
    """Whether it is one of pydantic's URLs, which are classes of several modules."""
    return type(value).__module__.startswith("pydantic") and type(value).__name__.endswith(("Url", "Dsn"))


_ADAPTED_ELSEWHERE = (list, tuple, dict, set, frozenset)


def _has_adapter(value: Any) -> bool:
    if isinstance(value, _ADAPTED_ELSEWHERE):
        return False
    return (type(value), extensions.ISQLQuote) in extensions.adapters or hasattr(value, "getquoted")


def _adapted(value: Any) -> Expression:
    """As psycopg2 writes values of types that somebody registered with it, and its own `AsIs`."""
    quoted = extensions.adapt(value).getquoted()
    sql = quoted.decode() if isinstance(quoted, bytes) else str(quoted)
    return Expression(sql.replace("{", "{{").replace("}", "}}"), None)


def _plain(written: Written) -> str | None:
    if isinstance(written, Expression):
        if written.text is None:
            raise ContextMisuse("a value that only psycopg2 can write cannot be part of an array or a row")
        raise ContextMisuse(
            "a datetime with a zone cannot be part of a row whose attribute has none; convert it to local time first"
        )
    return written


def _sendable(text: str) -> str:
    if "\0" in text:
        raise ContextMisuse(
            "a text with a NUL character cannot be written: PostgreSQL stores none; leave it out in to_row"
        )
    if not text.isascii() and not is_utf8(text):
        raise ContextMisuse("a text with a lone surrogate cannot be written: it is no UTF-8")
    return text


def _digits(value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:  # longer than Python prints; Decimal has no such limit
        return str(Decimal(value))


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value + 0.0)  # a number in SQL has no -0.0
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decimal(value: Decimal) -> str:
    return "NaN" if value.is_nan() else str(value)


def _true_or_false(value: bool) -> str:
    return "true" if value else "false"


def _interval(value: timedelta) -> str:
    return f"{value.days} days {value.seconds}.{value.microseconds:06d} seconds"
