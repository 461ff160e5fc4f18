"""How a file is to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reliable_imports.errors import ConfigurationError, SourceError
from reliable_imports.source_item import MAX_ITEM_BYTES
from reliable_imports.sources.compression import ENDINGS
from reliable_imports.sources.limits import MAX_CONTENT_BYTES, MAX_FIELDS, MAX_ITEMS, MAX_RATIO
from reliable_imports.sources.location import Location, file_name, shown
from reliable_imports.sources.signs import foreign_name

Format = Literal["csv", "tsv", "jsonl", "json", "xlsx", "parquet"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
}
_LARGEST_LIMIT = 128 * 1024 * 1024
"""Escaped twice on its way, a byte can grow to 7, and PostgreSQL takes no value of a gigabyte."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How files of one kind are read; the defaults suit most.

    Attributes:
        format: `csv`, `tsv`, `jsonl` (one JSON value a line), `json` (one array), `xlsx` or `parquet`; None takes it
            from the file's name.
        encoding: of the text; a byte order mark is no part of the data. `utf-16` and `utf-32` without one are
            little-endian.
        delimiter: between the cells of a row; None means a comma, in a `tsv` a tab.
        quotechar: what a cell may be put in, and is doubled within it; None where quotes are ordinary characters.
        sheet: of a workbook, by its name or, from 1, by its place; None means the first, and a warning of the batch
            names the others.
        header_row: of a workbook's sheet, the row that names the columns, as the sheet numbers it; those before it are
            no items.
        max_item_bytes: a larger item refuses the whole source; at most 128 MiB. So do more items, bytes or fields than
            the following, which no honest import meets.
        max_items: of a batch, whatever its items come from.
        max_content_bytes: of a compressed file, when it is decompressed.
        max_ratio: how many times its own size a file may become when it is decompressed, where each item counts as 64
            bytes more; a content of 16 MiB may come from any.
        max_fields: of one item.
    """

    format: Format | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    quotechar: str | None = '"'
    sheet: str | int | None = None
    header_row: int = 1
    max_item_bytes: int = MAX_ITEM_BYTES
    max_items: int = MAX_ITEMS
    max_content_bytes: int = MAX_CONTENT_BYTES
    max_ratio: int = MAX_RATIO
    max_fields: int = MAX_FIELDS

    def __post_init__(self) -> None:
        if self.format not in (None, *_FORMATS.values()):
            raise ConfigurationError(
                f"unknown source format {self.format!r}; known: {', '.join(dict.fromkeys(_FORMATS.values()))}"
            )
        for name, character in (("delimiter", self.delimiter), ("quotechar", self.quotechar)):
            if character is not None and (len(character) != 1 or character in "\r\n\0"):
                raise ConfigurationError(f"{name} must be one character and no line end, not {character!r}")
        if self.quotechar is not None and self.quotechar == self.delimiter:
            raise ConfigurationError(f"delimiter and quotechar are both {self.delimiter!r}; give one of them another")
        if not 0 < self.max_item_bytes <= _LARGEST_LIMIT:
            raise ConfigurationError(f"max_item_bytes must be 1 to {_LARGEST_LIMIT}, not {self.max_item_bytes}")
        counted = {"max_items", "max_content_bytes", "max_ratio", "max_fields", "header_row"}
        if isinstance(self.sheet, int):
            counted.add("sheet")
        for name in sorted(counted):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be a whole number from 1, not {getattr(self, name)}")

    def format_of(self, location: Location) -> Format | None:
        """The format of a file; None if it is what the file in an archive says.

        Raises:
            SourceError: the options do not say it, and neither does the file's name.
        """
        if self.format is not None:
            return self.format
        return format_of_name(shown(location), file_name(location))


def format_of_name(source: str, name: str) -> Format | None:
    """See `SourceOptions.format_of`."""
    name = name.lower()
    compressed = next((ending for ending in ENDINGS if name.endswith(ending)), "")
    plain = name.removesuffix(compressed)
    known = next((known for ending, known in _FORMATS.items() if plain.endswith(ending)), None)
    if known in ("xlsx", "parquet") and compressed:
        raise SourceError(source, f"a compressed {known} file is not read; unpack it first")
    if known is None and compressed != ".zip":
        texts = ", ".join(_FORMATS)
        raise SourceError(
            source,
            foreign_name(plain)
            or f"the name does not say the format; name it {texts}, or set SourceOptions.format; of text, "
            f"{', '.join(ENDINGS)} may follow",
        )
    return known
