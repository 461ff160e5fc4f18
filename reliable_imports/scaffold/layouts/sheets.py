"""Workbooks: which sheet, its header, and what stands beneath the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reliable_imports.errors import SourceError
from reliable_imports.scaffold.layouts.endings import NOTE, TOTAL, pattern_of_beginning
from reliable_imports.scaffold.layouts.layout import Layout
from reliable_imports.scaffold.names import unique_headings
from reliable_imports.sources.options import SourceOptions
from reliable_imports.sources.stored.files import StoredFile

_WORDS = 4
_SHEET_ROWS = 200


def sheet_layout(source: str, stored: StoredFile, options: SourceOptions) -> Layout:
    from reliable_imports.sources.tables.workbook import glimpse_sheets

    sheets = glimpse_sheets(source, stored, _SHEET_ROWS)
    filled = [(name, rows, last) for name, rows, last in sheets if sum(_width(row) > 0 for row in rows) > 1]
    if not filled:
        raise SourceError(source, "no sheet of the workbook has a header and a row")
    name, rows, last = filled[0]
    remarks = [("format", "Excel workbook")]
    if name != sheets[0][0]:
        options = replace(options, sheet=name)
    if len(sheets) > 1:
        others = ", ".join(other for other, *_ in sheets if other != name)
        remarks.append(("sheet", f"{name}; not read: {others}"))
    widest = max(_width(row) for row in rows)
    place = next(
        (
            place
            for place, row in enumerate(rows)
            if _width(row) >= max(1, 0.6 * widest) and sum(isinstance(cell, str) for cell in row) * 2 > _width(row)
        ),
        next(place for place, row in enumerate(rows) if _width(row)),
    )
    header = [str(cell) if cell is not None else "" for cell in rows[place]]
    has_rows_beneath_blank = any(
        cell is not None and not header[at].strip() for row in rows[place + 1 :] for at, cell in enumerate(row)
    )
    named = [name for name in header if name.strip()]
    if len(set(named)) < len(named) or has_rows_beneath_blank:
        options = replace(options, header=tuple(unique_headings(header)), header_row=place + 2)
        remarks.append(("header", f"row {place + 1}, with a name of its own for each column"))
    elif place:
        options = replace(options, header_row=place + 1)
        remarks.append(("header", f"row {place + 1}"))
    footer = _footer_of_sheet(last, widest)
    if footer is not None:
        options = replace(options, footer=footer)
        remarks.append(("footer", f"from the row on that fits {footer}"))
    return Layout("xlsx", options, tuple(remarks))


def _footer_of_sheet(rows: Sequence[Sequence[Any]], widest: int) -> str | None:
    """A pattern for the row after the last one, if sentences or a total follow."""
    place = len(rows)
    while place > 1 and (_width(rows[place - 1]) < 2 or _is_beneath(rows[place - 1], widest)):
        place -= 1
    after_gap = False
    while place < len(rows) and not (after_gap and _width(rows[place])) and not _is_beneath(rows[place], widest):
        after_gap = not _width(rows[place])
        place += 1
    if place == len(rows) or place <= 1:
        return None
    return pattern_of_beginning(str(next(cell for cell in rows[place] if cell is not None)))


def _is_beneath(row: Sequence[Any], widest: int) -> bool:
    """Whether a row is a total or a note by what stands in it; others are if an empty row is above them."""
    filled = [cell for cell in row if cell is not None]
    if not filled or not isinstance(filled[0], str) or len(filled) >= widest:
        return False
    is_total = TOTAL.fullmatch(filled[0].strip().rstrip(":")) is not None
    is_sentence = len(filled) == 1 and (NOTE.match(filled[0].strip()) is not None or len(filled[0].split()) > _WORDS)
    return is_total or is_sentence


def _width(row: Sequence[Any]) -> int:
    return sum(cell is not None for cell in row)
