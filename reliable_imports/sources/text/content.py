"""What a reader gets: a source's bytes after its byte order mark, and how to decode them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from reliable_imports.sources.limits import MAX_FIELDS
from reliable_imports.sources.text.encodings import Encoding, find_encoding

_LONGEST_MARK = 4


@dataclass(frozen=True, slots=True)
class Content:
    """
    Attributes:
        source: its name, for errors.
        head: some of its first bytes; all there is if it is short.
        start: the offset of the first byte of `blocks`, after a byte order mark.
        max_fields: of one item.
    """

    source: str
    blocks: Iterator[bytes]
    head: bytes
    encoding: Encoding
    start: int
    max_fields: int = MAX_FIELDS


def open_content(source: str, blocks: Iterator[bytes], encoding: str, max_fields: int = MAX_FIELDS) -> Content:
    """
    Raises:
        SourceError: the encoding is unknown, or the blocks cannot be read.
    """
    head = b""
    for block in blocks:
        head += block
        if len(head) >= _LONGEST_MARK:
            break
    found = find_encoding(source, encoding, head)
    start = found.mark_size(head)
    return Content(source, chain([head[start:]], blocks), head[start:], found, start, max_fields)
