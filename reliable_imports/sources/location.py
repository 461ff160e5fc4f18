"""Where a file is: a path of this machine, or the URL of anything that fsspec can read, such as s3://bucket/key.csv."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from reliable_imports.errors import SourceError, SourceUnavailable

Location = Path | str
"""A path, or the text of a URL."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_COLLAPSED_URL = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://", re.IGNORECASE)
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_QUERY_IN_TEXT = re.compile(r"(://[^\s'\"?#]*)[?#][^\s'\"]*")
_USER = re.compile(r"(?<=://)[^/]*@")
_USER_AND_PASSWORD = re.compile(r"(?<=://)[^/@:]*:[^/]*@")
"""In the URL of a bucket: what stands there without a password may be the name of the bucket, as Azure writes it."""
_VERSION = re.compile(r"(\?versionid=[^/]*|#\d+)$", re.IGNORECASE)
"""After the name in a bucket: which version of the object. Anything else that stands there is part of the name."""
_READ_AHEAD = 8 * 1024 * 1024


def is_url(given: object) -> bool:
    return isinstance(given, str) and _URL.match(given) is not None


def locate(given: str | os.PathLike[str]) -> Location:
    """What a person wrote, as a location."""
    if is_url(given):
        return str(given)
    return given if isinstance(given, Path) else Path(given)


def file_name(location: Location) -> str:
    """The last part, which says the format."""
    if isinstance(location, Path):
        return location.name
    return PurePosixPath((_QUERY if _is_web(location) else _VERSION).sub("", location)).name


def shown(location: Location) -> str:
    """The location as it may be stored and told: without a password, and without what gives a signed URL its power."""
    if isinstance(location, Path):
        return str(location)
    if not _is_web(location):
        return _USER_AND_PASSWORD.sub("", location, count=1)
    return _USER.sub("", _QUERY.sub("", location), count=1)


def _is_web(url: str) -> bool:
    return _WEB_URL.match(url) is not None


def open_location(location: Location) -> tuple[BinaryIO, int | None]:
    """The stored bytes from the first on, and how many there are, if that is known before they are read.

    Raises:
        SourceError: there is no such file, it is none, or this account may not read it.
        SourceUnavailable: it is out of reach now.
    """
    return _open_path(location) if isinstance(location, Path) else _open_url(location)


def unreadable(location: Location, error: Exception) -> SourceError:
    """What stopped the reading of a file that could be opened."""
    return SourceUnavailable(shown(location), f"cannot be read: {_reason(location, error)}")


def _open_path(path: Path) -> tuple[BinaryIO, int]:
    # Without O_NONBLOCK, a pipe that nobody writes to would hold us up.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        hint = "; give a URL as text, not as a Path" if _COLLAPSED_URL.match(str(path)) else ""
        raise SourceError(path, f"there is no such file{hint}") from None
    except OSError as error:
        raise SourceError(path, f"cannot be opened: {error.strerror}") from None
    except ValueError:
        raise SourceError(path, "no file can have this name: it has a NUL character") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return os.fdopen(descriptor, "rb"), status.st_size
    os.close(descriptor)
    problem = "a folder; name a file in it" if stat.S_ISDIR(status.st_mode) else "no file; write the data to one"
    raise SourceError(path, f"this is {problem}")


def _open_url(url: str) -> tuple[BinaryIO, int | None]:
    import fsspec.core

    try:
        # A server of the web need not know ranges; other stores are read ahead, and not in blocks of 50 MB.
        filesystem, path = fsspec.core.url_to_fs(url)
        file: Any = filesystem.open(path, "rb", block_size=0 if _is_web(url) else _READ_AHEAD)
    except Exception as error:
        # What a client of the web says names the whole URL.
        raise _not_opened(url, error) from None if _is_web(url) else error
    return cast(BinaryIO, file), getattr(file, "size", None)


def _not_opened(url: str, error: Exception) -> SourceError:
    match error:
        case FileNotFoundError(__cause__=Exception() as cause) if _is_web(url) and not _says_missing(cause):
            return _not_opened(url, cause)  # of the web, fsspec says so whatever went wrong
        case FileNotFoundError():
            return SourceError(shown(url), "there is no such file")
        case ImportError():
            return SourceError(shown(url), f"another package is needed to read it: {error}")
        case IsADirectoryError() | PermissionError() | ValueError():
            return SourceError(shown(url), f"cannot be opened: {_reason(url, error)}")
    return SourceUnavailable(shown(url), f"cannot be opened: {_reason(url, error)}")


def _says_missing(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or getattr(error, "status", None) in (404, 410)


def _reason(location: Location, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    told = str(error).replace(str(location), shown(location)).strip()
    if isinstance(location, str) and _is_web(location):
        told = _QUERY_IN_TEXT.sub(r"\1", told)  # a client may quote the URL in another way
    return told or type(error).__name__
