"""Other options for a sample that could not be read well: what went wrong says which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from reliable_imports.errors import SourceError
from reliable_imports.scaffold.layouts import Layout
from reliable_imports.scaffold.names import unique_headings
from reliable_imports.sources import Source, SourceOptions

_MORE_COLUMNS = 20
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(slots=True)
class Reading:
    """What went wrong while a sample was read.

    Attributes:
        said: of each kind of problem, what the first row says that has it.
        surplus: cells of rows that are longer than the header, the most of a row, and whether one has a value.
    """

    source: Source
    refusal: SourceError | None = None
    problems: Counter[str] = field(default_factory=Counter)
    said: dict[str, str] = field(default_factory=dict)
    widest: int = 0
    has_surplus_values: bool = False


def is_better(one: Layout, its: Reading, other: Layout, others: Reading) -> bool:
    """Whether no more rows have problems; fewer, where values are read as something else."""
    if one.options.escapechar != other.options.escapechar:
        return its.problems.total() < others.problems.total()
    return its.problems.total() <= others.problems.total()


def better_layouts(layout: Layout, reading: Reading) -> Iterator[Layout]:
    """Layouts under which fewer rows may have problems."""
    options, problems = layout.options, reading.problems
    if reading.refusal is not None:
        found = _after_refusal(layout, str(reading.refusal))
        if found is not None:
            yield found
        return
    if problems["bad-quoting"] and options.escapechar is None and options.quotechar is not None:
        yield _told(layout, replace(options, escapechar="\\"), "escapes", "with backslashes")
    header = reading.source.findings.header or ()
    if problems["nameless-cell"]:
        yield from _with_names(layout, reading, len(header))
    if problems["long-row"]:
        if not reading.has_surplus_values and options.long_rows == "fail":
            yield _told(layout, replace(options, long_rows="cut"), "long rows", "their surplus cells are empty")
        if reading.has_surplus_values and len(header) < reading.widest <= len(header) + _MORE_COLUMNS:
            for named in _with_names(layout, reading, reading.widest):
                yield replace(named, options=replace(named.options, short_rows="accept"))
    if problems["short-row"] and options.short_rows == "fail":
        count = problems["short-row"]
        yield _told(layout, replace(options, short_rows="accept"), "short rows", f"{count:,} without their last cells")


def _after_refusal(layout: Layout, said: str) -> Layout | None:
    options = layout.options
    if "footer" in said and options.footer is not None:
        remarks = tuple(remark for remark in layout.remarks if remark[0] != "footer")
        return replace(layout, options=replace(options, footer=None), remarks=remarks)
    if "not closed" in said or "never closed" in said:
        if options.escapechar is None and options.quotechar is not None:
            return _told(layout, replace(options, escapechar="\\"), "escapes", "with backslashes")
        if options.quotechar is not None:
            remarks = tuple(remark for remark in layout.remarks if remark[0] != "escapes")
            without = replace(options, quotechar=None, escapechar=None)
            return _told(replace(layout, remarks=remarks), without, "quotes", "are ordinary characters")
    return None


def _with_names(layout: Layout, reading: Reading, width: int) -> Iterator[Layout]:
    header = reading.source.findings.header
    if header is None:
        return
    options = layout.options
    names = tuple(unique_headings([*header, *[""] * (width - len(header))]))
    if options.header is None:
        said = 1 if reading.source.findings.delimiter is not None else 0
        lines = 1 + sum(len(_LINE_END.findall(name)) for name in header)
        options = replace(options, skip_lines=options.skip_lines + said + lines)
        if said:
            options = replace(options, delimiter=reading.source.findings.delimiter)
    yield _told(layout, replace(options, header=names), "header", "with a name of its own for each column")


def _told(layout: Layout, options: SourceOptions, name: str, what: str) -> Layout:
    remarks = tuple(remark for remark in layout.remarks if remark[0] != name)
    return replace(layout, options=options, remarks=(*remarks, (name, what)))
