"""Excel workbooks: a row of one sheet names the columns, each row after it is an item, with the types of its cells.

A workbook's numbers are those of Excel, 64-bit floating point: whole ones become integers while that is exact. Dates
and times are ISO 8601 (a date and time at midnight is a date), durations ISO 8601 in seconds; an empty cell is null. A
number that is shown with zeros before it, by a format such as `00000`, is the text that is shown. A cell that shows an
error, such as `#DIV/0!`, fails its row, and so does one with a formula that was never calculated.

The sheet is in memory as a whole, and as a rectangle around all of its cells: see `survey_sheet`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from reliable_imports.errors import SourceError
from reliable_imports.items.json_check import shortened
from reliable_imports.items.json_write import TooLarge, dumps_item, plain_object
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.findings import Findings
from reliable_imports.sources.limits import too_many_fields
from reliable_imports.sources.options import SourceOptions
from reliable_imports.sources.stored.files import StoredFile
from reliable_imports.sources.tables.sheets import Surveyed, column_name, survey_sheet, worksheets

_EXACT = 2**53


def read_workbook(source: str, stored: StoredFile, options: SourceOptions, findings: Findings) -> Iterator[SourceItem]:
    """The rows as JSON objects; rows without a value are none.

    Args:
        findings: is told the names of the columns, and which sheets were left out.

    Raises:
        SourceError: this is no workbook, it is damaged, it has no such sheet, its header does not name the columns, or
            it is over a limit.
    """
    calamine = _module(source)
    with stored.whole() as file:
        found = worksheets(source, file, stored.growth, stored.bytes_read)
        name = _chosen(source, [sheet.name for sheet in found], options.sheet)
        surveyed = survey_sheet(source, file, next(sheet for sheet in found if sheet.name == name))
        left_out = [sheet.name for sheet in found if sheet.name != name and sheet.is_visible]
        if left_out and options.sheet is None:
            told = ", ".join(map(shortened, left_out[:5])) + (" and others" if len(left_out) > 5 else "")
            findings.warnings.append(
                f"only the sheet {shortened(name)} of the workbook was read, not {told}; SourceOptions.sheet names one"
            )
        file.seek(0)
        try:
            sheet = calamine.CalamineWorkbook.from_filelike(file).get_sheet_by_name(name)
        except (calamine.CalamineError, OSError, ValueError) as error:
            raise SourceError(source, f"the workbook cannot be read: {error}") from None
        yield from _items(source, sheet, surveyed, options, findings)


def glimpse_sheets(source: str, stored: StoredFile, limit: int) -> list[tuple[str, list[list[Any]], list[list[Any]]]]:
    """The visible sheets of a workbook by name, with the values of their first rows and of their last.

    Raises SourceError, as `read_workbook` does.
    """
    calamine = _module(source)
    with stored.whole() as file:
        found = worksheets(source, file, stored.growth, stored.bytes_read)
        for sheet in found:
            survey_sheet(source, file, sheet)
        file.seek(0)
        seen = []
        try:
            workbook = calamine.CalamineWorkbook.from_filelike(file)
            for name in (sheet.name for sheet in found if sheet.is_visible):
                rows = list(workbook.get_sheet_by_name(name).iter_rows())
                first, last = ([list(map(_value, row)) for row in part] for part in (rows[:limit], rows[-limit:]))
                seen.append((name, first, last))
        except (calamine.CalamineError, OSError, ValueError) as error:
            raise SourceError(source, f"the workbook cannot be read: {error}") from None
        return seen


def _module(source: str) -> Any:
    try:
        return importlib.import_module("python_calamine")
    except ImportError:
        raise SourceError(
            source, "another package is needed to read a workbook: pip install 'reliable-imports[excel]'"
        ) from None


def _chosen(source: str, names: list[str], wanted: str | int | None) -> str:
    if isinstance(wanted, str) and wanted in names:
        return wanted
    place = 1 if wanted is None else wanted
    if isinstance(place, int) and place <= len(names):
        return names[place - 1]
    raise SourceError(
        source,
        f"the workbook has no sheet {wanted!r}; it has {', '.join(map(shortened, names[:20]))}"
        if names
        else "the workbook has no sheet of cells",
    )


def _items(
    source: str, sheet: Any, surveyed: Surveyed, options: SourceOptions, findings: Findings
) -> Iterator[SourceItem]:
    merged = [cells for cells, last_row in surveyed.merged if last_row > options.header_row]
    if merged:
        told = ", ".join(merged[:3]) + (" and others" if len(merged) > 3 else "")
        findings.warnings.append(f"cells are merged, {told}: only the first of them has the value, the others none")
    zeros_of = surveyed.zeros.by_row() if surveyed.zeros else None
    first_column = sheet.start[1] if sheet.start is not None else 0
    header: list[str | None] | None = None
    fits = None if options.footer is None else re.compile(options.footer).match
    has_ended = False
    for number, row in enumerate(sheet.iter_rows(), start=1):
        if number < options.header_row:
            continue
        if header is None:
            header = _header(source, number, row, first_column, options)
            findings.columns = [name for name in header if name is not None]
            if options.header is None:
                continue
        cells = [_value(cell) for cell in row]
        beginning = next((cell for cell in cells if cell is not None), None)
        if fits is not None and beginning is not None and (has_ended or fits(str(beginning))):
            has_ended = True
            findings.leave_out("footer lines")
            continue
        for column, digits in () if zeros_of is None else zeros_of(number).items():
            place = column - first_column
            if 0 <= place < len(cells):  # not so of an empty cell outside
                cells[place] = _with_zeros(cells[place], digits)
        problem = surveyed.problems.get(number)
        if problem is not None:
            yield _unread(number, cells, problem, "cell-error")
        elif any(cell is not None for cell in cells):
            yield _item(source, number, header, cells, first_column, options.max_item_bytes)
    if fits is not None and not has_ended:
        findings.warnings.append("no row fits the pattern of the footer; the sheet may be cut short")
    if header is None:
        raise SourceError(
            source, f"the sheet has no row {options.header_row}, which is to name the columns", line=options.header_row
        )


def _header(source: str, number: int, row: list[Any], first_column: int, options: SourceOptions) -> list[str | None]:
    if options.header is not None:
        if len(options.header) != len(row):
            raise SourceError(
                source, f"SourceOptions.header names {len(options.header)} columns, and the sheet has {len(row)}"
            )
        return list(options.header)
    names = [None if cell in ("", None) else str(_value(cell)) for cell in row]
    given = [name for name in names if name is not None]
    repeated = sorted({name for name in given if given.count(name) > 1}) if len(set(given)) < len(given) else []
    if not given:
        problem = "names no columns; SourceOptions.header_row says which row does"
    elif repeated:
        problem = f"names a column twice: {', '.join(map(shortened, repeated[:5]))}"
    elif len(given) > options.max_fields:
        problem = f"names {len(given):,} columns, {too_many_fields(options.max_fields)}"
    else:
        return names
    raise SourceError(source, f"the row {number} of the sheet {problem}", line=number)


def _item(
    source: str, number: int, header: list[str | None], cells: list[Any], first_column: int, limit: int
) -> SourceItem:
    row: dict[str, Any] = {}
    for place, (name, cell) in enumerate(zip(header, cells, strict=True)):
        if name is not None:
            row[name] = cell
        elif cell is not None:
            where = f"{column_name(first_column + place)}{number}"
            return _unread(number, cells, f"the cell {where} has a value, and its column no name", "nameless-cell")
    text = plain_object(row)
    if text is not None and len(text) * 4 <= limit:
        return SourceItem(text, None, None, number)
    try:
        item = dumps_item(row, max_bytes=limit)
    except TooLarge as error:
        raise SourceError(source, f"the row holds {error}", line=number) from None
    return SourceItem(item.text, item.raw, item.problem, number, None, item.kind)


def _unread(number: int, cells: list[Any], problem: str, kind: str) -> SourceItem:
    """A row that is no item, kept as an array of its cells."""
    kept = dumps_item(cells)
    raw = kept.raw if kept.text is None else kept.text.encode()
    return SourceItem(None, raw, problem, number, None, kind)


def _value(cell: Any) -> Any:
    kind = type(cell)
    if kind is str:
        return cell or None
    if kind is float:
        return int(cell) if -_EXACT < cell < _EXACT and cell.is_integer() else cell
    if kind is bool or kind is int:
        return cell
    if kind is timedelta:
        return _duration(cell)
    return cell.isoformat()


def _with_zeros(value: Any, digits: int) -> Any:
    return str(value).zfill(digits) if type(value) is int and value >= 0 else value


def _duration(value: timedelta) -> str:
    microseconds = value // timedelta(microseconds=1)
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    after = f".{fraction:06}".rstrip("0") if fraction else ""
    return f"{'-' if microseconds < 0 else ''}PT{seconds}{after}S"
