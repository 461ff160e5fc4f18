"""CSV and TSV: the first record names the columns, each one after it is an item, every value a string as it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from json.encoder import encode_basestring

from reliable_imports.errors import SourceError
from reliable_imports.json_text import Problem, server_can_read, shortened
from reliable_imports.source_item import SourceItem
from reliable_imports.sources.content import Content
from reliable_imports.sources.limits import too_many_fields
from reliable_imports.sources.lines import without_end
from reliable_imports.sources.records import Record, read_records


def read_delimited(content: Content, *, delimiter: str, quotechar: str | None, limit: int) -> Iterator[SourceItem]:
    """The rows as JSON objects, with the header's names in the header's order.

    Raises:
        SourceError: no header, or a name twice in it; a quoted cell without an end; a row of more than *limit* bytes.
    """
    records = read_records(content, delimiter=delimiter, quotechar=quotechar, limit=limit)
    header = _header(content, next(records, None))
    width = len(header)
    names = [encode_basestring(name) for name in header]
    pieces = _pieces(names, "")
    plain_pieces = _pieces(names, '"')
    for record in records:
        cells = record.cells
        problem = record.problem
        if problem is None:
            if len(cells) != width:
                cell_count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
                problem = Problem("ragged-row", f"the row has {cell_count}, the header {width}")
            elif cells == header:
                problem = Problem("repeated-header", "the row repeats the header")
            elif record.is_plain:
                plain_pieces[1::2] = cells
                yield SourceItem("".join(plain_pieces), None, None, record.line, record.offset)
                continue
            else:
                pieces[1::2] = map(encode_basestring, cells)
                text = "".join(pieces)
                # Decoded text holds no lone surrogates, so NUL is all that the server could refuse.
                if "\\u0000" not in text or server_can_read(text):
                    yield SourceItem(text, None, None, record.line, record.offset)
                else:
                    yield SourceItem(None, text.encode(), None, record.line, record.offset)
                continue
        if len(cells) != width and _holds_whole_row(record.raw, content.encoding.codec, width, delimiter, quotechar):
            raise SourceError(
                content.source,
                "a quoted cell of the row is not closed: it goes on over lines that are rows of their own",
                line=record.line,
                offset=record.offset,
            )
        raw = without_end(record.raw, content.encoding)
        yield SourceItem(None, raw, problem.text, record.line, record.offset, problem.kind)


def _pieces(names: list[str], quote: str) -> list[str]:
    """A JSON object in pieces, of which every second one is a value's place."""
    before = [f"{',' if place else '{'}{name}:{quote}" for place, name in enumerate(names)]
    before = [f"{quote if place else ''}{piece}" for place, piece in enumerate(before)]
    return [piece for each in before for piece in (each, "")] + [f"{quote}}}"]


def _header(content: Content, record: Record | None) -> list[str]:
    problem = _header_problem(content, record)
    if problem is not None or record is None:
        raise SourceError(content.source, problem or "", line=1, offset=content.start)
    return record.cells


def _header_problem(content: Content, record: Record | None) -> str | None:
    if not content.head:
        return "the file is empty: no header line"
    if record is None or record.line != 1:
        return "the first line is empty; it must name the columns"
    if any("\0" in name for name in record.cells):
        return "this looks binary: a NUL byte in the first line; if it is UTF-16, declare the encoding"
    if record.problem is not None and record.problem.kind == "bad-encoding":
        return f"this looks binary: the header is no {content.encoding.codec}; is it another encoding?"
    if record.problem is not None:
        return f"the header cannot be read: {record.problem.text}"
    if not any(record.cells):
        return "the header names no columns"
    if len(record.cells) > content.max_fields:
        return f"the header names {len(record.cells):,} columns, {too_many_fields(content.max_fields)}"
    repeated = sorted(name for name, times in Counter(record.cells).items() if times > 1)
    return f"the header names a column twice: {', '.join(map(shortened, repeated[:5]))}" if repeated else None


def _holds_whole_row(raw: bytes, codec: str, width: int, delimiter: str, quotechar: str | None) -> bool:
    """Whether a line after the first reads as a row by itself: the sign of a quote that was never closed."""
    lines = (match.group() for match in re.finditer(r"[^\r\n]+", raw.decode(codec, "replace")))  # millions, perhaps
    next(lines, None)
    return width > 1 and any(line.count(delimiter) == width - 1 and str(quotechar) not in line for line in lines)
