"""A file's bytes as they are stored, and as they are meant: gzip is found by its first bytes and taken off."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from reliable_imports.errors import SourceError
from reliable_imports.sources.location import Location, open_location, shown, unreadable

_BLOCK = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


def size_of(location: Location) -> int | None:
    """The size of a file that can be read; None if that is known only when it has been.

    Raises SourceError: there is no such file, or it cannot be read.
    """
    file, size = open_location(location)
    file.close()
    return size


class StoredFile:
    """One reading of a file, from its first byte to its last.

    Attributes:
        bytes_read: bytes of the stored file read so far.
        sha256: of the stored bytes, as hexadecimal digits; None until the last has been read.
    """

    def __init__(self, location: Location) -> None:
        self.bytes_read = 0
        self.sha256: str | None = None
        self._location = location
        self._hash = hashlib.sha256()

    def blocks(self) -> Iterator[bytes]:
        """The content in blocks of some size, none of them empty.

        Raises:
            SourceError: it cannot be read, or its gzip data is damaged or cut short.
        """
        file, _ = open_location(self._location)
        with file:
            stored = self._stored_blocks(file)
            head = next(stored, b"")
            if head.startswith(_GZIP_MAGIC):
                yield from self._decompressed(head, stored)
            else:
                if head:
                    yield head
                yield from stored
        self.sha256 = self._hash.hexdigest()

    def _stored_blocks(self, file: BinaryIO) -> Iterator[bytes]:
        while True:
            try:
                block = file.read(_BLOCK)
            except Exception as error:  # of whatever reads the file for fsspec
                raise unreadable(self._location, error) from error
            if not block:
                return
            self.bytes_read += len(block)
            self._hash.update(block)
            yield block

    def _decompressed(self, block: bytes, stored: Iterator[bytes]) -> Iterator[bytes]:
        member = zlib.decompressobj(wbits=31)
        offset = 0
        while True:
            try:
                # Bounded output: a few kilobytes of gzip may hold gigabytes.
                content = member.decompress(block, _BLOCK)
            except zlib.error:
                raise SourceError(shown(self._location), "the gzip data is damaged", offset=offset) from None
            offset += len(content)
            if content:
                yield content
            block = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                # Other members may follow, and zeros that some writers fill up the last block with.
                while not (block := block.lstrip(b"\0")):
                    following = next(stored, None)
                    if following is None:
                        return
                    block = following
                member = zlib.decompressobj(wbits=31)
            elif not block:
                following = next(stored, None)
                if following is not None:
                    block = following
                elif not content:
                    raise SourceError(shown(self._location), "the gzip data is cut short", offset=offset)
