"""A table as what items are checked against: a row of it for pydantic, which says of an item what it says of one that
does not fit a model.

Nothing is changed in silence: what the column would round, cut or read as something else is refused. Texts are read as
they stand in files.

    whole numbers       within the range of the type; `7.0` is 7
    numeric             exact, with as many digits as the column keeps
    real, double        finite; whole numbers exact, and nothing but zero is zero
    boolean             true, false, yes, no, on, off, 1, 0 and their first letters
    text, varchar       as long as the column lets it be; a number is its digits
    money               with two digits after the point at most
    date                `2024-01-31` or `20240131`, or a time at midnight
    timestamp           ISO 8601, with as many digits of a second as the column keeps and zeros after them, and of
                        `timestamp` without a zone; `+02` is a zone too
    time                `12:30:00`, with as many digits of a second as the column keeps
    uuid, inet          as PostgreSQL prints them
    enumerations        one of the labels
    arrays              a list, `["a", "b"]` as JSON, or `{a,b}` as PostgreSQL writes it
    json, jsonb         any value as it is; of a cell of a text file or a workbook, what its JSON says

All other types are read by the server, and so is what a CHECK says: an item that it refuses fails when it is written.
"""

from __future__ import annotations

import ipaddress
import json
import re
import struct
from collections.abc import Callable, Collection
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal

from psycopg2.extras import Json
from pydantic_core import PydanticCustomError, PydanticKnownError, core_schema, from_json

from reliable_imports.items.model_fields import CellKind, ModelField
from reliable_imports.writes.target import Column, Target
from reliable_imports.writes.values import ColumnType

Handler = Callable[[Any], Any]

_RANGES = {"int2": 15, "int4": 31, "int8": 63}
_MOST_BYTES = {"name": 63, "char": 1}
"""Of a text that the server would cut without a word."""
_TEXTS = frozenset({"text", "varchar", "bpchar", *_MOST_BYTES})
_MAX_PRECISION = 6
_FRACTION_OF_SECOND = re.compile(r":[0-9]{2}[.,]([0-9]+)", re.ASCII)
_MORE_THAN_CENTS = re.compile(r"[.][0-9]{2}[0-9]*[1-9](?![0-9]*[.,])", re.ASCII)
_KINDS: dict[str, CellKind] = {
    **dict.fromkeys(_RANGES, "int"),
    "numeric": "decimal",
    "float4": "float",
    "float8": "float",
    "date": "date",
    "timestamp": "datetime",
    "timestamptz": "datetime",
    "time": "time",
}
_COMPACT_DATE = re.compile(r"\s*(\d{4})(\d{2})(\d{2})\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?\d*\.?\d*\s*", re.ASCII)
_ENDLESS = frozenset({"infinity", "-infinity"})
_ZEROS_AT_END = re.compile(r"(:\d\d\.\d{6})0+(?=\D|$)", re.ASCII)
_HOURS_OF_ZONE = re.compile(r"(:\d\d(?:\.\d+)?[+-]\d\d)$", re.ASCII)


def row_schema(
    target: Target, required: Collection[str] | None, *, texts_are_cells: bool = False
) -> core_schema.CoreSchema:
    """What a row of the table has to be.

    Args:
        required: columns that an item must have, besides those that the table cannot do without; None: it need not have
            any.
        texts_are_cells: the source has nothing but texts for JSON, so a text is not a JSON string, but JSON.
    """
    json_cell = _JSON_OF_TEXT if texts_are_cells else core_schema.any_schema()
    fields = {
        column.name: core_schema.typed_dict_field(_cell(column, json_cell), required=_is_required(column, required))
        for column in _writable(target)
    }
    return core_schema.typed_dict_schema(fields)


def row_fields(target: Target, required: Collection[str] | None) -> tuple[ModelField, ...]:
    """The columns that an item may have."""
    return tuple(
        ModelField(
            column.name,
            (column.name,),
            _is_required(column, required),
            wants_decimal=_is_written_exactly(column.type),
            kind=_KINDS.get(column.type.kind),
        )
        for column in _writable(target)
    )


def _writable(target: Target) -> list[Column]:
    return [column for column in target.columns.values() if not column.is_generated]


def _is_required(column: Column, required: Collection[str] | None) -> bool:
    if required is None:
        return False
    return column.name in required or (column.is_not_null and not column.has_default)


def _is_written_exactly(column_type: ColumnType) -> bool:
    """Whether a number of a JSON source is to arrive with the digits that it has there."""
    if column_type.element is not None:
        return _is_written_exactly(column_type.element)
    return column_type.kind in _TEXTS or column_type.kind in ("numeric", "json")


def _cell(column: Column, json_cell: core_schema.CoreSchema) -> core_schema.CoreSchema:
    schema = _value(column.type, column.modifier, json_cell)
    return schema if column.is_not_null else core_schema.nullable_schema(schema)


def _value(column_type: ColumnType, modifier: int, json_cell: core_schema.CoreSchema) -> core_schema.CoreSchema:
    kind = column_type.kind
    if column_type.labels:
        return core_schema.literal_schema(list(column_type.labels))
    if kind in _RANGES:
        limit = 2 ** _RANGES[kind]
        return _number("int", core_schema.int_schema(ge=-limit, le=limit - 1))
    if kind in _MOST_BYTES:
        return core_schema.no_info_after_validator_function(
            _at_most(_MOST_BYTES[kind]), core_schema.str_schema(coerce_numbers_to_str=True)
        )
    if kind in _TEXTS:
        longest = modifier - 4 if modifier >= 4 else None
        return core_schema.str_schema(max_length=longest, coerce_numbers_to_str=True)
    match kind:
        case "numeric":
            return _number("decimal", _numeric(modifier))
        case "float4" | "float8":
            return _number("float", _float(kind))
        case "bool":
            return core_schema.bool_schema()
        case "date":
            return core_schema.no_info_wrap_validator_function(_date, core_schema.date_schema())
        case "timestamp" | "timestamptz":
            return _timestamp(has_zone=kind == "timestamptz", modifier=modifier)
        case "time":
            inner = core_schema.time_schema(tz_constraint="naive", microseconds_precision="error")
            return core_schema.no_info_wrap_validator_function(_time_of(modifier), inner)
        case "timetz":
            return core_schema.no_info_plain_validator_function(_time_with_zone(modifier))
        case "money":
            return core_schema.no_info_plain_validator_function(_money)
        case "uuid":
            return core_schema.uuid_schema()
        case "inet":
            return core_schema.no_info_plain_validator_function(_address)
        case "json":
            return json_cell
        case "array":
            assert column_type.element is not None
            element = core_schema.nullable_schema(_value(column_type.element, modifier, json_cell))
            return core_schema.no_info_wrap_validator_function(_array, core_schema.list_schema(_or_lists_of(element)))
    return core_schema.any_schema()


def _number(kind: Literal["int", "float", "decimal"], schema: core_schema.CoreSchema) -> core_schema.CoreSchema:
    """Without what only Python reads as a number: `1_000`, and True as 1."""

    def check(value: Any) -> Any:
        if type(value) is str:
            if "_" in value:
                raise PydanticKnownError(f"{kind}_parsing")  # type: ignore[arg-type]
        elif type(value) is bool:
            raise PydanticKnownError(f"{kind}_type")  # type: ignore[arg-type]
        return value

    return core_schema.no_info_before_validator_function(check, schema)


def _float(kind: str) -> core_schema.CoreSchema:
    """With as much of a fraction as fits; a whole number is itself, or refused."""
    # Between these nothing becomes zero, and all whole numbers are exact.
    smallest, largest = (1e-37, 2.0**24) if kind == "float4" else (1e-300, 2.0**53)

    def read(value: Any, handler: Handler) -> Any:
        number: float = handler(value)
        if smallest < abs(number) < largest:
            return number
        kept = _single(number) if kind == "float4" else number
        given = number if isinstance(value, float) else Decimal(str(value).strip())
        if (given == int(given) and given != kept) or (given and not kept):
            raise PydanticCustomError("float_inexact", "Input should be a number that the column keeps as it is")
        return number

    return core_schema.no_info_wrap_validator_function(read, core_schema.float_schema(allow_inf_nan=False))


def _single(number: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return number  # the server refuses it


def _at_most(most: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if len(text.encode(errors="surrogatepass")) > most:
            raise PydanticKnownError("string_too_long", {"max_length": most})
        return text

    return check


def _money(value: Any) -> Any:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        value = format(Decimal(str(value)), "f")
    if isinstance(value, str) and _MORE_THAN_CENTS.search(value):
        raise PydanticKnownError("decimal_max_places", {"decimal_places": 2})
    return value


def _numeric(modifier: int) -> core_schema.CoreSchema:
    if modifier < 4:
        return core_schema.decimal_schema()
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    scale = scale - 2048 if scale >= 1024 else scale  # of 11 bits
    if scale < 0:
        return core_schema.decimal_schema(multiple_of=Decimal(1).scaleb(-scale))
    return core_schema.decimal_schema(max_digits=precision if scale <= precision else None, decimal_places=scale)


def _or_lists_of(element: core_schema.CoreSchema) -> core_schema.CoreSchema:
    """An element, or a list of them: one more dimension."""

    def read(value: Any, handler: Handler) -> Any:
        return [read(each, handler) for each in value] if isinstance(value, list) else handler(value)

    return core_schema.no_info_wrap_validator_function(read, element)


# What pydantic takes for seconds since 1970 is no date to PostgreSQL.


def _date(value: Any, handler: Handler) -> Any:
    if type(value) is str:
        if found := _COMPACT_DATE.fullmatch(value):
            value = "-".join(found.groups())
        elif _NUMBER.fullmatch(value):
            raise PydanticKnownError("date_parsing", {"error": "a number is no date"})
        elif value.strip().lower() in _ENDLESS:
            return value
    elif not isinstance(value, date):
        raise PydanticKnownError("date_type")
    return handler(value)


def _timestamp(*, has_zone: bool, modifier: int) -> core_schema.CoreSchema:
    places = _places(modifier)
    step = 10 ** (_MAX_PRECISION - places)

    def read(value: Any, handler: Handler) -> Any:
        if type(value) is str:
            if found := _COMPACT_DATE.fullmatch(value):
                value = "-".join(found.groups())
            elif _NUMBER.fullmatch(value):
                raise PydanticKnownError("datetime_parsing", {"error": "a number is no date"})
            elif value.strip().lower() in _ENDLESS:
                return value
            elif len(value) > len("2024-01-31 12:00:00"):
                # Nanoseconds of Parquet, and a zone as PostgreSQL prints it.
                value = _HOURS_OF_ZONE.sub(r"\1:00", _ZEROS_AT_END.sub(r"\1", value.strip()))
        elif not isinstance(value, date):
            raise PydanticKnownError("datetime_type")
        instant: datetime = handler(value)
        if instant.microsecond % step:
            raise PydanticKnownError("datetime_parsing", {"error": _too_fine(places)})
        return instant

    inner = core_schema.datetime_schema(tz_constraint=None if has_zone else "naive", microseconds_precision="error")
    return core_schema.no_info_wrap_validator_function(read, inner)


def _time_of(modifier: int) -> Callable[[Any, Handler], Any]:
    places = _places(modifier)
    step = 10 ** (_MAX_PRECISION - places)

    def read(value: Any, handler: Handler) -> Any:
        if type(value) is str:
            if _NUMBER.fullmatch(value):
                raise PydanticKnownError("time_parsing", {"error": "a number is no time"})
        elif not isinstance(value, time):
            raise PydanticKnownError("time_type")
        found: time = handler(value)
        if found.microsecond % step:
            raise PydanticKnownError("time_parsing", {"error": _too_fine(places)})
        return found

    return read


def _time_with_zone(modifier: int) -> Callable[[Any], Any]:
    """Read by the server, which would round it."""
    places = _places(modifier)

    def check(value: Any) -> Any:
        found = _FRACTION_OF_SECOND.search(str(value))
        if found and len(found[1].rstrip("0")) > places:
            raise PydanticKnownError("time_parsing", {"error": _too_fine(places)})
        return value

    return check


def _places(modifier: int) -> int:
    """Digits of a second that the column keeps."""
    return modifier if 0 <= modifier < _MAX_PRECISION else _MAX_PRECISION


def _too_fine(places: int) -> str:
    return f"second fraction value is more than {places} digits long"


def _address(value: Any) -> Any:
    try:
        ipaddress.ip_interface(value.strip() if isinstance(value, str) else str(value))
    except ValueError:
        # pydantic's own word for it.
        raise PydanticCustomError("ip_any_interface", "value is not a valid IPv4 or IPv6 interface") from None
    return value


def _json_of_text(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise PydanticKnownError("json_invalid", {"error": str(error)}) from None
    return Json(value, dumps=str)  # as it is written


_JSON_OF_TEXT = core_schema.no_info_plain_validator_function(_json_of_text)


def _array(value: Any, handler: Handler) -> Any:
    if type(value) is str:
        text = value.strip()
        if text.startswith("{") or (text.startswith("[") and "]={" in text):
            return text  # the server reads it
        try:
            value = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise PydanticKnownError("list_type") from None
    return handler(value)
