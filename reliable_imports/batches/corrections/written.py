"""The file of failed items: CSV, JSON Lines, or a workbook whose faulty cells are marked."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from reliable_imports.batches.corrections.cells import (
    MAX_CELL,
    MISSING,
    Kind,
    column_name,
    csv_cell,
    guarded,
    key_name,
    xlsx_cell,
)
from reliable_imports.errors import ConfigurationError
from reliable_imports.items.json_write import dumps_item

SHEET = "failures"
"""Of a workbook."""

_MAX_ROWS = 1_048_576
_MAX_COLUMNS = 16_384
_MOST_COMMENTS = 50_000
"""A workbook keeps a drawing for each; what is wrong stands in a column as well."""


class Row(NamedTuple):
    """Our columns, the source's own, and those of them that are at fault."""

    ours: Mapping[str, Any]
    cells: Mapping[str, Any]
    faulty: Sequence[str]


def write(path: Path, kind: Kind, rows: Iterable[Row], ours: Sequence[str], columns: Sequence[str], count: int) -> None:
    """Write the file beside its place, and put it there when it is whole.

    Args:
        ours: those of our columns that are wanted; none for a file in which only the source's own are.
        count: how many rows there are.

    Raises:
        ConfigurationError: there is no such folder, the package that writes workbooks is not there, or no workbook has
            so many rows or columns.
    """
    if kind == "xlsx":
        _check(path, len(ours) + len(columns), count)
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {path.parent}")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=f".{kind}")
    os.close(handle)
    try:
        writer = {"csv": _write_csv, "jsonl": _write_json_lines, "xlsx": _write_workbook}[kind]
        writer(Path(name), rows, ours, columns)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _write_csv(path: Path, rows: Iterable[Row], ours: Sequence[str], columns: Sequence[str]) -> None:
    if not ours:
        _write_plain_csv(path, rows, columns)
        return
    # With the mark, spreadsheets know the encoding; other programs take it for a part of the first name.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        names = [*ours, *(column_name(name, ours) for name in columns)]
        _csv_line(file, [guarded(name) for name in names])
        for row in rows:
            cells = [row.ours.get(name) for name in ours] + [row.cells.get(name, MISSING) for name in columns]
            _csv_line(file, [csv_cell(cell) for cell in cells])


def _write_plain_csv(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """As it came: nothing is marked or put before it, for it goes where it came from."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        _csv_line(file, columns)
        for row in rows:
            if "_raw" in row.ours:
                file.write(row.ours["_raw"] + "\r\n")
            else:
                cells = [row.cells.get(name, MISSING) for name in columns]
                _csv_line(file, [cell if isinstance(cell, str) else csv_cell(cell) for cell in cells])


def _csv_line(file: TextIO, cells: Sequence[str | None]) -> None:
    """A null stands without quotes, an empty text with them. (The library's own writer knows that from Python 3.12.)"""
    file.write(",".join("" if cell is None else _quoted(cell) for cell in cells) + "\r\n")


def _quoted(cell: str) -> str:
    if cell and cell.strip() == cell and not any(each in cell for each in ',;"\r\n\t'):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _write_json_lines(path: Path, rows: Iterable[Row], ours: Sequence[str], columns: Sequence[str]) -> None:
    with path.open("wb") as file:
        for row in rows:
            if not ours and "_raw" in row.ours:
                file.write(row.ours["_raw"].encode("utf-8", "backslashreplace") + b"\n")
                continue
            value: Any = {key_name(name, ours): each for name, each in row.cells.items()}
            value = {**{name: row.ours[name] for name in ours if name in row.ours}, **value}
            stored = dumps_item(row.ours["_value"] if not ours and "_value" in row.ours else value)
            text = stored.raw if stored.text is None else stored.text.encode()
            file.write((text or b"") + b"\n")


def _write_workbook(path: Path, rows: Iterable[Row], ours: Sequence[str], columns: Sequence[str]) -> None:
    names = [*ours, *(column_name(name, ours) for name in columns)]
    place_of = {name: place for place, name in enumerate(columns, len(ours))}
    with _module(path).Workbook(os.fspath(path)) as workbook:
        sheet = workbook.add_worksheet(SHEET)
        header = workbook.add_format({"bold": True, "bottom": 1})
        text = workbook.add_format({"num_format": "@"})
        plain = workbook.add_format()
        faulty = {
            True: workbook.add_format({"num_format": "@", "bg_color": "#FFC7CE"}),
            False: workbook.add_format({"bg_color": "#FFC7CE"}),
        }
        soft = workbook.add_format({"font_color": "#666666", "num_format": "@"})
        sheet.freeze_panes(1, len(ours) and 1)
        widths = [len(name) for name in names]
        for place, name in enumerate(names):
            sheet.write_string(0, place, name[:MAX_CELL], header)
        comments = 0
        for number, row in enumerate(rows, start=1):
            at_fault = {place_of[name] for name in row.faulty if name in place_of} if ours else set()
            if ours and not at_fault:
                at_fault = {ours.index("_wrong")}
            cells = [row.ours.get(name) for name in ours] + [row.cells.get(name, MISSING) for name in columns]
            for place, value in enumerate(cells):
                cell = xlsx_cell(value)
                # What is typed into a cell of text stays text.
                is_text = isinstance(value, str)
                kind = (
                    faulty[is_text] if place in at_fault else soft if place < len(ours) else text if is_text else plain
                )
                _write_cell(sheet, number, place, cell, kind)
                if number <= 200:
                    widths[place] = max(widths[place], len(str(cell or "")))
            for place in sorted(at_fault) if comments < _MOST_COMMENTS else ():
                sheet.write_comment(number, place, str(row.ours["_wrong"])[:MAX_CELL], {"author": "reliable-imports"})
                comments += 1
        for place, width in enumerate(widths):
            sheet.set_column(place, place, min(max(width + 1, 8), 40))


def _write_cell(sheet: Any, row: int, column: int, cell: str | float | bool | None, kind: Any) -> None:
    """As what it is: nothing here becomes a formula or a link."""
    match cell:
        case None:
            sheet.write_blank(row, column, None, kind)
        case bool():
            sheet.write_boolean(row, column, cell, kind)
        case str():
            sheet.write_string(row, column, cell, kind)
        case _:
            sheet.write_number(row, column, cell, kind)


def _check(path: Path, columns: int, count: int) -> None:
    _module(path)
    for what, has, most in (("rows", count + 1, _MAX_ROWS), ("columns", columns, _MAX_COLUMNS)):
        if has > most:
            raise ConfigurationError(
                f"{path}: a workbook has {most:,} {what} at most, and {has:,} are needed; write a .csv or a .jsonl"
            )


def _module(path: Path) -> Any:
    try:
        return importlib.import_module("xlsxwriter")
    except ImportError:
        raise ConfigurationError(
            f"{path}: another package is needed to write a workbook: pip install 'reliable-imports[excel]'"
        ) from None
