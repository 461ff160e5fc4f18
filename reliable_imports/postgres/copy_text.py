"""Rows in the text format of COPY (PostgreSQL manual, "COPY", section "Text Format")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

NULL = "\\N"


def escape(text: str) -> str:
    """One column's text. An end-of-data line `\\.` cannot arise: every backslash is doubled."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text or "\t" in text or "\r" in text:
        text = text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return text


def bytea(raw: bytes) -> str:
    return "\\\\x" + raw.hex()


def column(value: object) -> str:
    """A column of None, bool, int, text or bytes."""
    match value:
        case None:
            return NULL
        case bool():
            return "t" if value else "f"
        case str():
            return escape(value)
        case bytes():
            return bytea(value)
        case _:
            return str(value)


def line(*values: object) -> str:
    return "\t".join([column(value) for value in values]) + "\n"


class BlockReader:
    """A file object for `copy_expert` over generated text; holds one block of it at a time.

    psycopg2 swallows an exception of the generator into an error of its own, so it is kept in `error`.
    """

    def __init__(self, blocks: Iterable[str]) -> None:
        self._blocks: Iterator[str] = iter(blocks)
        self._rest = b""
        self.error: BaseException | None = None

    def read(self, size: int = 65536) -> bytes:
        """At most *size* bytes; none at the end."""
        try:
            rest = self._rest or next(self._blocks, "").encode()
        except BaseException as error:
            self.error = error
            raise
        self._rest = rest[size:]
        return rest[:size]
