"""How a file has to be read, guessed from what stands in it."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

from reliable_imports.errors import SourceError
from reliable_imports.scaffold import kinds, texts
from reliable_imports.scaffold.names import unique_headings
from reliable_imports.sources.limits import MAX_CONTENT_BYTES, MAX_ITEMS, MAX_RATIO, Growth
from reliable_imports.sources.options import Format, SourceOptions, format_of_name
from reliable_imports.sources.stored.files import StoredFile
from reliable_imports.sources.stored.location import Location, file_name, open_location

_DELIMITERS = ("\t", ";", "|", ",", "^", "~", ":", " ")
_UNLIKELY = frozenset(": ")
"""What stands in times and texts, and delimits only where nothing else does."""
_RECORDS = 1000
_FOOTER_LINES = 15
_FEWEST_OF_MAP = 3
_WORDS = 4
_SHEET_ROWS = 200
_MOSTLY = 0.9
_TOTAL = re.compile(
    r"(grand |sub)?totals?|sum|summe|gesamt|insgesamt|gesamtsumme|average|mean|saldo|(closing |ending )?balance",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"(sources?|notes?|footnotes?|quellen?|hinweise?|stand|created|downloaded|generated|exported|erstellt)\b|[*\u00a9]",
    re.IGNORECASE,
)
_YEAR = re.compile("(18|19|20)[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Layout:
    """
    Attributes:
        format: what the file is.
        options: those that differ from the defaults.
        remarks: what was guessed, for people: a name and what.
        is_whole: all of the file was looked at.
    """

    format: Format
    options: SourceOptions
    remarks: tuple[tuple[str, str], ...]
    is_whole: bool = True


def find_layout(location: Location, source: str) -> Layout:
    """
    Raises:
        SourceError: the file cannot be read, or holds no table.
    """
    given = _format_by_name(location, source)
    form = given or _format_by_content(source, location)
    named = SourceOptions() if given is not None else SourceOptions(format=form)
    if form == "parquet":
        return Layout(form, named, (("format", "Parquet"),))
    if form == "xlsx":
        return _sheet(source, _stored(source, location), named)
    seen = texts.glimpse(_stored(source, location).blocks())
    if form in ("csv", "tsv") and seen.head.lstrip()[:1] in ("[", "{") and _is_json(seen.head):
        form = "json"
        named = replace(named, format="json")
    options = named if seen.encoding == "utf-8" else replace(named, encoding=seen.encoding)
    if form in ("json", "jsonl"):
        return _json_layout(source, location, form, options, seen)
    return _delimited(source, form, options, seen)


def _format_by_name(location: Location, source: str) -> Format | None:
    """None if the name says nothing; an archive's only file may say it."""
    try:
        found = format_of_name(source, file_name(location))
    except SourceError as error:
        if "does not say the format" in str(error):
            return None
        raise
    if found is not None:
        return found
    from reliable_imports.sources import open_source

    return open_source(location)._format_of_member()


def _stored(source: str, location: Location) -> StoredFile:
    return StoredFile(location, Growth(source, MAX_ITEMS, MAX_CONTENT_BYTES, MAX_RATIO))


def _format_by_content(source: str, location: Location) -> Format:
    with open_location(location).file as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK") and (b"[Content_Types].xml" in head or b"xl/" in head):
        return "xlsx"
    text = texts.glimpse(islice(_stored(source, location).blocks(), 1)).head.lstrip()
    if text[:1] in ("[", "{") and _is_json(text):
        return "json"
    return "csv"


def _is_json(text: str) -> bool:
    try:
        json.JSONDecoder().raw_decode(text.lstrip())
    except json.JSONDecodeError as error:
        return error.pos > 1000  # cut off where the glimpse ends
    return True


def _json_layout(source: str, location: Location, form: Format, options: SourceOptions, seen: texts.Glimpse) -> Layout:

    remarks = [("format", "JSON Lines" if form == "jsonl" else "JSON"), ("encoding", seen.encoding)]
    if form == "json" and seen.head.lstrip()[:1] == "{" and seen.is_whole:
        found = _longest_array(_stored(source, location), seen.encoding)
        # An array of objects that is alone at the top is found without being named.
        if found is not None and not (found.is_alone and found.pointer.count("/") == 1):
            remarks.append(("items", f"the array at {found.pointer}"))
            options = replace(options, pointer=found.pointer)
    return Layout(form, options, tuple(remarks), seen.is_whole)


@dataclass(frozen=True, slots=True)
class _Array:
    pointer: str
    is_alone: bool


def _longest_array(stored: StoredFile, encoding: str) -> _Array | None:
    """Where the longest array of objects stands in a document that is an object; None if there is none."""
    try:
        document = json.loads(b"".join(stored.blocks()).decode(encoding).removeprefix("\ufeff"))
    except (ValueError, RecursionError):  # several objects one after another, or no JSON
        return None
    if _is_map(document):
        return None
    found = sorted(_arrays(document, "", 4), reverse=True)
    if not found:
        return None
    at_top = [pointer for _, pointer in found if pointer.count("/") == 1]
    return _Array(found[0][1], is_alone=len(at_top) == 1)


def _is_map(document: Any) -> bool:
    """Whether the members of an object are what it is about, each under a name of its own; no array in it is all."""
    if not isinstance(document, dict) or len(document) < _FEWEST_OF_MAP:
        return False
    members = list(document.values())
    if not all(isinstance(member, dict) for member in members):
        return False
    shared = set(members[0]).intersection(*members[1:_FEWEST_OF_MAP])
    return 2 * len(shared) >= len(members[0]) > 0


def _arrays(value: Any, place: str, levels: int) -> Iterator[tuple[int, str]]:
    if isinstance(value, list):
        if place and value and all(isinstance(each, dict) for each in value):
            yield len(value), place
    elif isinstance(value, dict) and levels:
        for name, member in value.items():
            yield from _arrays(member, f"{place}/{name.replace('~', '~0').replace('/', '~1')}", levels - 1)


# Workbooks


def _sheet(source: str, stored: StoredFile, options: SourceOptions) -> Layout:
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
    return _beginning(str(next(cell for cell in rows[place] if cell is not None)))


def _is_beneath(row: Sequence[Any], widest: int) -> bool:
    """Whether a row is a total or a note by what stands in it; others are if an empty row is above them."""
    filled = [cell for cell in row if cell is not None]
    if not filled or not isinstance(filled[0], str) or len(filled) >= widest:
        return False
    is_total = _TOTAL.fullmatch(filled[0].strip().rstrip(":")) is not None
    is_sentence = len(filled) == 1 and (_NOTE.match(filled[0].strip()) is not None or len(filled[0].split()) > _WORDS)
    return is_total or is_sentence


def _beginning(text: str) -> str | None:
    """A pattern for texts that begin like this one, without the digits, which differ from file to file."""
    found = re.match(r"[^\d]{0,30}", text)
    same = found[0].rstrip() if found else ""
    return re.escape(same).replace("\\ ", " ") if len(same) > 2 else None


def _width(row: Sequence[Any]) -> int:
    return sum(cell is not None for cell in row)


# Delimited text


@dataclass(frozen=True, slots=True)
class _Row:
    cells: list[str]
    line: int
    """From 0, where it begins."""
    end: int
    """From 0, the line after its last one; a cell in quotes may go on."""


def _delimited(source: str, form: Format, options: SourceOptions, seen: texts.Glimpse) -> Layout:
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
    if _TOTAL.fullmatch(parsed[-1][0].strip()) and all(len(kinds.kinds_of(row[0])) > 1 for row in parsed[1:-1] if row):
        place -= 1  # a word beneath numbers or dates
    while place > 1 and _is_after_rows(parsed[place - 1], width):
        place -= 1
    if place == len(parsed) or place == 1:
        return None
    first = lines[-_FOOTER_LINES - 1 :][place]
    return _beginning(first)


def _is_after_rows(cells: Sequence[str], width: int) -> bool:
    filled = [cell.strip() for cell in cells if cell.strip()]
    if len(cells) == 1:
        return True
    if len(filled) == 1:  # it may be a row with gaps
        return len(cells) < width or _NOTE.match(filled[0]) is not None
    return bool(filled) and _TOTAL.fullmatch(filled[0].rstrip(":")) is not None and len(filled) < width
