"""Where a file is: a path of this machine, or the URL of anything that fsspec can read, such as s3://bucket/key.csv."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

from reliable_imports.errors import ConfigurationError, SourceError, SourceUnavailable

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
_LEADS_OUT = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\~]|^\w+://|\0")
"""A name that goes up, or begins somewhere else: with a slash, a home or a scheme."""
_READ_AHEAD = 8 * 1024 * 1024
_TICK = 20_000_000
"""Nanoseconds in which a file may be written twice and keep its time: the clock of file systems is a coarse one."""
_MODIFIED = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime", "modified", "created")
"""Where the file systems of fsspec tell when a file has changed."""


class FileState(NamedTuple):
    """What tells one content of a file from another without reading it; None is what nobody tells."""

    size: int | None
    modified: object = None
    version: str | None = None

    def change_to(self, now: FileState) -> str | None:
        """What is different now, in words; None if nothing is, as far as both tell."""
        if None not in (self.size, now.size) and self.size != now.size:
            return f"it had {self.size:,} bytes and has {now.size:,}"
        for before, after in ((self.modified, now.modified), (self.version, now.version)):
            if None not in (before, after) and before != after:
                return "it was written to"
        return None


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """The stored bytes of a file, from the first on.

    Attributes:
        state: of the file when it was opened.
        ask_state: the state now. Of a path, that of the file which is open, also where another one has its name.
        can_seek: whether any part can be read at any time.
    """

    file: BinaryIO
    state: FileState
    ask_state: Callable[[], FileState]
    can_seek: bool


def is_url(given: object) -> bool:
    return isinstance(given, str) and _URL.match(given) is not None


def locate(given: str | os.PathLike[str]) -> Location:
    """What a person wrote, as a location."""
    if is_url(given):
        return str(given)
    return given if isinstance(given, Path) else Path(given)


def locate_partition(source: str | os.PathLike[str], names: Mapping[str, str]) -> Location:
    """The location of one partition: each name stands in *source* where its key does, in braces.

    Raises:
        ConfigurationError: a name leads out of the folder that *source* names.
    """

    def fill_in(place: re.Match[str]) -> str:
        name = names[place[1]]
        if _LEADS_OUT.search(name):
            raise ConfigurationError(f"the partition {name!r} would lead out of the folder of the source, {source}")
        return name

    keys = "|".join(map(re.escape, names))
    return locate(re.sub(rf"\{{({keys})\}}", fill_in, str(source)))


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


def open_location(location: Location) -> OpenedFile:
    """
    Raises:
        SourceError: there is no such file, it is none, or this account may not read it.
        SourceUnavailable: it is out of reach now.
    """
    return _open_path(location) if isinstance(location, Path) else _open_url(location)


def state_of(location: Location) -> FileState:
    """What is there under this name now; nothing is told of a file that cannot be asked about."""
    try:
        if isinstance(location, Path):
            return _state_of_status(os.stat(location))
        import fsspec.core

        return _state_at_url(*fsspec.core.url_to_fs(location))
    except Exception:  # of whatever reads the file for fsspec
        return FileState(None)


def state_of_info(info: Mapping[str, Any]) -> FileState:
    """The state in what a file system of fsspec tells about a file."""
    modified = next((info[key] for key in _MODIFIED if info.get(key)), None)
    version = info.get("ETag") or info.get("etag") or info.get("ino")
    return FileState(info.get("size"), modified, None if version is None else str(version))


def unreadable(location: Location, error: Exception) -> SourceError:
    """What stopped the reading of a file that could be opened."""
    return SourceUnavailable(shown(location), f"cannot be read: {_reason(location, error)}")


def _open_path(path: Path) -> OpenedFile:
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
        # What is written within this moment would leave the time as it is, and not be noticed.
        while 0 <= (left := status.st_mtime_ns + _TICK - time.time_ns()) <= _TICK:
            time.sleep(left / 1e9)
            status = os.fstat(descriptor)
        state = _state_of_status(status)
        return OpenedFile(os.fdopen(descriptor, "rb"), state, lambda: _state_of_status(os.fstat(descriptor)), True)
    os.close(descriptor)
    problem = "a folder; name a file in it" if stat.S_ISDIR(status.st_mode) else "no file; write the data to one"
    raise SourceError(path, f"this is {problem}")


def _state_of_status(status: os.stat_result) -> FileState:
    return FileState(status.st_size, status.st_mtime_ns, str(status.st_ino))


def _open_url(url: str) -> OpenedFile:
    import fsspec.core

    try:
        # A server of the web need not know ranges; other stores are read ahead, and not in blocks of 50 MB.
        filesystem, path = fsspec.core.url_to_fs(url)
        state = FileState(None) if _is_web(url) else _state_at_url(filesystem, path)
        file: Any = filesystem.open(path, "rb", block_size=0 if _is_web(url) else _READ_AHEAD)
        if _is_web(url):  # the answer itself tells: another question might get another file
            state = _state_of_answer(file)
    except Exception as error:
        # What a client of the web says names the whole URL.
        raise _not_opened(url, error) from None if _is_web(url) else error
    return OpenedFile(cast(BinaryIO, file), state, lambda: state_of(url), not _is_web(url))


def _state_at_url(filesystem: Any, path: str) -> FileState:
    filesystem.invalidate_cache()  # some remember what they have listed
    return state_of_info(filesystem.info(path))


def _state_of_answer(file: Any) -> FileState:
    headers: Mapping[str, str] = getattr(getattr(file, "r", None), "headers", {})
    told: dict[str, Any] = {"Last-Modified": headers.get("Last-Modified")}
    if headers.get("Content-Encoding", "identity") == "identity":  # else size and tag are those of what was sent
        told["ETag"] = headers.get("ETag")
        with suppress(KeyError, ValueError):
            told["size"] = int(headers["Content-Length"])
    return state_of_info(told)


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
