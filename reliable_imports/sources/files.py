"""A file's bytes as they are stored, and as they are meant: gzip is found by its first bytes and taken off."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from reliable_imports.errors import SourceError

_BLOCK = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


def size_of(path: Path) -> int:
    """The size of a file that can be read.

    Raises:
        SourceError: *path* is no file, or this account may not read it.
    """
    with _open(path) as file:
        return os.fstat(file.fileno()).st_size


class StoredFile:
    """One reading of a file, from its first byte to its last.

    Attributes:
        bytes_read: bytes of the stored file read so far.
        sha256: of the stored bytes, as hexadecimal digits; None until the last has been read.
    """

    def __init__(self, path: Path) -> None:
        self.bytes_read = 0
        self.sha256: str | None = None
        self._path = path
        self._hash = hashlib.sha256()

    def blocks(self) -> Iterator[bytes]:
        """The content in blocks of some size, none of them empty.

        Raises:
            SourceError: it cannot be read, or its gzip data is damaged or cut short.
        """
        with _open(self._path) as file:
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
            except OSError as error:
                raise SourceError(self._path, f"cannot be read: {error.strerror}") from None
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
                raise SourceError(self._path, "the gzip data is damaged", offset=offset) from None
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
                    raise SourceError(self._path, "the gzip data is cut short", offset=offset)


def _open(path: Path) -> BinaryIO:
    # Without O_NONBLOCK, a pipe that nobody writes to would hold us up.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise SourceError(path, "there is no such file") from None
    except OSError as error:
        raise SourceError(path, f"cannot be opened: {error.strerror}") from None
    except ValueError:
        raise SourceError(path, "no file can have this name: it has a NUL character") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise SourceError(
        path, "this is a folder; name a file in it" if stat.S_ISDIR(mode) else "this is no file; write the data to one"
    )
