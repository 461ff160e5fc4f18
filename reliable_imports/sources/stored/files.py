"""A file's bytes as they are stored, and as they are meant: what was compressed is found by its first bytes.

A file that is not the same at its end as it was when reading began is refused, as nobody can tell what was read.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from reliable_imports.errors import SourceChanged, SourceError
from reliable_imports.sources.limits import Growth
from reliable_imports.sources.stored.archives import open_member
from reliable_imports.sources.stored.compression import LONGEST_SIGN, CutShort, Damaged, compression_of, decompressed
from reliable_imports.sources.stored.location import (
    FileState,
    Location,
    OpenedFile,
    open_location,
    shown,
    state_of,
    unreadable,
)
from reliable_imports.sources.stored.signs import refuse_foreign

_BLOCK = 256 * 1024


def size_of(location: Location) -> int | None:
    """The size of a file that can be read; None if that is known only when it has been.

    Raises SourceError: there is no such file, or it cannot be read.
    """
    opened = open_location(location)
    opened.file.close()
    return opened.state.size


class StoredFile:
    """One reading of a file, from its first byte to its last.

    Attributes:
        bytes_read: bytes of the stored file read so far.
        sha256: of the stored bytes, as hexadecimal digits; None until the last has been read.
        growth: how much larger the content is than the stored file, and may be.
    """

    def __init__(self, location: Location, growth: Growth) -> None:
        self.bytes_read = 0
        self.sha256: str | None = None
        self.growth = growth
        self._location = location
        self._state = FileState(None)
        self._hash = hashlib.sha256()

    def blocks(self) -> Iterator[bytes]:
        """The content in blocks of some size, none of them empty.

        Raises:
            SourceError: it cannot be read, its compressed data is damaged, cut short or too much, or it is an archive
                of several files.
            SourceChanged: it is not what it was when reading began.
        """
        with self._opened() as opened:
            stored = self._stored_blocks(opened.file)
            head = _head(stored)
            compression = compression_of(head)
            if compression == "zip":
                with self._seekable(opened, head, stored) as file, open_member(shown(self._location), file) as content:
                    yield from self._member_blocks(content)
            elif compression is not None:
                try:
                    for block in decompressed(shown(self._location), compression, head, stored):
                        self._grow(len(block))
                        yield block
                except (Damaged, CutShort) as error:
                    raise SourceError(shown(self._location), str(error), offset=self.growth.content) from None
            else:
                refuse_foreign(shown(self._location), head)
                self.growth.content += len(head)
                if head:
                    yield head
                for block in stored:
                    self.growth.content += len(block)
                    yield block
            self._end(opened)

    @contextmanager
    def whole(self) -> Iterator[BinaryIO]:
        """The stored file, all of which can be read at any time; its hash and size are known already.

        Raises:
            SourceError: it cannot be read.
            SourceChanged: it is not what it was when reading began.
        """
        with self._opened() as opened, self._seekable(opened, b"", self._stored_blocks(opened.file)) as file:
            yield file
            self._end(opened)

    def read_to_its_end(self) -> str:
        """The hash of the stored bytes, which are read for its sake alone.

        Raises SourceError, as `blocks` does.
        """
        with self._opened() as opened:
            for _ in self._stored_blocks(opened.file):
                pass
            self._end(opened)
        assert self.sha256 is not None
        return self.sha256

    def refuse_changed(self) -> None:
        """Raises SourceChanged: what is there under the file's name is not what was when reading began.

        For when the content makes no sense: it may be half of one and half of another.
        """
        change = self._state.change_to(state_of(self._location))
        if change is not None:
            raise SourceChanged(shown(self._location), change)

    @contextmanager
    def _opened(self) -> Iterator[OpenedFile]:
        opened = open_location(self._location)
        self._state = opened.state
        with opened.file:
            yield opened

    @contextmanager
    def _seekable(self, opened: OpenedFile, head: bytes, rest: Iterator[bytes]) -> Iterator[BinaryIO]:
        """The whole of a file of which *head* has been read; of the web, a copy on the disk."""
        if opened.can_seek:
            for _ in rest:
                pass
            opened.file.seek(0)
            yield opened.file
            return
        with tempfile.TemporaryFile(prefix="reliable-imports-") as copy:
            try:
                copy.write(head)
                copy.writelines(rest)
                copy.seek(0)
            except OSError as error:
                free = shutil.disk_usage(tempfile.gettempdir()).free
                raise SourceError(
                    shown(self._location),
                    f"cannot be copied to {tempfile.gettempdir()}, which has {free:,} bytes left: {error.strerror}",
                ) from None
            yield cast(BinaryIO, copy)

    def _stored_blocks(self, file: BinaryIO) -> Iterator[bytes]:
        while True:
            try:
                block = file.read(_BLOCK)
            except Exception as error:  # of whatever reads the file for fsspec
                self.refuse_changed()
                raise unreadable(self._location, error) from error
            if not block:
                return
            self.bytes_read += len(block)
            self._hash.update(block)
            yield block

    def _member_blocks(self, content: BinaryIO) -> Iterator[bytes]:
        while True:
            try:
                block = content.read(_BLOCK)
            except Exception as error:  # the archive's own, and those of what it is compressed with
                raise SourceError(
                    shown(self._location), f"the zip archive is damaged: {error}", offset=self.growth.content
                ) from None
            if not block:
                return
            self._grow(len(block))
            yield block

    def _grow(self, size: int) -> None:
        self.growth.content += size
        self.growth.check_content(self.bytes_read)

    def _end(self, opened: OpenedFile) -> None:
        """All has been read; see whether that is one content."""
        change = opened.state.change_to(FileState(self.bytes_read)) or opened.state.change_to(opened.ask_state())
        if change is not None:
            raise SourceChanged(shown(self._location), change)
        self.sha256 = self._hash.hexdigest()


def _head(stored: Iterator[bytes]) -> bytes:
    """Enough of the first bytes to know what they are; all there is if it is short."""
    head = b""
    for block in stored:
        head += block
        if len(head) >= LONGEST_SIGN:
            break
    return head
