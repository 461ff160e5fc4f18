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


class LineReader:
    """A file object for `copy_expert` over generated lines; holds about one buffer of them at a time.

    psycopg2 swallows an exception of the generator into an error of its own, so it is kept in `error`.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines: Iterator[str] = iter(lines)
        self._rest = b""
        self.error: BaseException | None = None

    def read(self, size: int = 65536) -> bytes:
        try:
            return self._read(size)
        except BaseException as error:
            self.error = error
            raise

    def _read(self, size: int) -> bytes:
        pending: list[str] = []
        length = len(self._rest)
        if length < size:
            for text in self._lines:
                pending.append(text)
                length += len(text)
                if length >= size:
                    break
        block = self._rest + "".join(pending).encode()
        self._rest = block[size:]
        return block[:size]
