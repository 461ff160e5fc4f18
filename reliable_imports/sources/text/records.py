"""Delimited text as records: lines, joined where a quoted cell holds a line end."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from itertools import chain

import msgspec

from reliable_imports.errors import SourceError
from reliable_imports.items.json_check import Problem
from reliable_imports.sources.options import SourceOptions
from reliable_imports.sources.text.content import Content
from reliable_imports.sources.text.lines import is_longer, split_lines

_NUL_STAND_IN = "\udc00"
"""For the csv module, which refuses NUL before Python 3.11; decoded text never holds a lone surrogate."""
_SAID_DELIMITER = re.compile(r'("?)sep=([^\r\n\0"])\1[\r\n]*', re.IGNORECASE)
"""The first line of a file that a spreadsheet wrote."""


class Record(msgspec.Struct, frozen=True):
    """One row, or what should be one.

    Attributes:
        cells: None stands for an empty cell without quotes, if those are told from empty cells with them.
        raw: its bytes: all its lines, with their ends.
        problem: why `cells` is not what was meant.
        is_plain: no character in it has to be escaped in JSON; if not known, False.
    """

    cells: list[str] | list[str | None]
    raw: bytes
    line: int
    offset: int
    problem: Problem | None
    is_plain: bool = False


class Records:
    """The records of a content, once.

    Attributes:
        delimiter: between cells: what the first line says, if it is `sep=;`, else what the options say.
        said_delimiter: what the first line says.
        first_place: line and offset where the header should stand, or without one the first row.
        width: how many columns there are, once that is known; an empty line of a file of one column is a row.
    """

    def __init__(self, content: Content, options: SourceOptions, delimiter: str) -> None:
        """
        Raises:
            SourceError: there are fewer lines than are to be skipped.
        """
        self.width = 0
        self._content = content
        self._options = options
        self._limit = options.max_item_bytes
        self._lines = split_lines(content, limit=self._limit, carriage_return_ends=True)
        self._line = 1
        self._offset = content.start
        for _ in range(options.skip_lines):
            self._skip_line(next(self._lines, None))
        first = next(self._lines, b"")
        self.said_delimiter = _said_delimiter(first, content.encoding.codec)
        self.delimiter = self.said_delimiter or delimiter
        if self.said_delimiter is not None:
            self._skip_line(first)
        elif first:
            self._lines = chain([first], self._lines)
        self.first_place = (self._line, self._offset)

    def _skip_line(self, raw: bytes | None) -> None:
        if raw is None:
            raise SourceError(
                self._content.source,
                f"the file has {self._line - 1} lines, and skip_lines is {self._options.skip_lines}",
            )
        self._refuse_long(raw, self._line, self._offset)
        self._line += 1
        self._offset += len(raw)

    def _refuse_long(self, raw: bytes, line: int, offset: int) -> None:
        if len(raw) > self._limit and is_longer(raw, self._limit, self._content.encoding):
            raise SourceError(
                self._content.source,
                f"the row holds more than {self._limit} bytes, the limit of an item",
                line=line,
                offset=offset,
            )

    def __iter__(self) -> Iterator[Record]:
        """
        Raises:
            SourceError: a quoted cell is never closed, or a record holds more than the limit of an item.
        """
        limit = self._limit
        delimiter = self.delimiter
        codec = self._content.encoding.codec
        special = self._options.quotechar or self._options.escapechar
        other = self._options.escapechar if self._options.quotechar else None
        parsed = _ParsedRecords(self._content, self._lines, self._options, delimiter) if special else None
        blank = delimiter + " \t"
        line, offset = self._line, self._offset
        for raw in self._lines:
            if len(raw) > limit:
                self._refuse_long(raw, line, offset)
            try:
                text = raw.decode(codec)
                problem = None
            except UnicodeDecodeError:
                text, problem = _decoded(raw, codec)
            if parsed is not None and (special in text or (other is not None and other in text)):  # type: ignore[operator]
                record, lines_read = parsed.read(raw, text, problem, line, offset)
                yield record
                line += lines_read
                offset += len(record.raw)
            else:
                # Most lines have no quotes, and need no parser. The line end is the only one in the line.
                text = text.rstrip("\r\n")
                if text.strip(blank) or self._is_row(text):
                    is_plain = text.isprintable() and '"' not in text and "\\" not in text
                    yield Record(text.split(delimiter), raw, line, offset, problem, is_plain)
                line += 1
                offset += len(raw)

    def _is_row(self, text: str) -> bool:
        """Whether a line with nothing in it but delimiters and blanks is a row."""
        match self._options.blank_rows:
            case "keep":
                return True
            case "skip":
                return False
            case None:
                return self.width == 1 and self.delimiter not in text


class _ParsedRecords:
    """Reads a record from a line with a quote or an escape in it, and from as many lines after that as it takes."""

    def __init__(self, content: Content, lines: Iterator[bytes], options: SourceOptions, delimiter: str) -> None:
        self._content = content
        self._lines = lines
        self._limit = options.max_item_bytes
        self._place = (0, 0)
        self._raw = bytearray()  # not the lines: of a quote that is never closed there may be millions
        self._lines_read = 0
        self._has_nul = False
        self._to_read: deque[str] = deque()
        self._problem: Problem | None = None
        self._reader = csv.reader(
            self._feed(),
            delimiter=delimiter,
            quotechar=options.quotechar,
            quoting=csv.QUOTE_NONE if options.quotechar is None else csv.QUOTE_MINIMAL,
            escapechar=options.escapechar,
            strict=True,
        )

    def read(self, raw: bytes, text: str, problem: Problem | None, line: int, offset: int) -> tuple[Record, int]:
        """The record that begins with this line, and how many lines it has."""
        self._place = (line, offset)
        self._raw.clear()
        self._lines_read = 0
        self._has_nul = False
        self._problem = None
        self._add(raw, text, problem)
        cells = self._cells()
        return Record(cells, bytes(self._raw), line, offset, self._problem), self._lines_read

    def _cells(self) -> list[str]:
        while True:
            try:
                cells = next(self._reader)
            except csv.Error as error:
                if "field limit" not in str(error):
                    self._problem = self._problem or Problem(
                        "bad-quoting", "a quote that closes a cell is not followed by the delimiter or the line end"
                    )
                    return []
                # The limit is one for the whole process: it is only raised, and only for a cell that needs it.
                # A line end, which a row's limit does not count, may be in the cell.
                csv.field_size_limit(max(self._limit + len("\r\n"), csv.field_size_limit()))
                text, _ = _decoded(bytes(self._raw), self._content.encoding.codec)
                self._to_read.append(text.replace("\0", _NUL_STAND_IN))
            else:
                return [cell.replace(_NUL_STAND_IN, "\0") for cell in cells] if self._has_nul else cells

    def _feed(self) -> Iterator[str]:
        """What the csv module takes its lines from; it asks for another only while a quoted cell is open."""
        while True:
            if not self._to_read:
                self._read_on()
            yield self._to_read.popleft()

    def _read_on(self) -> None:
        line, offset = self._place
        raw = next(self._lines, None)
        if raw is None:
            raise SourceError(
                self._content.source, "a quoted cell of the row is never closed", line=line, offset=offset
            )
        self._add(raw, *_decoded(raw, self._content.encoding.codec))
        if len(self._raw) > self._limit:
            raise SourceError(
                self._content.source,
                f"a quoted cell of the row is not closed within {self._limit} bytes, the limit of an item",
                line=line,
                offset=offset,
            )

    def _add(self, raw: bytes, text: str, problem: Problem | None) -> None:
        self._raw += raw
        self._lines_read += 1
        if "\0" in text:
            self._has_nul = True
            text = text.replace("\0", _NUL_STAND_IN)
        self._to_read.append(text)
        self._problem = self._problem or problem


def _decoded(raw: bytes, codec: str) -> tuple[str, Problem | None]:
    """A line's text; if it cannot be decoded, as much of it as shows where cells and quotes begin and end."""
    try:
        return raw.decode(codec), None
    except UnicodeDecodeError:
        return raw.decode(codec, "replace"), Problem("bad-encoding", f"the row cannot be decoded as {codec}")


def _said_delimiter(line: bytes, codec: str) -> str | None:
    found = _SAID_DELIMITER.fullmatch(line.decode(codec, "replace")) if len(line) < 50 else None
    return found[2] if found else None
