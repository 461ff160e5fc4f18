"""Parquet files: each row is one item, with the types of its columns.

A row group's texts are in memory at most, and of all else some pages. What JSON has no type for becomes text:

    date, time, timestamp     ISO 8601, with all digits of its unit; a timestamp with a zone has its offset there
    duration                  ISO 8601 in seconds (`PT90.5S`)
    decimal                   a number with exactly its digits
    int64, uint64             a number with exactly its digits
    binary                    `\\x` and hexadecimal digits, as PostgreSQL's bytea reads it
    uuid                      text
    list, struct              array, object
    map                       object if its keys are strings, else an array of objects with `key` and `value`
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import repeat
from typing import Any

from reliable_imports.errors import SourceError
from reliable_imports.items.json_check import shortened
from reliable_imports.items.json_write import TooLarge, dumps_item, plain_object
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.findings import Findings
from reliable_imports.sources.limits import too_many_fields
from reliable_imports.sources.options import SourceOptions
from reliable_imports.sources.stored.files import StoredFile

_ROWS = 1000
_BUFFER = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECONDS_OF_A_DAY = 24 * 60 * 60 * 1000
_UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""Digits after the second."""
_SECONDS_END = len("2024-01-31T12:00:00")


def read_parquet(source: str, stored: StoredFile, options: SourceOptions, findings: Findings) -> Iterator[SourceItem]:
    """The rows as JSON objects.

    Raises:
        SourceError: this is no Parquet file, it is damaged, a column is there twice, or a row is over the limit.
    """
    arrow, parquet = _modules(source)
    with stored.whole() as file:
        try:
            metadata = parquet.read_metadata(file)
            shared = _shared_texts(metadata)
            opened = parquet.ParquetFile(
                file, metadata=metadata, buffer_size=_BUFFER, pre_buffer=False, read_dictionary=shared
            )
            names = opened.schema_arrow.names
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise SourceError(source, f"this is no Parquet file, or it is damaged: {_first_line(error)}") from None
        _check_columns(source, names, options)
        findings.columns = names
        stored.growth.content, values = _measures(metadata)
        stored.growth.check_content(stored.bytes_read, values)
        number = 0
        nans: Counter[str] = Counter()
        try:
            for batch in opened.iter_batches(batch_size=_ROWS, use_threads=False):
                columns = [_python(arrow, column) for column in batch.columns]
                for name, column, values_of_column in zip(names, batch.columns, columns, strict=True):
                    if arrow.types.is_floating(column.type):
                        nans[name] += sum([value != value for value in values_of_column])
                for row in zip(*columns, strict=True):
                    number += 1
                    yield _item(source, number, dict(zip(names, row, strict=True)), options.max_item_bytes)
        except SourceError:
            raise
        except Exception as error:  # of whatever decodes it
            raise SourceError(
                source, f"the Parquet file is damaged, after row {number}: {_first_line(error)}"
            ) from None
        if told := [f"{shortened(name)} ({count:,})" for name, count in nans.items() if count]:
            findings.warnings.append(f"NaN, for which JSON has no number, is stored as null: {', '.join(told[:10])}")


def _shared_texts(metadata: Any) -> list[str]:
    """Columns of text and bytes in which each value of a row group stands once, for the rows to refer to it.

    They are read so: a large value that many rows have would else be in memory many times.
    """
    found = set()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in each for each in column.encodings):
                found.add(column.path_in_schema)
    return sorted(found)


def _measures(metadata: Any) -> tuple[int, int]:
    """The bytes of the content, each shared value counted once, and how many values its longest column has."""
    size = 0
    values = [metadata.num_rows] + [0] * metadata.num_columns
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        size += group.total_byte_size
        for place in range(group.num_columns):
            values[place + 1] += group.column(place).num_values
    return size, max(values)


def _modules(source: str) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise SourceError(
            source, "another package is needed to read Parquet: pip install 'reliable-imports[parquet]'"
        ) from None


def _check_columns(source: str, names: list[str], options: SourceOptions) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if not names:
        raise SourceError(source, "the file has no columns")
    if repeated:
        raise SourceError(source, f"a column is there twice: {', '.join(map(shortened, repeated[:5]))}")
    if len(names) > options.max_fields:
        raise SourceError(source, f"{len(names):,} columns, {too_many_fields(options.max_fields)}")


def _item(source: str, number: int, row: dict[str, Any], limit: int) -> SourceItem:
    text = plain_object(row)
    if text is not None and len(text) * 4 <= limit:
        return SourceItem(text, None, None, number)
    try:
        item = dumps_item(row, max_bytes=limit)
    except TooLarge as error:
        raise SourceError(source, f"row {number} holds {error}") from None
    return SourceItem(item.text, item.raw, item.problem, number, None, item.kind)


def _python(arrow: Any, array: Any) -> list[Any]:
    """The values of an array as what `dumps_item` takes, exactly."""
    types, kind = arrow.types, array.type
    if isinstance(kind, arrow.BaseExtensionType):
        return array.to_pylist() if kind.extension_name == "arrow.uuid" else _python(arrow, array.storage)
    if types.is_dictionary(kind):
        # Only those that these rows have: the dictionary is that of the row group.
        used = array.indices.unique().drop_null()
        values = dict(zip(used.to_pylist(), _python(arrow, array.dictionary.take(used)), strict=True))
        return [None if index is None else values[index] for index in array.indices.to_pylist()]
    if types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind) or types.is_duration(kind):
        text = _writer(arrow, kind)
        return [None if value is None else text(value) for value in _integers(arrow, array)]
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return [None if value is None else f"\\x{value.hex()}" for value in array.to_pylist()]
    if types.is_map(kind):
        return _maps(arrow, array)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(arrow, array)
    if types.is_struct(kind):
        names = [kind.field(place).name for place in range(kind.num_fields)]
        fields = [_python(arrow, field) for field in array.flatten()]
        rows = zip(*fields, strict=True) if fields else repeat((), len(array))
        return [
            dict(zip(names, row, strict=True)) if is_there else None
            for is_there, row in zip(array.is_valid().to_pylist(), rows, strict=True)
        ]
    if types.is_string(kind) or types.is_large_string(kind):
        return _strings(arrow, array)
    return array.to_pylist()  # type: ignore[no-any-return]


def _strings(arrow: Any, array: Any) -> list[Any]:
    try:
        return array.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:  # a writer's fault; that row is then no JSON, and the others are
        binary = arrow.large_binary() if arrow.types.is_large_string(array.type) else arrow.binary()
        return [None if raw is None else _text(raw) for raw in array.cast(binary).to_pylist()]


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _lists(arrow: Any, array: Any) -> list[Any]:
    values = iter(_python(arrow, array.flatten()))
    return [
        None if length is None else [next(values) for _ in range(length)]
        for length in array.value_lengths().to_pylist()
    ]


def _maps(arrow: Any, array: Any) -> list[Any]:
    ends = array.offsets.to_pylist()
    entries = slice(ends[0], ends[-1])
    keys, values = (_python(arrow, child[entries]) for child in (array.keys, array.items))
    kind = array.type.key_type
    are_names = arrow.types.is_string(kind.value_type if arrow.types.is_dictionary(kind) else kind)
    found: list[Any] = []
    for is_there, start, end in zip(array.is_valid().to_pylist(), ends, ends[1:], strict=False):
        pairs = list(zip(keys[start - ends[0] : end - ends[0]], values[start - ends[0] : end - ends[0]], strict=True))
        if not is_there:
            found.append(None)
        elif are_names and len(dict(pairs)) == len(pairs):
            found.append(dict(pairs))
        else:
            found.append([{"key": key, "value": value} for key, value in pairs])
    return found


def _integers(arrow: Any, array: Any) -> list[int | None]:
    """How many of its units each value is; Python's own types have no nanoseconds."""
    types, kind = arrow.types, array.type
    narrow = types.is_time32(kind) or types.is_date32(kind)
    return array.cast(arrow.int32() if narrow else arrow.int64()).to_pylist()  # type: ignore[no-any-return]


def _writer(arrow: Any, kind: Any) -> Callable[[int], str | _BeyondCalendar]:
    """What turns a number of the units of a type into its text."""
    types = arrow.types
    if types.is_date(kind):
        units = _MILLISECONDS_OF_A_DAY if types.is_date64(kind) else 1
        return lambda value: _date(value // units)
    if types.is_duration(kind):
        return lambda value: f"{'-' if value < 0 else ''}PT{'{}{}'.format(*_divided(abs(value), kind.unit))}S"
    if types.is_time(kind):
        return lambda value: _time(*_divided(value, kind.unit))
    zone = None if kind.tz is None else arrow.lib.string_to_tzinfo(kind.tz)
    return lambda value: _timestamp(*_divided(value, kind.unit), zone)


def _date(days: int) -> str | _BeyondCalendar:
    try:
        return date.fromordinal(_EPOCH.toordinal() + days).isoformat()
    except (ValueError, OverflowError):
        return _BeyondCalendar()


def _time(seconds: int, fraction: str) -> str:
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{fraction}"


def _timestamp(seconds: int, fraction: str, zone: tzinfo | None) -> str | _BeyondCalendar:
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
        if zone is None:
            return f"{moment.isoformat()[:_SECONDS_END]}{fraction}"
        text = moment.astimezone(zone).isoformat()
    except OverflowError:
        return _BeyondCalendar()
    return f"{text[:_SECONDS_END]}{fraction}{text[_SECONDS_END:]}"


def _divided(value: int, unit: str) -> tuple[int, str]:
    """Seconds, and what follows them as it is written: with all digits of the unit, or nothing."""
    digits = _UNITS[unit]
    seconds, fraction = divmod(value, 10**digits)
    return seconds, f".{fraction:0{digits}}" if fraction else ""


class _BeyondCalendar:
    """A date before the year 1 or after 9999, which Python has no words for; no JSON value, so its row fails."""

    def __repr__(self) -> str:
        return "<a date beyond the calendar>"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
