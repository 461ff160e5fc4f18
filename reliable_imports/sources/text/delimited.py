"""CSV and TSV: the first record names the columns, each one after it is an item, every value a string as it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from json.encoder import encode_basestring
from typing import cast

from msgspec.structs import replace

from reliable_imports.errors import SourceError
from reliable_imports.items.json_check import Problem, server_can_read, shortened
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.findings import Findings
from reliable_imports.sources.limits import too_many_fields
from reliable_imports.sources.options import SourceOptions
from reliable_imports.sources.text.content import Content
from reliable_imports.sources.text.lines import without_end
from reliable_imports.sources.text.quotes import QuotedCells
from reliable_imports.sources.text.records import Record, Records


def read_delimited(
    content: Content, options: SourceOptions, delimiter: str, findings: Findings
) -> Iterator[SourceItem]:
    """The rows as JSON objects, with the header's names in the header's order. The header is read at once.

    Args:
        delimiter: what the cells are delimited by, unless the file says it in its first line.

    Raises:
        SourceError: no header, or a name twice in it; a quoted cell without an end; a row over the limit of an item; a
            row after the footer.
    """
    records = Records(content, options, delimiter)
    rows: Iterator[Record] = iter(records)
    header = options.header or _header(content, next(rows, None), records)
    findings.delimiter = records.said_delimiter
    return read_rows(content, records, rows, header, options, findings)


def read_rows(
    content: Content,
    records: Records,
    rows: Iterator[Record],
    header: Sequence[str],
    options: SourceOptions,
    findings: Findings,
) -> Iterator[SourceItem]:
    """The *rows* of *records* as JSON objects, with the names of *header*."""
    nameless = _nameless(header)
    names = [name for place, name in enumerate(header) if place not in nameless]
    records.width = len(header)
    findings.header, findings.columns = tuple(header), tuple(names)
    if options.footer is not None:
        rows = _above_footer(rows, content, len(header), options.footer, findings)
    if options.stray_quotes == "fail" or options.bare_empty == "null":
        cells = QuotedCells(records.delimiter, options)
        rows = _with_quotes_judged(rows, content.encoding.codec, cells, options)
    if nameless:
        rows = _without_nameless(rows, len(header), nameless)
    return _items(content, records, rows, names, len(header), options, findings)


def _items(
    content: Content,
    records: Records,
    rows: Iterable[Record],
    names: list[str],
    row_width: int,
    options: SourceOptions,
    findings: Findings,
) -> Iterator[SourceItem]:
    width = len(names)
    keys = [encode_basestring(name) for name in names]
    pieces = _pieces(keys, "")
    plain_pieces = _pieces(keys, '"')
    # Most files hold no nulls, and their rows need no test for them.
    encode = encode_basestring if options.bare_empty == "text" else _encode_or_null
    for record in rows:
        cells: list[str] = record.cells  # type: ignore[assignment]  # None only if _encode_or_null is to see them
        problem = record.problem
        if problem is None:
            if len(cells) != width:
                problem = _ragged(len(cells), width)
            elif cells == names:
                problem = Problem("repeated-header", "the row repeats the header")
            elif record.is_plain:
                plain_pieces[1::2] = cells
                yield SourceItem("".join(plain_pieces), None, None, record.line, record.offset)
                continue
            else:
                pieces[1::2] = map(encode, cells)
                yield _item("".join(pieces), record)
                continue
        if len(cells) != width and _holds_whole_row(
            record.raw, content.encoding.codec, row_width, records.delimiter, options.quotechar
        ):
            raise SourceError(
                content.source,
                "a quoted cell of the row is not closed: it goes on over lines that are rows of their own",
                line=record.line,
                offset=record.offset,
            )
        if problem.kind == "short-row" and options.short_rows == "accept":
            members = [f"{key}:{encode(cell)}" for key, cell in zip(keys, cells, strict=False)]
            yield _item(f"{{{','.join(members)}}}", record)
        elif problem.kind == "long-row" and options.long_rows == "cut":
            findings.leave_out("rows with cells cut off")
            pieces[1::2] = map(encode, cells[:width])
            yield _item("".join(pieces), record)
        else:
            raw = without_end(record.raw, content.encoding)
            yield SourceItem(None, raw, problem.text, record.line, record.offset, problem.kind)


def _item(text: str, record: Record) -> SourceItem:
    # Decoded text holds no lone surrogates, so NUL is all that the server could refuse.
    if "\\u0000" not in text or server_can_read(text):
        return SourceItem(text, None, None, record.line, record.offset)
    return SourceItem(None, text.encode(), None, record.line, record.offset)


def _encode_or_null(cell: str | None) -> str:
    return "null" if cell is None else encode_basestring(cell)


def _ragged(cells: int, width: int) -> Problem:
    count = "1 cell" if cells == 1 else f"{cells} cells"
    return Problem("short-row" if cells < width else "long-row", f"the row has {count}, the header {width}")


def _pieces(names: list[str], quote: str) -> list[str]:
    """A JSON object in pieces, of which every second one is a value's place."""
    before = [f"{',' if place else '{'}{name}:{quote}" for place, name in enumerate(names)]
    before = [f"{quote if place else ''}{piece}" for place, piece in enumerate(before)]
    return [piece for each in before for piece in (each, "")] + [f"{quote}}}"]


def _header(content: Content, record: Record | None, records: Records) -> list[str]:
    line, offset = records.first_place
    problem = _header_problem(content, record, line)
    if problem is not None or record is None:
        raise SourceError(content.source, problem or "", line=line, offset=offset)
    return cast("list[str]", record.cells)


def _header_problem(content: Content, record: Record | None, line: int) -> str | None:
    if not content.head:
        return "the file is empty: no header line"
    if record is None or record.line != line:
        hint = (
            ""
            if record is None
            else f"; if line {record.line} is the header, set SourceOptions(skip_lines={record.line - 1})"
        )
        return f"the {'first ' if line == 1 else ''}line is empty: it names no columns{hint}"
    if any("\0" in str(name) for name in record.cells):
        return "this looks binary: a NUL byte in the first line; if it is UTF-16, declare the encoding"
    if record.problem is not None and record.problem.kind == "bad-encoding":
        return f"this looks binary: the header is no {content.encoding.codec}; is it another encoding?"
    if record.problem is not None:
        return f"the header cannot be read: {record.problem.text}"
    if not any(str(name).strip() for name in record.cells):
        return "the header names no columns"
    if len(record.cells) > content.max_fields:
        return f"the header names {len(record.cells):,} columns, {too_many_fields(content.max_fields)}"
    named = [str(name) for name in record.cells if str(name).strip()]
    repeated = sorted(name for name, times in Counter(named).items() if times > 1)
    return f"the header names a column twice: {', '.join(map(shortened, repeated[:5]))}" if repeated else None


def _nameless(header: Sequence[str]) -> frozenset[int]:
    """The columns that spreadsheets leave without a name. One alone that is not the last is a name: the empty one."""
    blank = [place for place, name in enumerate(header) if not name.strip()]
    return frozenset(blank) if len(blank) > 1 or blank == [len(header) - 1] else frozenset()


def _without_nameless(rows: Iterable[Record], width: int, nameless: frozenset[int]) -> Iterator[Record]:
    """The rows without the cells of columns that have no name; a value in one of them is a problem."""
    named = [place for place in range(width) if place not in nameless]
    least = named[-1] + 1
    for row in rows:
        cells = cast("list[str]", row.cells)
        if row.problem is not None:
            yield row
        elif not least <= len(cells) <= width:
            problem = _ragged(len(cells), width)
            kept = [cells[place] for place in named if place < len(cells)] + cells[width:]
            yield replace(row, cells=kept, problem=problem)
        elif filled := [place for place in nameless if place < len(cells) and cells[place]]:
            problem = Problem("nameless-cell", f"the row has a value in column {min(filled) + 1}, which has no name")
            yield replace(row, problem=problem)
        else:
            yield replace(row, cells=[cells[place] for place in named])


def _above_footer(
    rows: Iterable[Record], content: Content, width: int, pattern: str, findings: Findings
) -> Iterator[Record]:
    fits = re.compile(pattern).match
    begins: int | None = None
    for row in rows:
        if fits(row.raw.decode(content.encoding.codec, "replace")):
            begins = begins or row.line
            findings.leave_out("footer lines")
        elif begins is None:
            yield row
        elif len(row.cells) == width:
            raise SourceError(
                content.source,
                f"a row follows the footer, which begins in line {begins}",
                line=row.line,
                offset=row.offset,
            )
        else:
            findings.leave_out("footer lines")
    if begins is None:
        findings.warnings.append("no line fits the pattern of the footer; the file may be cut short")


def _with_quotes_judged(
    rows: Iterable[Record], codec: str, quoted: QuotedCells, options: SourceOptions
) -> Iterator[Record]:
    """The rows with None for empty cells without quotes, or with a problem where a quote is out of place."""
    for row in rows:
        if row.problem is not None:
            yield row
            continue
        cells, has_stray_quote = quoted.judge(row.raw.decode(codec), cast("list[str]", row.cells))
        if has_stray_quote and options.stray_quotes == "fail":
            yield replace(row, problem=Problem("bad-quoting", "a quote stands within a cell that is not in quotes"))
        elif options.bare_empty == "null":
            yield replace(row, cells=cells, is_plain=row.is_plain and None not in cells)
        else:
            yield row


def _holds_whole_row(raw: bytes, codec: str, width: int, delimiter: str, quotechar: str | None) -> bool:
    """Whether a line after the first reads as a row by itself: the sign of a quote that was never closed."""
    lines = (match.group() for match in re.finditer(r"[^\r\n]+", raw.decode(codec, "replace")))  # millions, perhaps
    next(lines, None)
    return width > 1 and any(line.count(delimiter) == width - 1 and str(quotechar) not in line for line in lines)
