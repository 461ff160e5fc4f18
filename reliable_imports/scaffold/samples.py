"""A sample read as its import would read it, row by row, to see what its columns hold."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeAlias

from reliable_imports.errors import SourceError
from reliable_imports.items.json_read import loads
from reliable_imports.scaffold.columns import Column
from reliable_imports.scaffold.layouts import Layout, find_layout
from reliable_imports.scaffold.names import column_names
from reliable_imports.scaffold.remedies import Reading, better_layouts, is_better
from reliable_imports.scaffold.texts import MAX_READ
from reliable_imports.sources import Source, SourceOptions, open_source
from reliable_imports.sources.stored.location import Location, shown

_ROWS_AT_ONCE = 5000
_KEPT_ROWS = 3
_MAX_ROWS = 1_000_000
_MAX_COLUMNS = 1500
"""A table of PostgreSQL has at most 1,600."""
_TRIES = 6


Watch: TypeAlias = Callable[[Source | None], AbstractContextManager[object]]
"""Shows a person how far a source is read, as long as the block lasts; None is for a look whose length nobody knows."""


def unwatched(source: Source | None) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(slots=True)
class Sample:
    """
    Attributes:
        first: the first rows, as they are in the source.
        equal_rows: rows of which an earlier one is a copy.
        problems: rows that cannot be read, by the kind of problem.
        said: of each kind, what the first row says that has it.
        is_whole: all rows were read.
        warnings: what people should know of the file.
    """

    location: Location
    options: SourceOptions
    remarks: list[tuple[str, str]]
    columns: list[Column] = field(default_factory=list)
    rows: int = 0
    first: list[dict[str, Any]] = field(default_factory=list)
    equal_rows: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    said: dict[str, str] = field(default_factory=dict)
    is_whole: bool = True
    warnings: list[str] = field(default_factory=list)


def read_sample(location: Location, watch: Watch = unwatched) -> Sample:
    """Read a file to its end, or its first 100 MB, under the options that suit it.

    Raises:
        SourceError: it cannot be read, or holds no rows of named values.
    """
    with watch(None):
        layout = find_layout(location, shown(location))
    tried = {layout.options}
    sample, reading = _read(location, layout, watch)
    for _ in range(_TRIES):
        better = next((each for each in better_layouts(layout, reading) if each.options not in tried), None)
        if better is None:
            break
        tried.add(better.options)
        other, other_reading = _read(location, better, watch)
        if reading.refusal is not None or is_better(better, other_reading, layout, reading):
            layout, sample, reading = better, other, other_reading
    if reading.refusal is not None:
        raise reading.refusal
    if sample.problems and not sample.rows:
        kind, _ = sample.problems.most_common(1)[0]
        raise SourceError(shown(location), f"none of its rows can be read: {sample.said[kind]}")
    if not sample.columns:
        raise SourceError(shown(location), "there is no row in it that could be a sample")
    return sample


def rows_of(sample: Sample, watch: Watch = unwatched) -> Iterator[dict[str, Any]]:
    """The rows of a sample once more."""
    source = open_source(sample.location, sample.options)
    again = replace(sample, rows=0)
    with watch(source):
        yield from islice(_rows(source, again, Reading(source)), sample.rows)


def _read(location: Location, layout: Layout, watch: Watch) -> tuple[Sample, Reading]:
    source = open_source(location, layout.options)
    sample = Sample(location, layout.options, list(layout.remarks), is_whole=layout.is_whole)
    reading = Reading(source)
    rows_seen: set[int] = set()
    columns: dict[str, Column] = {}
    has_own_types = layout.format not in ("csv", "tsv")
    block: list[dict[str, Any]] = []

    def look() -> None:
        for name in dict.fromkeys(name for row in block for name in row) if has_own_types else ():
            if name not in columns:
                _add_column(columns, name, sample.rows, has_own_types)
        rows_of_block = [[row.get(name) for name in columns] for row in block]
        for column, values in zip(columns.values(), zip(*rows_of_block, strict=True), strict=False):
            column.add(values)
            if None in values:
                column.absent += sum(column.source not in row for row in block)
        hashed = [hash(tuple(map(_hashable, values))) for values in rows_of_block]
        before = len(rows_seen)
        rows_seen.update(hashed)
        sample.equal_rows += len(hashed) - (len(rows_seen) - before)
        sample.rows += len(block)
        block.clear()

    try:
        with watch(source):
            for row in _rows(source, sample, reading):
                if not columns and not has_own_types:
                    for name in source.findings.columns or ():
                        _add_column(columns, name, 0, has_own_types)
                if len(sample.first) < _KEPT_ROWS:
                    sample.first.append(row)
                block.append(row)
                if len(block) >= _ROWS_AT_ONCE:
                    look()
            look()
    except SourceError as error:
        reading.refusal = error
    for name in source.findings.columns or ():
        if name not in columns:
            _add_column(columns, name, sample.rows, has_own_types)
    if source.findings.columns:
        columns = {name: columns[name] for name in source.findings.columns}
    if len(columns) > _MAX_COLUMNS:
        raise SourceError(
            source.name, f"it has {len(columns):,} columns or names, and a table takes {_MAX_COLUMNS:,} at most"
        )
    sample.columns = list(columns.values())
    for column, name in zip(sample.columns, column_names(columns).values(), strict=True):
        column.name = name
    sample.warnings = source.findings.warnings
    sample.problems, sample.said = reading.problems, reading.said
    return sample, reading


def _add_column(columns: dict[str, Column], name: str, rows_before: int, has_own_types: bool) -> None:
    column = columns[name] = Column(name, name, has_own_types, nulls=rows_before, absent=rows_before)
    column.hashes.extend([hash(None)] * min(rows_before, 300_000))


def _hashable(value: Any) -> Any:
    return repr(value) if type(value) in (dict, list) else value


def _rows(source: Source, sample: Sample, reading: Reading) -> Iterator[dict[str, Any]]:
    for item in source:
        if source.bytes_read > MAX_READ or sample.rows >= _MAX_ROWS:
            sample.is_whole = False
            return
        if item.problem is not None:
            _note_problem(reading, item.kind or item.problem, item.problem)
            if item.kind == "long-row" and item.raw is not None:
                _note_surplus(source, item.raw, reading)
            continue
        row = loads(item.text if item.text is not None else item.raw or b"", decimals=True)
        if isinstance(row, dict):
            yield row
        else:
            _note_problem(reading, "no-object", _NO_OBJECT)


_NO_OBJECT = (
    "an item is no object with names, so no columns can be made of it; make objects by jq -c '.[] | {value: .}' FILE"
)


def _note_problem(reading: Reading, kind: str, said: str) -> None:
    reading.problems[kind] += 1
    reading.said.setdefault(kind, said)


def _note_surplus(source: Source, raw: bytes, reading: Reading) -> None:
    delimiter = source.findings.delimiter or source._delimiter()
    text = raw.decode(source.findings.codec or "utf-8", "replace")
    cells = next(csv.reader([text], delimiter=delimiter), [])
    width = len(source.findings.header or ())
    reading.widest = max(reading.widest, len(cells))
    reading.has_surplus_values = reading.has_surplus_values or any(cell.strip() for cell in cells[width:])
