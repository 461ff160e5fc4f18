"""Items as JSON text: written from Python objects, checked as it stands in files, parsed for processors.

`dumps_item` writes a Python object without spaces and with its keys in their order:

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
import json
import math
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from json.encoder import encode_basestring
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from reliable_imports.items.source_item import MAX_ITEM_BYTES, SourceItem

MAX_NESTING = 200
"""Objects and arrays within each other: far more than data has, and little enough for Python at any depth of calls."""

_MAX_REPR = 64 * 1024
_MAX_PLAIN = 64 * 1024
_NO_FLOATS = frozenset({str, int, bool, type(None)})
_SCALARS = _NO_FLOATS | {float}
_ONLY_STR = frozenset({str})
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<unreadable>u0000|u[dD][89a-fA-F])|.)", re.DOTALL
)
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]+|[\]}]+', re.DOTALL)
_encode = msgspec.json.Encoder().encode
_NOT_ENCODED = (ValueError, OverflowError, msgspec.MsgspecError)


class TooLarge(ValueError):
    """A value has more JSON than there is room for; how much, in words."""


class Problem(NamedTuple):
    """Why a text is no item: a `kind` of SourceItem, and the reason in words."""

    kind: str
    text: str


def plain_object(value: object) -> str | None:
    """What `dumps_item` would give as text, for a flat object of scalars, as most are; None for all others."""
    if type(value) is not dict:
        return None
    for key, each in value.items():
        kind = type(each)
        if type(key) is not str or (kind not in _NO_FLOATS and (kind is not float or math.isinf(each))):
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
        return _refused(value, "too-deep", f"$: {_TOO_DEEP}")
    except Exception as error:  # the objects' own code runs here, and may raise anything
        return _refused(value, "not-json-value", f"$: reading the item raised {type(error).__name__}")
    if len(text) * 4 > max_bytes and (size := len(text.encode("utf-8", "backslashreplace"))) > max_bytes:
        raise TooLarge(f"{size} bytes of JSON, and the limit is {max_bytes}")
    if (text.isascii() or is_utf8(text)) and server_can_read(text):
        return SourceItem(text, None, None)
    return SourceItem(None, text.encode("utf-8", "backslashreplace"), None)


def loads(text: str | bytes, *, decimals: bool = False) -> Any:
    """Parse a stored item for a processor.

    Args:
        text: JSON; bytes are UTF-8.
        decimals: numbers with a fraction or an exponent become `Decimal`, exactly as written, and not float.

    Raises:
        ValueError: not JSON, or a number that Python cannot hold: `1e999` as a float, an integer of 5,000 digits.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        return (_decode_with_decimals if decimals else _decode_with_floats)(text)
    except _NOT_DECODED:  # a lone surrogate, which Python can hold, or an error: the slow way tells which
        pass
    try:
        return (_WITH_DECIMALS if decimals else _WITH_FLOATS).decode(text)
    except RecursionError:
        raise ValueError(f"the JSON is {_TOO_DEEP}") from None
    except json.JSONDecodeError:
        raise
    except _BadNumber as error:
        raise ValueError(str(error)) from None
    except ValueError:  # of int(); its own message advises to lift the interpreter's limit
        raise ValueError(f"an integer has more than {sys.get_int_max_str_digits()} digits") from None


def with_floats(value: Any) -> Any:
    """*value*, as `loads` gives it with decimals, as it would be without.

    Raises ValueError: a number is too large for a float.
    """
    kind = type(value)
    if kind is Decimal:
        return _finite_float(str(value))
    if kind is dict:
        return {name: with_floats(each) for name, each in value.items()}
    if kind is list:
        return [with_floats(each) for each in value]
    return value


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


def check(text: str) -> Problem | None:
    """What keeps *text*, which has no white space around it, from being one JSON value (RFC 8259), if anything does."""
    return JsonChecker().check(text)


def server_can_read(text: str) -> bool:
    """Whether PostgreSQL's json operators take this JSON: they refuse escaped NUL characters and lone surrogates."""
    if "\\u0000" not in text and "\\ud" not in text and "\\uD" not in text:
        return True
    return not any(escape["unreadable"] for escape in _ESCAPES.finditer(text))


def is_utf8(text: str) -> bool:
    """Whether *text* can be sent at all: a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class JsonChecker:
    """Checks many texts, one at a time; making one costs more than checking a short text."""

    def __init__(self, *, max_fields: int = sys.maxsize) -> None:
        self._max_fields = max_fields
        self._most_fields = 0
        self._repeated_key: str | None = None
        self._decoder = json.JSONDecoder(
            # The values are of no interest, so numbers stay text: no limit of digits, nothing to overflow.
            object_pairs_hook=self._note_members,
            parse_float=str,
            parse_int=str,
            parse_constant=_refuse_constant,
        )

    def check(self, text: str) -> Problem | None:
        """See the function `check`."""
        try:
            end = self.find_end(text, 0)
        except json.JSONDecodeError as error:
            return Problem("bad-json", f"{error.msg[0].lower()}{error.msg[1:]} (character {error.pos + 1})")
        except _BadNumber as error:
            return Problem("bad-json", str(error))
        except RecursionError:
            return Problem("too-deep", _TOO_DEEP)
        if end != len(text):
            return Problem("bad-json", f"extra data (character {end + 1})")
        return self.problem_of_found(text)

    def find_end(self, text: str, start: int) -> int:
        """Where the JSON value ends that begins at *start*.

        Raises:
            ValueError: there is none, or not a whole one; usually a JSONDecodeError.
            RecursionError: its nesting is deeper than Python can follow.
        """
        self._repeated_key = None
        self._most_fields = 0
        return self._decoder.raw_decode(text, start)[1]

    def problem_of_found(self, text: str) -> Problem | None:
        """What is wrong with the value that `find_end` found last, and whose text is *text*, though it is JSON."""
        if self._repeated_key is not None:
            return Problem("repeated-key", f"the key {shortened(self._repeated_key)} is repeated in one object")
        if self._most_fields:
            return Problem(
                "too-many-fields", f"an object has {self._most_fields:,} fields, and {self._max_fields:,} are the most"
            )
        # Cheap tests first: each level of nesting takes two characters, and most items have few brackets.
        if (
            len(text) > 2 * MAX_NESTING
            and text.count("[") + text.count("{") > MAX_NESTING
            and _nesting(text) > MAX_NESTING
        ):
            return Problem("too-deep", _TOO_DEEP)
        return None

    def _note_members(self, pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) > self._max_fields:
            self._most_fields = max(self._most_fields, len(pairs))
        if len(pairs) != len(dict(pairs)) and self._repeated_key is None:
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    self._repeated_key = name
                seen.add(name)


class _BadNumber(ValueError):
    """A number that is not JSON, or that Python cannot hold."""


def _refuse_constant(name: str) -> None:
    raise _BadNumber(f"{name} is not JSON")


def _finite_float(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise _BadNumber(f"the number {_cut(literal)} is too large for a float; processors may set decimals = True")
    return number


def _decimal(literal: str) -> Decimal:
    try:
        return Decimal(literal)
    except InvalidOperation:
        raise _BadNumber(f"the number {_cut(literal)} is too large for a Decimal") from None


_WITH_FLOATS = json.JSONDecoder(parse_float=_finite_float, parse_constant=_refuse_constant)
_WITH_DECIMALS = json.JSONDecoder(parse_float=_decimal, parse_constant=_refuse_constant)
_decode_with_floats = msgspec.json.Decoder().decode
_decode_with_decimals = msgspec.json.Decoder(float_hook=Decimal).decode
_NOT_DECODED = (ValueError, ArithmeticError, RecursionError, msgspec.MsgspecError)
_TOO_DEEP = f"nested more than {MAX_NESTING} levels deep"


def _nesting(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        brackets = match[0]
        if brackets[0] in "[{":
            depth += len(brackets)
            deepest = max(deepest, depth)
        elif brackets[0] != '"':
            depth -= len(brackets)
    return deepest


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
        raise _NotJson(_TOO_DEEP, "too-deep")
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
        raise _NotJson(_TOO_DEEP, "too-deep")
    parts = []
    for index, value in enumerate(values):
        try:
            parts.append(_write(value, depth + 1))
        except _NotJson as refusal:
            refusal.path.append(index)
            raise
    return f"[{','.join(parts)}]"


def _refused(value: object, kind: str, problem: str) -> SourceItem:
    return SourceItem(None, _short_repr(value), problem, kind=kind)


def _short_repr(value: object) -> bytes:
    """The repr of *value*, cut when it grows long; neither its size nor what it holds can do harm."""
    pieces = []
    room = _MAX_REPR
    for piece in _repr_pieces(value, 0):
        pieces.append(piece[:room])
        room -= len(piece)
        if room <= 0:
            pieces.append("…")
            break
    return "".join(pieces).encode("utf-8", "backslashreplace")


def _repr_pieces(value: Any, depth: int) -> Iterator[str]:
    kind = type(value)
    if depth > 50:
        yield "..."
    elif kind is dict:
        yield "{"
        for index, (name, member) in enumerate(value.items()):
            yield ", " if index else ""
            yield from _repr_pieces(name, depth + 1)
            yield ": "
            yield from _repr_pieces(member, depth + 1)
        yield "}"
    elif kind is list or kind is tuple:
        yield "[" if kind is list else "("
        for index, member in enumerate(value):
            yield ", " if index else ""
            yield from _repr_pieces(member, depth + 1)
        yield "]" if kind is list else ",)" if len(value) == 1 else ")"
    elif kind is str or kind is bytes:
        yield repr(value[:_MAX_REPR])
    else:
        try:
            yield repr(value)
        except Exception:  # the object's own code, which may raise anything
            yield f"<{kind.__name__} without a repr>"


def shortened(name: str) -> str:
    """A name in quotes, as JSON in ASCII, so that nothing in it does harm where it is shown."""
    return json.dumps(name if len(name) <= 60 else name[:60] + "…")


def _cut(literal: str) -> str:
    return literal if len(literal) <= 40 else literal[:40] + "…"
