"""How a file is to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reliable_imports.errors import ConfigurationError, SourceError
from reliable_imports.items.source_item import MAX_ITEM_BYTES
from reliable_imports.sources.limits import LARGEST_NUMBER, MAX_CONTENT_BYTES, MAX_FIELDS, MAX_ITEMS, MAX_RATIO
from reliable_imports.sources.stored.compression import ENDINGS
from reliable_imports.sources.stored.location import Location, file_name, shown
from reliable_imports.sources.stored.signs import foreign_name

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
FORMATS_OF_CELLS = frozenset({"csv", "tsv", "xlsx"})
"""In which a list or an object can only be written as a text."""
_LARGEST_LIMIT = 128 * 1024 * 1024
"""Escaped twice on its way, a byte can grow to 7, and PostgreSQL takes no value of a gigabyte."""

_POINTER = re.compile(r"(/([^/~]|~[01])*)*")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How files of one kind are read; the defaults suit most.

    Attributes:
        format: `csv`, `tsv`, `jsonl` (one JSON value a line), `json` (an array), `xlsx` or `parquet`; None takes it
            from the file's name.
        encoding: of the text; a byte order mark is no part of the data. `utf-16` and `utf-32` without one are
            little-endian.
        delimiter: between the cells of a row; None means a comma, in a `tsv` a tab.
            The line `sep=;` that spreadsheets write before the header is obeyed, whatever stands here.
        quotechar: what a cell may be put in, and is doubled within it; None where quotes are ordinary characters.
        escapechar: takes its meaning from the quote, delimiter, line end or escape character that follows it; None
            where it is an ordinary character.
        header: the names of the columns, for files whose first line is a row already. In a workbook the rows then
            begin at `header_row`.
        skip_lines: lines before the header, such as a report's title.
        footer: a regular expression for the beginning of the line that follows the rows, such as `Total|Created by`.
            It and the lines after it are no items. A row after it refuses the source, unless it fits too. In a
            workbook it is compared with the first value of a row, and all after that row is no item.
        short_rows: a row with fewer cells than the header has names is a failed item (`fail`), or an item without the
            fields that it lacks (`accept`).
        long_rows: a row with more cells is a failed item (`fail`), or the surplus ones are left out (`cut`); the
            batch's log says of how many rows.
        blank_rows: lines that are empty or hold delimiters only are no items (`skip`), or read as rows (`keep`). None
            skips them, but keeps the empty lines of a file of one column: each is an empty cell.
        bare_empty: what an empty cell without quotes is: `text`, the empty string, as a quoted one is; or `null`.
        stray_quotes: a quote within a cell that does not begin with one is a character (`keep`), or fails its row
            (`fail`).
        pointer: where in a `json` document the array of items stands (RFC 6901), such as `/data/rows`. None takes the
            document itself, or the one array of objects in it.
        member_name: of a `json` document, or what stands at *pointer*, that is an object whose members are the items,
            such as `{"DE": {...}, "FR": {...}}`: the field that gets each member's name. A member that is no object has
            its value in a field `value`.
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
    escapechar: str | None = None
    header: Sequence[str] | None = None
    skip_lines: int = 0
    footer: str | None = None
    short_rows: Literal["fail", "accept"] = "fail"
    long_rows: Literal["fail", "cut"] = "fail"
    blank_rows: Literal["skip", "keep"] | None = None
    bare_empty: Literal["text", "null"] = "text"
    stray_quotes: Literal["keep", "fail"] = "keep"
    pointer: str | None = None
    member_name: str | None = None
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
        self._check_characters()
        self._check_header()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = " or ".join(map(repr, choices))
                raise ConfigurationError(f"{name} must be {known}, not {getattr(self, name)!r}")
        if not isinstance(self.skip_lines, int) or self.skip_lines < 0:
            raise ConfigurationError(f"skip_lines must be a whole number from 0, not {self.skip_lines!r}")
        if self.footer is not None:
            try:
                re.compile(self.footer)
            except re.error as error:
                raise ConfigurationError(f"footer {self.footer!r} is no regular expression: {error}") from None
        if self.pointer and not _POINTER.fullmatch(self.pointer):
            raise ConfigurationError(f"pointer {self.pointer!r} is no JSON pointer; write it like '/data/rows'")
        if self.member_name is not None and (not self.member_name.strip() or "\0" in self.member_name):
            raise ConfigurationError(f"member_name {self.member_name!r} is no name of a field; write one like 'key'")
        if not 0 < self.max_item_bytes <= _LARGEST_LIMIT:
            raise ConfigurationError(f"max_item_bytes must be 1 to {_LARGEST_LIMIT}, not {self.max_item_bytes}")
        counted = {"max_items", "max_content_bytes", "max_ratio", "max_fields", "header_row"}
        if isinstance(self.sheet, int):
            counted.add("sheet")
        for name in sorted(counted):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be a whole number from 1, not {getattr(self, name)}")
        if self.max_items > LARGEST_NUMBER:
            raise ConfigurationError(f"max_items must be 1 to {LARGEST_NUMBER}, for that is how far items are numbered")

    def _check_characters(self) -> None:
        characters = {"delimiter": self.delimiter, "quotechar": self.quotechar, "escapechar": self.escapechar}
        taken: dict[str, str] = {}
        for name, character in characters.items():
            if character is None:
                continue
            if not isinstance(character, str) or len(character) != 1 or character in "\r\n\0":
                raise ConfigurationError(f"{name} must be one character and no line end, not {character!r}")
            if character in taken:
                raise ConfigurationError(
                    f"{taken[character]} and {name} are both {character!r}; give one of them another"
                )
            taken[character] = name

    def _check_header(self) -> None:
        if self.header is None:
            return
        if isinstance(self.header, str) or not all(isinstance(name, str) for name in self.header):
            raise ConfigurationError(f"header must be a list of column names, not {self.header!r}")
        names = tuple(self.header)
        if not names or len(set(names)) < len(names) or not all(name.strip() and "\0" not in name for name in names):
            raise ConfigurationError(f"header must name each column once, and none with nothing, not {self.header!r}")
        object.__setattr__(self, "header", names)

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


_CHOICES = {
    "short_rows": ("fail", "accept"),
    "long_rows": ("fail", "cut"),
    "blank_rows": (None, "skip", "keep"),
    "bare_empty": ("text", "null"),
    "stray_quotes": ("keep", "fail"),
}
