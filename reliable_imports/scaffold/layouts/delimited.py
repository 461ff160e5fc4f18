"""Delimited text: delimiter, header, and the footer."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from reliable_imports.errors import SourceError
from reliable_imports.scaffold import kinds, texts
from reliable_imports.scaffold.layouts.endings import NOTE, TOTAL, pattern_of_beginning
from reliable_imports.scaffold.layouts.layout import Layout
from reliable_imports.scaffold.names import unique_headings
from reliable_imports.sources.options import Format, SourceOptions

_DELIMITERS = ("\t", ";", "|", ",", "^", "~", ":", " ")
_UNLIKELY = frozenset(": ")
"""What stands in times and texts, and delimits only where nothing else does."""
_WITH_LINES_BEFORE = 0.8
"""What a delimiter counts under which the first lines belong to no table."""
_RECORDS = 1000
_FOOTER_LINES = 15
_MOSTLY = 0.9
_YEAR = re.compile("(18|19|20)[0-9]{2}")


@dataclass(frozen=True, slots=True)
class _Row:
    cells: list[str]
    line: int
    """From 0, where it begins."""
    end: int
    """From 0, the line after its last one; a cell in quotes may go on."""


def delimited_layout(source: str, form: Format, options: SourceOptions, seen: texts.Glimpse) -> Layout:
    if not seen.head.strip():
        raise SourceError(source, "the file is empty")
    remarks = [("format", "CSV" if form == "csv" else "TSV"), ("encoding", seen.encoding)]
    said = re.match(r'("?)sep=(.)\1\r?\n', seen.head, re.IGNORECASE)
    delimiter = said[2] if said else _find_delimiter(seen.head)
    rows = _rows(seen.head, delimiter)[1 if said else 0 :]
    if delimiter != ("\t" if form == "tsv" else ",") and not said:
        options = replace(options, delimiter=delimiter)
    remarks.append(("delimiter", {"\t": "tab", " ": "blank"}.get(delimiter, delimiter)))
    width = _common_width(rows)
    place = _header_place(rows, width)
    header = rows[place].cells
    body = [row for row in rows[place + 1 :] if any(row.cells)]
    line = rows[place].line
    if not _is_header(header, body):
        names = [f"column_{number}" for number in range(1, width + 1)]
        options = replace(options, header=tuple(names), skip_lines=line if line and not said else 0)
        remarks.append(("header", "none; the columns are named by their places"))
    else:
        made = _own_header(header, body, width)
        before = rows[place].end if made else line
        if made:
            options = replace(options, header=tuple(made))
            remarks.append(("header", f"line {line + 1}, with a name of its own for each column"))
        elif before and not said:
            remarks.append(("header", f"line {line + 1}"))
        if before and not (said and before == 1 and not made):
            options = replace(options, skip_lines=before)
    footer = _footer(seen, delimiter, width)
    if footer is not None:
        options = replace(options, footer=footer)
        remarks.append(("footer", f"from the line on that fits {footer}"))
    return Layout(form, options, tuple(remarks), seen.is_whole)


def _rows(text: str, delimiter: str, limit: int = _RECORDS) -> list[_Row]:
    lines = text.splitlines(keepends=True) if "\x0b" not in text and "\x85" not in text else re.split(r"(?<=\n)", text)
    reader = csv.reader(lines, delimiter=delimiter)
    found: list[_Row] = []
    line = 0
    try:
        for cells in reader:
            if cells:
                found.append(_Row(cells, line, reader.line_num))
            line = reader.line_num
            if len(found) >= limit:
                break
    except csv.Error:  # a field over the csv module's limit, or a quote that is never closed
        pass
    return found


def _find_delimiter(text: str) -> str:
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        rows = _rows(text, delimiter, 300)
        width = _common_width(rows)
        if width < 2:
            continue
        place = _header_place(rows, width)
        body = rows[place + 1 :] or rows[place:]
        share = sum(len(row.cells) == width for row in body) / len(body)
        agrees = len(rows[place].cells) in (width, width - 1)
        score = share * (2 if agrees else 0.5) * (1 + min(width, 20) / 100)
        if place:
            score *= _WITH_LINES_BEFORE
        if delimiter in _UNLIKELY:
            score *= 0.4 if share > _MOSTLY else 0
        if score > best_score:
            best, best_score = delimiter, score
    return best if best_score > 0.7 else "," if "\t" not in text else "\t"


def _common_width(rows: Sequence[_Row]) -> int:
    """How many cells most rows have; of rows at the beginning the fewest, as lines before the header stand there."""
    body = rows[len(rows) // 3 :] if len(rows) > 6 else rows
    widths = Counter(len(row.cells) for row in body if any(cell.strip() for cell in row.cells))
    if not widths:
        return 1
    width, count = widths.most_common(1)[0]
    if width == 1 and len(widths) > 1 and count < 0.6 * widths.total():
        width = widths.most_common(2)[1][0]
    return width


def _header_place(rows: Sequence[_Row], width: int) -> int:
    for place, row in enumerate(rows):
        filled = sum(bool(cell.strip()) for cell in row.cells)
        if row.cells[0].lstrip().startswith("#") and _begins_with_names(rows[place + 1 :]):
            continue  # a remark with as many commas
        if _is_all_names(row.cells, width):
            return place
        if len(row.cells) in (width, width - 1, width + 1) and filled * 2 >= width:
            if row.cells[0].lstrip().startswith("#") and place + 1 < len(rows) and filled < width:
                continue
            if len(row.cells) < min(2, width):
                continue
            if len(row.cells) != width and place + 1 < len(rows) and len(rows[place + 1].cells) != width:
                continue  # a sentence with a comma in it
            return place
    return 0


def _begins_with_names(rows: Sequence[_Row]) -> bool:
    """Whether the first row is all words, and numbers or dates are among what follows."""
    return (
        len(rows) > 1
        and all(len(kinds.kinds_of(cell.strip())) == 1 for cell in rows[0].cells)
        and any(len(kinds.kinds_of(cell.strip())) > 1 for row in rows[1:] for cell in row.cells)
    )


def _is_all_names(cells: Sequence[str], width: int) -> bool:
    """Whether a row is a header that has more names than most rows have cells."""
    names = [cell.strip() for cell in cells]
    return len(names) > width > 1 and all(names) and all(len(kinds.kinds_of(name)) == 1 for name in names)


def _is_header(header: Sequence[str], body: Sequence[_Row]) -> bool:
    """Whether the first row names the columns: it is unlike what stands beneath it."""
    if not body:
        return True
    if _are_rising_numbers(header):
        return True
    for_it, against = 0, 0
    shift = 1 if body and len(header) == len(body[0].cells) - 1 else 0
    for place, name in enumerate(header):
        values = [row.cells[place + shift].strip() for row in body[:200] if place + shift < len(row.cells)]
        values = [value for value in values if value and value not in kinds.NULL_TOKENS]
        if not values:
            continue
        special = sum(len(kinds.kinds_of(value)) > 1 for value in values) >= _MOSTLY * len(values)
        name = name.strip()
        if special and len(kinds.kinds_of(name)) > 1:
            against += not (_YEAR.fullmatch(name) and not any(map(_YEAR.fullmatch, values)))
        elif special and name:
            for_it += 1
        elif name and len(values) > 2 and name in values and len(name) > 1:
            against += 1
    return for_it >= against if for_it else against == 0


def _are_rising_numbers(header: Sequence[str]) -> bool:
    """Years or places as names of columns."""
    numbers = [int(name) for name in header if name.strip().isascii() and name.strip().isdecimal()]
    return len(numbers) > 2 and all(0 < later - number <= 10 for number, later in pairwise(numbers))


def _own_header(header: Sequence[str], body: Sequence[_Row], width: int) -> list[str] | None:
    """Names of our own, where the header has one twice, none for a column with values, or one too few; else None."""
    if len(header) == width - 1 and body:
        surplus = [row.cells[-1] for row in body if len(row.cells) == width]
        if any(cell.strip() for cell in surplus):
            return unique_headings(["row_name", *header])
        return unique_headings([*header, "rest"])
    named = [name for name in header if name.strip()]
    if len(set(named)) < len(named):
        return unique_headings(header)
    blank = [place for place, name in enumerate(header) if not name.strip()]
    is_ignored = len(blank) > 1 or blank == [len(header) - 1]
    if is_ignored and any(row.cells[place].strip() for row in body for place in blank if place < len(row.cells)):
        return unique_headings(header)
    return None


def _footer(seen: texts.Glimpse, delimiter: str, width: int) -> str | None:
    """A pattern for the line after the last row, if lines follow that are none."""
    lines = [line for line in seen.tail.splitlines() if line.strip()]
    if len(lines) < 3 or width < 2:
        return None
    parsed = [next(csv.reader([line], delimiter=delimiter), []) for line in lines[-_FOOTER_LINES - 1 :]]
    place = len(parsed)
    if TOTAL.fullmatch(parsed[-1][0].strip()) and all(len(kinds.kinds_of(row[0])) > 1 for row in parsed[1:-1] if row):
        place -= 1  # a word beneath numbers or dates
    while place > 1 and _is_after_rows(parsed[place - 1], width):
        place -= 1
    if place == len(parsed) or place == 1:
        return None
    first = lines[-_FOOTER_LINES - 1 :][place]
    return pattern_of_beginning(first)


def _is_after_rows(cells: Sequence[str], width: int) -> bool:
    filled = [cell.strip() for cell in cells if cell.strip()]
    if len(cells) == 1:
        return True
    if len(filled) == 1:  # it may be a row with gaps
        return len(cells) < width or NOTE.match(filled[0]) is not None
    return bool(filled) and TOTAL.fullmatch(filled[0].rstrip(":")) is not None and len(filled) < width
