"""A text file looked at before it is read: its encoding, its first lines and its last."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass

_HEAD = 1024 * 1024
_TAIL = 64 * 1024
_ODD = 128 * 1024
"""Bytes of lines that are no ASCII: what an encoding is told by."""
MAX_READ = 100 * 1024 * 1024
"""Bytes of a content that are looked at; a larger one is judged by so many."""
_ENCODINGS = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "koi8_r", "shift_jis", "cp932", "euc_jp", "gb18030",
    "big5", "euc_kr", "cp437", "cp850", "cp866", "mac_roman",
)  # fmt: skip
_LETTERS_OF_CP1252 = "\u0152\u0153\u0160\u0161\u0178\u017d\u017e"
_SIGNS_OF_CP1252 = "\u20ac\u201e\u201c\u201d\u2018\u2019\u201a\u2013\u2014\u2026\u2022\u2122\xa0"
_WESTERN = frozenset([*map(chr, range(0xA1, 0x100)), *_LETTERS_OF_CP1252, *_SIGNS_OF_CP1252])
"""What texts of western Europe have beside ASCII."""
_LETTERS = 0.97


@dataclass(frozen=True, slots=True)
class Glimpse:
    """
    Attributes:
        encoding: as `SourceOptions.encoding` takes it.
        head: the beginning of the text; whole lines, unless the first one is very long.
        tail: its end, from the beginning of a line on; the text itself if that is short.
        is_whole: all of the file was looked at.
    """

    encoding: str
    head: str
    tail: str
    is_whole: bool


def glimpse(blocks: Iterable[bytes]) -> Glimpse:
    """Look at a content, in blocks from its first byte on."""
    head, tail, odd = b"", b"", b""
    size, is_whole = 0, True
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8 = True
    for block in blocks:
        if is_utf8:
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                is_utf8 = False
        if len(head) < _HEAD:
            head += block
        if len(odd) < _ODD and not block.isascii():
            odd += b"\n".join(line for line in block.splitlines() if not line.isascii())[:_ODD]
        tail = (tail + block)[-_TAIL:]
        size += len(block)
        if size >= MAX_READ:
            is_whole = False
            break
    encoding = _encoding(head, odd, is_utf8=is_utf8)
    text = head[:_HEAD].decode(encoding, "replace").removeprefix("\ufeff")
    if len(head) > _HEAD:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    unit = 4 if "32" in encoding else 2 if "16" in encoding else 1
    codec = f"{encoding}-{'be' if head.startswith(codecs.BOM_UTF16_BE) else 'le'}" if encoding == "utf-16" else encoding
    end = tail[len(tail) % unit :].decode(codec, "replace").removeprefix("\ufeff")
    if size > len(tail):
        end = end.partition("\n")[2]
    return Glimpse(encoding, text, end, is_whole)


def _encoding(head: bytes, odd: bytes, *, is_utf8: bool) -> str:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = head[:4096]
    if len(sample) > 3 and sample[1::2].count(0) > len(sample) // 3:
        return "utf-16-le"
    if len(sample) > 3 and sample[::2].count(0) > len(sample) // 3:
        return "utf-16-be"
    if is_utf8:
        return "utf-8"
    if _is_mostly_utf8(odd):
        return "utf-8"
    if _is_western(odd):
        return "cp1252"
    from charset_normalizer import from_bytes

    found = from_bytes(odd, cp_isolation=list(_ENCODINGS), enable_fallback=False).best()
    if found is not None:
        return found.encoding.replace("_", "-") if found.encoding.startswith("utf") else found.encoding
    try:
        odd.decode("cp1252")
        return "cp1252"
    except UnicodeDecodeError:
        return "latin-1"


def _is_mostly_utf8(odd: bytes) -> bool:
    """Whether most lines that are no ASCII are UTF-8, which no text of another encoding is by chance; a byte of the
    others is broken, and their rows will fail."""
    lines = odd.splitlines()
    valid = 0
    for line in lines:
        try:
            line.decode("utf-8")
            valid += 1
        except UnicodeDecodeError:
            pass
    return 2 * valid >= len(lines)


def _is_western(odd: bytes) -> bool:
    """Whether read as cp1252 it has the letters and signs of western Europe and hardly another, most within words."""
    try:
        text = odd.decode("cp1252")
    except UnicodeDecodeError:
        return False
    strange = [place for place, character in enumerate(text) if character > "\x7f"]
    western = sum(text[place] in _WESTERN for place in strange)
    if western < _LETTERS * len(strange):
        return False
    # In texts of other alphabets such characters stand side by side.
    lonely = sum(
        not (place and text[place - 1] > "\x7f" and text[place - 1].isalpha())
        for place in strange
        if text[place].isalpha()
    )
    letters = sum(text[place].isalpha() for place in strange)
    return lonely >= 0.8 * letters
