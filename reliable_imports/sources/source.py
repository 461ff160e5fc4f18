"""A file as items."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import islice

from reliable_imports.errors import SourceError, SourceUnavailable
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.findings import Findings
from reliable_imports.sources.limits import Growth
from reliable_imports.sources.options import Format, SourceOptions, format_of_name
from reliable_imports.sources.stored.archives import member_name
from reliable_imports.sources.stored.files import StoredFile, size_of
from reliable_imports.sources.stored.location import Location, locate, shown
from reliable_imports.sources.text.content import open_content
from reliable_imports.sources.text.encodings import find_encoding

_DEFAULTS = SourceOptions()


class Source:
    """The items of one file, in its order. Memory stays flat whatever its size; iterating again reads it again.

    Of a workbook, one sheet is in memory as a whole.

    A line that cannot be read while its neighbours can is an item with a problem. If that cannot be, or an item is over
    the limit, iterating raises SourceError. So it does at the end, if the file has been changed meanwhile.

    Attributes:
        name: the path or URL, as it was given, without passwords and signatures.
        options: how it is read.
        format: of the options, or by the file's name; of what is in an archive, known when that is read.
        findings: what the last reading has found out beside the items: the header, and what people should know.
        total_bytes: the size of the file, to which `bytes_read` grows; None if it is not known.
    """

    def __init__(self, location: Location, options: SourceOptions) -> None:
        self.name = shown(location)
        self.options = options
        self.findings = Findings()
        self.format = options.format_of(location)
        self._location = location
        find_encoding(self.name, options.encoding, b"")
        self.total_bytes = size_of(location)
        self._file = self._opened()
        self._head = b""
        self._limit: int | None = None

    def first(self, items: int) -> Source:
        """The same file, of which no more than so many items are read."""
        begun = Source(self._location, self.options)
        begun._limit = items
        return begun

    def __iter__(self) -> Iterator[SourceItem]:
        self._file = self._opened()
        self.findings = Findings()
        try:
            yield from self._items() if self._limit is None else islice(self._items(), self._limit)
        except SourceUnavailable:
            raise
        except SourceError:
            self._file.refuse_changed()
            raise

    def _items(self) -> Iterator[SourceItem]:
        # Each format's reader is imported by whoever reads such a file.
        options = self.options
        if self.format is None:
            self.format = self._format_of_member()
        match self.format:
            case "xlsx":
                from reliable_imports.sources.tables.workbook import read_workbook

                return read_workbook(self.name, self._file, options, self.findings)
            case "parquet":
                from reliable_imports.sources.tables.parquet import read_parquet

                return read_parquet(self.name, self._file, options, self.findings)
        content = open_content(self.name, self._file.blocks(), options.encoding, options.max_fields)
        self._head = content.head
        self.findings.codec = content.encoding.codec
        match self.format:
            case "csv" | "tsv":
                from reliable_imports.sources.text.delimited import read_delimited

                return read_delimited(content, options, self._delimiter(), self.findings)
            case "jsonl":
                from reliable_imports.sources.text.json_lines import read_json_lines

                return read_json_lines(content, limit=options.max_item_bytes)
            case "json":
                from reliable_imports.sources.text.json_document import read_json_document

                return read_json_document(content, options)

    def better_options(self, names: Collection[str]) -> str | None:
        """How else to read the file, in words, so that its header has one of *names*; None if that is not to be seen.

        Known when reading has begun; looks at the first lines only.
        """
        if self.format not in ("csv", "tsv") or self.findings.codec is None:
            return None
        from reliable_imports.sources.hints import better_options

        text = self._head.decode(self.findings.codec, "replace")
        delimiter = self.findings.delimiter or self._delimiter()
        return better_options(text, self.options, delimiter, names)

    def _delimiter(self) -> str:
        return self.options.delimiter or ("\t" if self.format == "tsv" else ",")

    def _format_of_member(self) -> Format:
        with self._opened().whole() as archive:
            name = member_name(self.name, archive)
        found = format_of_name(f"{self.name}, {name}", name)
        if found in (None, "xlsx", "parquet"):
            raise SourceError(self.name, f"{name} in the archive is not read from there; unpack it first")
        return found

    def _opened(self) -> StoredFile:
        options = self.options
        limits = Growth(self.name, options.max_items, options.max_content_bytes, options.max_ratio)
        return StoredFile(self._location, limits)

    def check_items(self, items: int) -> None:
        """Raise SourceError if so many items are over a limit, or far more than a file of this size should hold."""
        self._file.growth.check_items(items, self._file.bytes_read)

    def read_to_its_end(self) -> str | None:
        """The SHA-256 of the file as it is stored now, without making items of it; None if it cannot be read."""
        try:
            return self._opened().read_to_its_end()
        except SourceError:
            return None

    @property
    def sha256(self) -> str | None:
        """Of the file's bytes as they are stored, as hexadecimal digits; None until all items have been read."""
        return self._file.sha256

    @property
    def size(self) -> int | None:
        """The file's bytes as they are stored; None until all items have been read."""
        return self._file.bytes_read if self._file.sha256 else None

    @property
    def bytes_read(self) -> int:
        """How far into the stored file reading has come, for progress; ahead of the items by some blocks."""
        return self._file.bytes_read


def open_source(path: str | os.PathLike[str], options: SourceOptions = _DEFAULTS) -> Source:
    """The items of a file: CSV, TSV, JSON Lines or JSON, plain or compressed; an Excel workbook or Parquet.

    Args:
        path: of this machine, or a URL that fsspec can read, such as `s3://bucket/key.csv`. What that takes is
            fsspec's affair: its package for the kind of store, and credentials where that looks for them.

    Raises:
        SourceError: there is no such file, it cannot be read, or its format or encoding is unknown.
        SourceUnavailable: it is out of reach now, and may be read later.
    """
    return Source(locate(path), options)
