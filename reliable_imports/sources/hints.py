"""What to declare when a file's header is none that the processor knows."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection

from reliable_imports.sources.options import SourceOptions

_DELIMITERS = ",;\t|:"
_MAX_LINES = 50
_LONGEST_LINE = 10_000


def better_options(text: str, options: SourceOptions, delimiter: str, names: Collection[str]) -> str | None:
    """Options under which one of the first lines has the most of *names*, in words; None if there are none.

    Args:
        text: the beginning of the file.
        delimiter: what it was read with.
    """
    known = set(map(plain_name, names))
    best = 0
    found: tuple[int, str] | None = None
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text)[:_MAX_LINES]):
        for other in dict.fromkeys([delimiter, *_DELIMITERS]):
            common = len(known & {plain_name(cell) for cell in _cells(line[:_LONGEST_LINE], other)})
            if common > best:
                best, found = common, (number, other)
    if found is None:
        return None
    return _remedy(*found, options, delimiter)


def plain_name(name: str) -> str:
    """A name without what people write in different ways: case, blanks, signs."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _remedy(number: int, other: str, options: SourceOptions, delimiter: str) -> str | None:
    """What to set where the line with this number, from 0, has the names when it is read with the other delimiter."""
    conditions, settings = [], []
    if other != delimiter:
        conditions.append(f"the delimiter is {other!r}")
        settings.append(f"delimiter={other!r}")
    if number != options.skip_lines:
        conditions.append(f"line {number + 1} is the header")
        settings.append(f"skip_lines={number}")
    if options.header is not None:
        conditions.append("the file has a header")
        settings.append("header=None")
    return f"if {' and '.join(conditions)}, set SourceOptions({', '.join(settings)})" if settings else None


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)
