"""The one file in a zip archive."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, cast

from reliable_imports.errors import SourceError

_LITTER = ("__MACOSX/", ".DS_Store")
_ENCRYPTED = 0x1


@contextmanager
def open_member(source: str, file: BinaryIO) -> Iterator[BinaryIO]:
    """The content of the only file in the archive.

    Raises:
        SourceError: this is no archive that can be read, or not one of a single file of text.
    """
    with _archive(source, file) as archive:
        member = _only_member(source, archive)
        try:
            content: IO[bytes] = archive.open(member)
        except Exception as error:  # NotImplementedError and RuntimeError among them
            raise SourceError(source, f"the zip archive cannot be read: {error}") from None
        with content:
            yield cast(BinaryIO, content)


def member_name(source: str, file: BinaryIO) -> str:
    """The name of the only file in the archive, which says its format. Raises SourceError, as `open_member` does."""
    with _archive(source, file) as archive:
        return _only_member(source, archive).filename


@contextmanager
def _archive(source: str, file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SourceError(source, f"the zip archive is damaged or cut short: {error}") from None
    with archive:
        yield archive


def _only_member(source: str, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    names = set(archive.namelist())
    if "[Content_Types].xml" in names or "mimetype" in names:
        is_workbook = any(name.startswith("xl/") for name in names)
        what = "an Excel workbook; name it .xlsx" if is_workbook else "a document, and not an archive of a file"
        raise SourceError(source, f"this is {what}, or set SourceOptions.format" if is_workbook else f"this is {what}")
    members = [each for each in archive.infolist() if not each.is_dir() and not _is_litter(each.filename)]
    if len(members) != 1:
        found = f"{len(members)} files" if members else "no file"
        raise SourceError(source, f"the zip archive holds {found}, and one was expected; unpack it and import each")
    if members[0].flag_bits & _ENCRYPTED:
        raise SourceError(source, "the zip archive has a password; unpack it first")
    return members[0]


def _is_litter(name: str) -> bool:
    return name.startswith(_LITTER[0]) or name.rpartition("/")[2] == _LITTER[1]
