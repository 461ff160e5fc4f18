"""What of a text's encoding matters before it is decoded: where its lines end, and where its data begins."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from reliable_imports.errors import SourceError

_ASCII = bytes(range(128))
_MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding whose lines can be told apart in bytes.

    Attributes:
        codec: Python's name of it, byte order included.
        unit: bytes of its smallest piece: 2 in UTF-16, 4 in UTF-32, else 1.
        mark: the byte order mark that the data may begin with.
    """

    codec: str
    unit: int
    mark: bytes

    def mark_size(self, head: bytes) -> int:
        return len(self.mark) if self.mark and head.startswith(self.mark) else 0


def find_encoding(source: str, name: str, head: bytes) -> Encoding:
    """The encoding that a user calls *name*; *head* (the first 4 bytes or more) tells the byte order.

    Raises:
        SourceError: nobody knows it, or it is none that a source can have.
    """
    try:
        codec = codecs.lookup(name).name.removesuffix("-sig")
        if codec in ("utf-16", "utf-32"):
            codec += "-be" if head.startswith(_MARKS[f"{codec}-be"]) else "-le"
        is_readable = codec in _MARKS or _has_ascii(codec)
    except (LookupError, ValueError):
        raise SourceError(source, f"unknown encoding {name!r}; some known: utf-8, utf-16, cp1252, latin-1") from None
    if not is_readable:
        raise SourceError(source, f"files in {codec} cannot be read; convert it to utf-8 first")
    unit = 2 if codec.startswith("utf-16") else 4 if codec.startswith("utf-32") else 1
    return Encoding(codec, unit, _MARKS.get(codec, b""))


def _has_ascii(codec: str) -> bool:
    """Else a byte that looks like a line end could be part of something else, as in UTF-7, EBCDIC or with escapes."""
    try:
        return "escape" not in codec and _ASCII.decode(codec) == _ASCII.decode("ascii")
    except UnicodeError:
        return False


def looks_binary(text: bytes, encoding: Encoding) -> bool:
    """Whether *text* has what text has not: NUL bytes, or many control characters."""
    if encoding.unit > 1:
        return False
    controls = len(text) - len(text.translate(None, _CONTROLS))
    return b"\0" in text or controls * 20 > len(text)


_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\f\r\x1b")
