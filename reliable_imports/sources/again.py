"""Reading the kept bytes of one row again, with options that may have changed since its file was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reliable_imports.errors import SourceError
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.findings import Findings
from reliable_imports.sources.options import SourceOptions
from reliable_imports.sources.source import Source
from reliable_imports.sources.text.encodings import find_encoding

if TYPE_CHECKING:
    from reliable_imports.sources.text.content import Content


def reading_of(source: Source) -> dict[str, Any] | None:
    """What has to be kept with a batch, as JSON; None if nothing has to.

    It is the format, where texts are cells, and all that rows are read again by.
    """
    found = source.findings
    if source.format == "xlsx":
        return {"format": source.format}
    if source.format not in ("csv", "tsv", "jsonl") or found.codec is None:
        return None
    return {
        "format": source.format,
        "declared_encoding": source.options.encoding,
        "encoding": found.codec,
        "header": found.header,
        "said_delimiter": found.delimiter,
    }


def read_again(raw: bytes, reading: Mapping[str, Any], options: SourceOptions) -> SourceItem | None:
    """The item that *raw* is under *options*, perhaps with another problem; None if it is no single row even so.

    Args:
        raw: the bytes of a row that could not be read.
        reading: what `reading_of` gave when its file was read.
    """
    from reliable_imports.sources.text.content import Content

    try:
        # The byte order mark that told one encoding from another stood at the beginning of the file.
        is_same = options.encoding == reading["declared_encoding"]
        encoding = find_encoding("a row", reading["encoding"] if is_same else options.encoding, raw[:4])
        content = Content("a row", iter([raw]), raw, encoding, 0)
        first, *others = _items(content, reading, options)
    except (SourceError, ValueError):
        return None
    return None if others else first


def _items(content: Content, reading: Mapping[str, Any], options: SourceOptions) -> Iterator[SourceItem]:
    if reading["format"] == "jsonl":
        from reliable_imports.sources.text.json_lines import read_json_lines

        yield from read_json_lines(content, limit=options.max_item_bytes)
        return
    from reliable_imports.sources.text.delimited import read_rows
    from reliable_imports.sources.text.records import Records

    options = replace(options, header=None, skip_lines=0, footer=None)
    delimiter = reading["said_delimiter"] or options.delimiter or ("\t" if reading["format"] == "tsv" else ",")
    records = Records(content, options, delimiter)
    yield from read_rows(content, records, iter(records), reading["header"], options, Findings())
