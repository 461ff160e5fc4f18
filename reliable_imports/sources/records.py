"""Delimited text as records: lines, joined where a quoted cell holds a line end."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

import msgspec

from reliable_imports.errors import SourceError
from reliable_imports.json_text import Problem
from reliable_imports.sources.content import Content
from reliable_imports.sources.lines import is_longer, split_lines

_NUL_STAND_IN = "\udc00"
"""For the csv module, which refuses NUL before Python 3.11; decoded text never holds a lone surrogate."""


class Record(msgspec.Struct, frozen=True):
    """One row, or what should be one.

    Attributes:
        raw: its bytes: all its lines, with their ends.
        problem: why `cells` is not what was meant.
        is_plain: no character in it has to be escaped in JSON; if not known, False.
    """

    cells: list[str]
    raw: bytes
    line: int
    offset: int
    problem: Problem | None
    is_plain: bool = False


def read_records(content: Content, *, delimiter: str, quotechar: str | None, limit: int) -> Iterator[Record]:
    """The records; empty lines are none.

    Raises:
        SourceError: a quoted cell is never closed, or a record holds more than *limit* bytes.
    """
    lines = split_lines(content, limit=limit, carriage_return_ends=True)
    quoted = _QuotedRecords(content, lines, delimiter, quotechar, limit) if quotechar is not None else None
    codec = content.encoding.codec
    line = 1
    offset = content.start
    for raw in lines:
        if len(raw) > limit and is_longer(raw, limit, content.encoding):
            raise SourceError(
                content.source, f"the row holds more than {limit} bytes, the limit of an item", line=line, offset=offset
            )
        try:
            text = raw.decode(codec)
            problem = None
        except UnicodeDecodeError:
            text, problem = _decoded(raw, codec)
        if quoted is not None and quotechar in text:  # type: ignore[operator]  # the two are None together
            record, lines_read = quoted.read(raw, text, problem, line, offset)
            yield record
            line += lines_read
            offset += len(record.raw)
        else:
            # Most lines have no quotes, and need no parser. The line end is the only one in the line.
            text = text.rstrip("\r\n")
            if text:
                is_plain = text.isprintable() and '"' not in text and "\\" not in text
                yield Record(text.split(delimiter), raw, line, offset, problem, is_plain)
            line += 1
            offset += len(raw)


class _QuotedRecords:
    """Reads a record from a line with a quote in it, and from as many lines after that as it takes."""

    def __init__(self, content: Content, lines: Iterator[bytes], delimiter: str, quotechar: str, limit: int) -> None:
        self._content = content
        self._lines = lines
        self._limit = limit
        self._place = (0, 0)
        self._raw = bytearray()  # not the lines: of a quote that is never closed there may be millions
        self._lines_read = 0
        self._has_nul = False
        self._to_read: deque[str] = deque()
        self._problem: Problem | None = None
        self._reader = csv.reader(self._feed(), delimiter=delimiter, quotechar=quotechar, strict=True)

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
