"""Bytes cut into lines, in every encoding that `find_encoding` knows; nothing is added and nothing lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from reliable_imports.sources.text.content import Content
from reliable_imports.sources.text.encodings import Encoding


def split_lines(content: Content, *, limit: int, carriage_return_ends: bool) -> Iterator[bytes]:
    """The lines, with their ends; together they are exactly the content.

    Memory is bounded by *limit*: of a line with more bytes than that, only a first part is yielded, itself of more than
    *limit* bytes, for the caller to refuse.

    Args:
        carriage_return_ends: lines end with LF, CRLF or CR; else with LF alone.
    """
    split = _splitter(content.encoding, carriage_return_ends)
    waiting: list[bytes] = []
    size = 0
    for block in content.blocks:
        if waiting and not _may_end(waiting[-1], block):
            # A long line is put together once, and not searched again with every block.
            waiting.append(block)
            size += len(block)
        else:
            *found, rest = split(b"".join([*waiting, block]))
            yield from found
            waiting = [rest] if rest else []
            size = len(rest)
        # Counted without a line end, of which a part may be there.
        if size > limit + 2 * content.encoding.unit:
            break
    if waiting:
        yield b"".join(waiting)


def _may_end(before: bytes, block: bytes) -> bool:
    """Whether a line may end in *block*, or has ended with *before*, in any encoding."""
    return b"\n" in block or b"\r" in block or b"\r" in before[-4:]


def without_end(line: bytes, encoding: Encoding) -> bytes:
    """*line* without the LF, CRLF or CR that ends it."""
    for end in _ends(encoding):
        if line.endswith(end) and len(line) % encoding.unit == 0:
            line = line[: -len(end)]
    return line


def is_longer(line: bytes, limit: int, encoding: Encoding) -> bool:
    """Whether *line* holds more than *limit* bytes, its end not counted."""
    return len(without_end(line, encoding)) > limit


def _ends(encoding: Encoding) -> tuple[bytes, bytes]:
    return "\n".encode(encoding.codec), "\r".encode(encoding.codec)


def _splitter(encoding: Encoding, carriage_return_ends: bool) -> Callable[[bytes], list[bytes]]:
    """A function that gives the whole lines of some bytes, and then what follows the last of them, perhaps nothing.

    A CR at the very end begins no line yet: a LF may follow.
    """
    if encoding.unit == 1:
        return _split_at_any_end if carriage_return_ends else _split_at_line_feeds
    line_feed, carriage_return = map(re.escape, _ends(encoding))
    another = b"(?=" + b"." * encoding.unit + b")"
    ends = [carriage_return + line_feed, line_feed, carriage_return + another] if carriage_return_ends else [line_feed]
    end = re.compile(b"|".join(ends), re.DOTALL)

    def split(data: bytes) -> list[bytes]:
        found = []
        position = 0
        for match in end.finditer(data):
            # Bytes of two neighbouring characters can look like a line end, but never overlap a real one.
            if match.start() % encoding.unit == 0:
                found.append(data[position : match.end()])
                position = match.end()
        return [*found, data[position:]]

    return split


def _split_at_any_end(data: bytes) -> list[bytes]:
    found = data.splitlines(keepends=True)
    if not found or found[-1].endswith(b"\n"):
        found.append(b"")
    return found


def _split_at_line_feeds(data: bytes) -> list[bytes]:
    *found, rest = data.split(b"\n")
    return [*[line + b"\n" for line in found], rest]
