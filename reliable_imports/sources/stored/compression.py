"""Streams of compressed bytes, told by their first bytes and never by a file's name."""

from __future__ import annotations

import bz2
import importlib
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

from reliable_imports.errors import SourceError

Compression = Literal["gzip", "bzip2", "xz", "zstd", "zip"]

ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".zip")
LONGEST_SIGN = 16
_BLOCK = 256 * 1024
_XZ_MEMORY = 256 * 1024 * 1024
"""What `xz -9` takes is a quarter of it; a file may ask for four gigabytes."""
_SIGNS: tuple[tuple[re.Pattern[bytes], Compression], ...] = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), "bzip2"),
    (re.compile(rb"\xfd7zXZ\0"), "xz"),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "zstd"),
    (re.compile(rb"PK(\x03\x04|\x05\x06)"), "zip"),
)


class Damaged(Exception):
    """The data is no stream of its kind, or was altered."""


class CutShort(Exception):
    """The data ends before the stream does."""


class _Stream(Protocol):
    """What the decompressors of the standard library have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decompressor, used as those that came after it are."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


def compression_of(head: bytes) -> Compression | None:
    return next((compression for sign, compression in _SIGNS if sign.match(head)), None)


def decompressed(source: str, compression: Compression, head: bytes, stored: Iterator[bytes]) -> Iterator[bytes]:
    """The content of one stream or of several that follow each other, in blocks; few bytes may hold gigabytes.

    Raises:
        Damaged, CutShort: it cannot be read on.
        SourceError: a package is needed for it.
    """
    make, errors = _decompressor(source, compression)
    stream = make()
    block = head
    while True:
        try:
            content = stream.decompress(block, _BLOCK)
        except errors as error:
            if isinstance(error, lzma.LZMAError) and "emory usage limit" in str(error):
                raise Damaged(f"the xz data asks for more than {_XZ_MEMORY:,} bytes of memory") from None
            raise Damaged(f"the {compression} data is damaged") from None
        if content:
            yield content
        if stream.eof:
            block = stream.unused_data
            # Others may follow, and zeros that some writers fill up the last block with.
            while not (block := block.lstrip(b"\0")):
                following = next(stored, None)
                if following is None:
                    return
                block = following
            stream = make()
        elif not stream.needs_input:
            block = b""
        else:
            following = next(stored, None)
            if following is None and not content:
                raise CutShort(f"the {compression} data is cut short")
            block = following or b""


def _decompressor(source: str, compression: Compression) -> tuple[Callable[[], _Stream], tuple[type[Exception], ...]]:
    match compression:
        case "bzip2":
            return bz2.BZ2Decompressor, (OSError, ValueError)
        case "xz":
            return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), (lzma.LZMAError, EOFError)
        case "zstd":
            zstd = _zstd(source)
            return zstd.ZstdDecompressor, (zstd.ZstdError, EOFError)
        case _:
            return _Gzip, (zlib.error,)


def _zstd(source: str) -> Any:
    try:
        return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        raise SourceError(
            source, "another package is needed to read zstd data: pip install 'reliable-imports[zstd]'"
        ) from None
