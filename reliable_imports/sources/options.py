"""How a file is to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reliable_imports.errors import ConfigurationError, SourceError
from reliable_imports.source_item import MAX_ITEM_BYTES
from reliable_imports.sources.location import Location, file_name, shown

Format = Literal["csv", "tsv", "jsonl", "json"]

_FORMATS: dict[str, Format] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"}
_LARGEST_LIMIT = 128 * 1024 * 1024
"""Escaped twice on its way, a byte can grow to 7, and PostgreSQL takes no value of a gigabyte."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How files of one kind are read; the defaults suit most.

    Attributes:
        format: `csv`, `tsv`, `jsonl` (one JSON value a line) or `json` (one array); None takes it from the file's name.
        encoding: of the text; a byte order mark is no part of the data. `utf-16` and `utf-32` without one are
            little-endian.
        delimiter: between the cells of a row; None means a comma, in a `tsv` a tab.
        quotechar: what a cell may be put in, and is doubled within it; None where quotes are ordinary characters.
        max_item_bytes: a larger item refuses the whole source; at most 128 MiB.
    """

    format: Format | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    quotechar: str | None = '"'
    max_item_bytes: int = MAX_ITEM_BYTES

    def __post_init__(self) -> None:
        if self.format not in (None, *_FORMATS.values()):
            raise ConfigurationError(f"unknown source format {self.format!r}; known: csv, tsv, jsonl, json")
        for name, character in (("delimiter", self.delimiter), ("quotechar", self.quotechar)):
            if character is not None and (len(character) != 1 or character in "\r\n\0"):
                raise ConfigurationError(f"{name} must be one character and no line end, not {character!r}")
        if self.quotechar is not None and self.quotechar == self.delimiter:
            raise ConfigurationError(f"delimiter and quotechar are both {self.delimiter!r}; give one of them another")
        if not 0 < self.max_item_bytes <= _LARGEST_LIMIT:
            raise ConfigurationError(f"max_item_bytes must be 1 to {_LARGEST_LIMIT}, not {self.max_item_bytes}")

    def format_of(self, location: Location) -> Format:
        """The format of a file.

        Raises:
            SourceError: the options do not say it, and neither does the file's name.
        """
        if self.format is not None:
            return self.format
        name = file_name(location).lower().removesuffix(".gz")
        for ending, known in _FORMATS.items():
            if name.endswith(ending):
                return known
        endings = ", ".join(_FORMATS)
        raise SourceError(
            shown(location),
            f"the name does not say the format; name it {endings} (.gz may follow), or set SourceOptions.format",
        )
