"""A file as items."""

from __future__ import annotations

import os
from collections.abc import Iterator

from reliable_imports.source_item import SourceItem
from reliable_imports.sources.content import open_content
from reliable_imports.sources.delimited import read_delimited
from reliable_imports.sources.encodings import find_encoding
from reliable_imports.sources.files import StoredFile, size_of
from reliable_imports.sources.json_array import read_json_array
from reliable_imports.sources.json_lines import read_json_lines
from reliable_imports.sources.location import Location, locate, shown
from reliable_imports.sources.options import SourceOptions

_DEFAULTS = SourceOptions()


class Source:
    """The items of one file, in its order. Memory stays flat whatever its size; iterating again reads it again.

    A line that cannot be read while its neighbours can is an item with a problem. If that cannot be, or an item is over
    the limit, iterating raises SourceError.

    Attributes:
        name: the path or URL, as it was given, without passwords and signatures.
        options: how it is read.
        total_bytes: the size of the file, to which `bytes_read` grows; None if it is not known.
    """

    def __init__(self, location: Location, options: SourceOptions) -> None:
        self.name = shown(location)
        self.options = options
        self._location = location
        self._format = options.format_of(location)
        find_encoding(self.name, options.encoding, b"")
        self.total_bytes = size_of(location)
        self._file = StoredFile(location)

    def __iter__(self) -> Iterator[SourceItem]:
        self._file = StoredFile(self._location)
        content = open_content(self.name, self._file.blocks(), self.options.encoding)
        limit = self.options.max_item_bytes
        match self._format:
            case "csv" | "tsv":
                delimiter = self.options.delimiter or ("," if self._format == "csv" else "\t")
                return read_delimited(content, delimiter=delimiter, quotechar=self.options.quotechar, limit=limit)
            case "jsonl":
                return read_json_lines(content, limit=limit)
            case "json":
                return read_json_array(content, limit=limit)

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
    """The items of a file: CSV, TSV, JSON Lines or a JSON array, plain or gzip.

    Args:
        path: of this machine, or a URL that fsspec can read, such as `s3://bucket/key.csv`. What that takes is
            fsspec's affair: its package for the kind of store, and credentials where that looks for them.

    Raises:
        SourceError: there is no such file, it cannot be read, or its format or encoding is unknown.
        SourceUnavailable: it is out of reach now, and may be read later.
    """
    return Source(locate(path), options)
