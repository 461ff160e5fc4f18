"""What a workbook holds, looked at before it is read: a sheet is laid out in memory as a rectangle around its cells, so
one cell in the last corner of a file of five kilobytes would take hundreds of gigabytes.
"""

from __future__ import annotations

import posixpath
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

from reliable_imports.errors import SourceError
from reliable_imports.sources.limits import Growth

MAX_CELLS = 50_000_000
"""Of the rectangle; a cell takes 32 bytes."""

_BLOCK = 256 * 1024
_SPARSE = 1_000_000
"""A rectangle of so many cells may be as empty as it likes."""
_EMPTY = 100
"""How many cells of a larger one there may be for each that is in use."""
_LARGEST_INDEX = 16 * 1024 * 1024
_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_RANGE = re.compile("[A-Z]{1,3}[0-9]{1,7}:[A-Z]{1,3}([0-9]{1,7})")
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_STYLES = "xl/styles.xml"
_ZEROS = re.compile("0{2,40}")
_LOCAL_HEADER = struct.Struct("<26xHH")


@dataclass(frozen=True, slots=True)
class Worksheet:
    """
    Attributes:
        part: the file in the archive that has its cells.
    """

    name: str
    part: str
    is_visible: bool


class Zeros:
    """Which numbers are shown with zeros before them, as postal codes are: the format of their cell is `00000`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], array[int]] = {}

    def add(self, row: int, column: int, digits: int) -> None:
        self._rows.setdefault((column, digits), array("L")).append(row)

    def by_row(self) -> Callable[[int], dict[int, int]]:
        """Gives the digits of each such column of a row; to be asked for rows in rising order."""
        waiting = dict.fromkeys(self._rows, 0)

        def of_row(row: int) -> dict[int, int]:
            found = {}
            for each, place in waiting.items():
                rows = self._rows[each]
                while place < len(rows) and rows[place] < row:
                    place += 1
                waiting[each] = place
                if place < len(rows) and rows[place] == row:
                    found[each[0]] = each[1]
            return found

        return of_row

    def __bool__(self) -> bool:
        return bool(self._rows)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """
    Attributes:
        problems: of rows, the first cell of each that shows an error, or a formula without a value.
        zeros: numbers that are shown with zeros before them.
        merged: ranges of cells that are shown as one, with the number of the last row.
    """

    problems: dict[int, str]
    zeros: Zeros
    merged: list[tuple[str, int]]


def worksheets(source: str, file: BinaryIO, growth: Growth, stored: int) -> list[Worksheet]:
    """The sheets of cells of a workbook, in its order. All of its parts are decompressed once, and counted.

    Raises:
        SourceError: this is no workbook, or it grows over a limit.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise SourceError(source, "this is no .xlsx workbook, or it is damaged or has a password") from None
    parts = {info.filename: info for info in archive.infolist()}
    if _WORKBOOK not in parts or _RELATIONS not in parts:
        raise SourceError(source, "this is no .xlsx workbook")
    for info in parts.values():
        for block in _content(source, file, info):
            growth.content += len(block)
            growth.check_content(stored)
    return list(_listed(source, file, parts))


def survey_sheet(source: str, file: BinaryIO, sheet: Worksheet) -> Surveyed:
    """What the cells of a sheet hold beside their values.

    Raises:
        SourceError: a rectangle around its cells is too large, or it is damaged.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(sheet.part)
        styles = archive.getinfo(_STYLES) if _STYLES in archive.namelist() else None
    survey = _Survey(parser, {} if styles is None else _styles_with_zeros(_xml(source, file, styles)))
    try:
        for block in _content(source, file, info):
            parser.Parse(block)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError) as error:
        raise SourceError(source, f"the sheet {sheet.name!r} is damaged: {error}") from None
    area = survey.rows * survey.columns
    if area > max(_SPARSE, min(MAX_CELLS, survey.cells * _EMPTY)):
        corner = f"{column_name(survey.last_column)}{survey.last_row}"
        raise SourceError(
            source,
            f"the sheet {sheet.name!r} has {survey.cells:,} cells, and a rectangle around them, up to {corner}, has "
            f"{area:,}; {MAX_CELLS:,} are the most, {_EMPTY} for each cell; delete what is far out, or save it as .csv",
        )
    return Surveyed(survey.problems, survey.zeros, survey.merged)


def _styles_with_zeros(styles: ElementTree.Element) -> dict[str, int]:
    """The styles of cells that show numbers with zeros before them, by their number; and with how many digits."""
    digits: dict[str | None, int] = {}
    for each in styles.iter():
        if each.tag.rpartition("}")[2] == "numFmt" and _ZEROS.fullmatch(each.get("formatCode", "")):
            digits[each.get("numFmtId")] = len(each.get("formatCode", ""))
    found = {}
    for group in styles:
        if group.tag.rpartition("}")[2] == "cellXfs":
            for number, each in enumerate(group):
                if (width := digits.get(each.get("numFmtId"))) is not None:
                    found[str(number)] = width
    return found


def column_name(column: int) -> str:
    """`A` for 0."""
    name = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


class _Survey:
    """Where cells are; one that does not say so follows the one before it."""

    def __init__(self, parser: expat.XMLParserType, styles_with_zeros: dict[str, int]) -> None:
        self._parser = parser
        self._styles_with_zeros = styles_with_zeros
        self.zeros = Zeros()
        self.merged: list[tuple[str, int]] = []
        parser.StartElementHandler = self._start
        self.cells = 0
        self.last_row = 0
        self.last_column = -1
        self.problems: dict[int, str] = {}
        self._first_row = 0
        self._first_column = 0
        self._row = 0
        self._column = -1
        self._kind: str | None = None
        self._text = ""

    @property
    def rows(self) -> int:
        return self.last_row - self._first_row + 1 if self.cells else 0

    @property
    def columns(self) -> int:
        return self.last_column - self._first_column + 1 if self.cells else 0

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        match name.rpartition(" ")[2]:
            case "c":
                self._cell(attributes)
            case "f" if self._kind not in ("e", "str"):
                self._parser.EndElementHandler = self._end
            case "v" if self._parser.EndElementHandler is not None:
                self._parser.CharacterDataHandler = self._add_text
            case "row":
                self._row = int(attributes["r"]) if "r" in attributes else self._row + 1
                self._column = -1
            case "mergeCell" if (found := _RANGE.fullmatch(attributes.get("ref", ""))) is not None:
                self.merged.append((found[0], int(found[1])))

    def _cell(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r")
        if reference is None:
            self._column += 1
        else:
            match = _REFERENCE.fullmatch(reference)
            if match is None:
                raise ValueError(f"no cell is called {reference[:20]!r}")
            self._column = _column_of(match[1])
            self._row = int(match[2])
        if not self.cells:
            self._first_row, self._first_column = self._row, self._column
        self.cells += 1
        self._first_row = min(self._first_row, self._row)
        self._first_column = min(self._first_column, self._column)
        self.last_row = max(self.last_row, self._row)
        self.last_column = max(self.last_column, self._column)
        self._kind = attributes.get("t")
        self._text = ""
        if self._kind == "e":
            self._parser.EndElementHandler = self._end
        if self._styles_with_zeros and self._kind in (None, "n"):
            digits = self._styles_with_zeros.get(attributes.get("s", ""))
            if digits is not None:
                self.zeros.add(self._row, self._column, digits)

    # Only for cells with an error or a formula: most have neither, and each call takes time.

    def _add_text(self, text: str) -> None:
        self._text = (self._text + text)[:80]

    def _end(self, name: str) -> None:
        self._parser.CharacterDataHandler = None
        if name.rpartition(" ")[2] != "c":
            return
        self._parser.EndElementHandler = None
        cell = f"{column_name(self._column)}{self._row}"
        if self._kind == "e":
            self.problems.setdefault(self._row, f"the cell {cell} shows {self._text}")
        elif not self._text:
            self.problems.setdefault(
                self._row,
                f"the cell {cell} has a formula, and no value was stored with it; open the workbook in Excel or "
                "LibreOffice, and save it",
            )


def _column_of(letters: str) -> int:
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return column - 1


def _listed(source: str, file: BinaryIO, parts: dict[str, zipfile.ZipInfo]) -> Iterator[Worksheet]:
    targets = {}
    for relation in _xml(source, file, parts[_RELATIONS]).iter():
        if relation.get("Type", "").endswith("/worksheet"):
            targets[relation.get("Id")] = posixpath.normpath(posixpath.join("xl", relation.get("Target", ""))).lstrip(
                "/"
            )
    for sheet in _xml(source, file, parts[_WORKBOOK]).iter():
        if sheet.tag.rpartition("}")[2] != "sheet":
            continue
        key = next((value for name, value in sheet.items() if name.rpartition("}")[2] == "id"), None)
        part = targets.get(key)
        if part in parts:
            yield Worksheet(sheet.get("name", ""), part, sheet.get("state", "visible") == "visible")


def _xml(source: str, file: BinaryIO, info: zipfile.ZipInfo) -> ElementTree.Element:
    text = bytearray()
    for block in _content(source, file, info):
        text += block
        if len(text) > _LARGEST_INDEX:
            raise SourceError(source, f"the part {info.filename} of the workbook is too large to be honest")
    try:
        return ElementTree.fromstring(bytes(text))
    except ElementTree.ParseError as error:
        raise SourceError(source, f"the part {info.filename} of the workbook is damaged: {error}") from None


def _content(source: str, file: BinaryIO, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """What a part is decompressed to, whatever the archive says of its size: other readers do not look at that."""
    try:
        file.seek(info.header_offset)
        file.seek(sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))), 1)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SourceError(source, f"the part {info.filename} of the workbook is compressed in an unusual way")
        stream = zlib.decompressobj(-15) if info.compress_type == zipfile.ZIP_DEFLATED else None
        left = info.compress_size
        place = file.tell()
        while left > 0:
            file.seek(place)
            block = file.read(min(_BLOCK, left))
            if not block:
                raise SourceError(source, "the workbook is cut short")
            place += len(block)
            left -= len(block)
            while block:
                yield (stream.decompress(block, _BLOCK) if stream else block)
                block = stream.unconsumed_tail if stream else b""
    except (struct.error, zlib.error, OSError) as error:
        raise SourceError(source, f"the part {info.filename} of the workbook is damaged: {error}") from None
