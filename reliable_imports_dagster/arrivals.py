"""Where files arrive, a folder or a part of a bucket: which of them are meant for us, and where they go afterwards."""

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import fsspec.core
from fsspec import AbstractFileSystem

from reliable_imports import SourceError
from reliable_imports.sources.location import is_url, shown
from reliable_imports.sources.options import SourceOptions

Afterwards = Literal["move", "rename", "keep"]

IMPORTED = "imported"
REFUSED = "refused"
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", "~")
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
"""Where the file systems of fsspec tell when a file has changed."""


@dataclass(frozen=True, slots=True)
class ArrivedFile:
    """
    Attributes:
        path: as its file system names it.
        location: as a run is told it.
        version: what its file system calls this content; empty if it does not tell.
        identity: which file, and which content of it.
    """

    path: str
    location: str
    size: int
    version: str
    identity: str
    changed_at: datetime

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)

    def is_unchanged(self, filesystem: Any) -> bool:
        """Whether the file holds still what it held when it was listed.

        Raises FileNotFoundError: it is not there any more.
        """
        filesystem.invalidate_cache()
        now = filesystem.info(self.path)
        return bool(now["size"] == self.size and (not self.version or _version(now) == self.version))

    @property
    def key(self) -> str:
        """The idempotency key of its batch; the identity may be too long for one, or not printable."""
        return f"file:{hashlib.sha256(self.identity.encode(errors='surrogateescape')).hexdigest()}"


class Arrivals:
    """The folder, or the part of a bucket, in which files arrive."""

    def __init__(self, folder: str | Path, pattern: str, options: SourceOptions) -> None:
        self._folder = folder
        self._pattern = pattern
        self._options = options

    def __str__(self) -> str:
        return shown(self._folder)

    def listed(self) -> list[ArrivedFile]:
        """Files that are meant for us, the oldest first."""
        filesystem, folder = self._opened()
        filesystem.invalidate_cache()  # some remember what they have listed
        try:
            listed = filesystem.ls(folder, detail=True)
        except FileNotFoundError:  # which is also what an empty part of a bucket is
            return []
        files = [self._file(filesystem, info) for info in listed if self._is_meant(info)]
        return sorted(files, key=lambda file: (file.changed_at, file.path))

    def put_aside(self, file: ArrivedFile, outcome: str, afterwards: Literal["move", "rename"]) -> str:
        """Mark a file as *outcome*, as it was declared; says what was done, or why it was not."""
        filesystem, _ = self._opened()
        try:
            if not file.is_unchanged(filesystem):
                return f"{file.name} was {outcome}, and has been delivered anew since"
            place = _place(filesystem, file, outcome, afterwards)
            _move(filesystem, file.path, place)
        except FileNotFoundError:  # another tick, or somebody else, was faster
            return f"{file.name} was {outcome}, and is gone"
        except OSError as error:
            return f"{file.name} was {outcome}, and stays where it is, for it cannot be moved: {error}"
        return f"{file.name} was {outcome}, and is {filesystem.unstrip_protocol(place)} now"

    def _opened(self) -> tuple[Any, str]:
        if is_url(self._folder):
            filesystem, folder = fsspec.core.url_to_fs(self._folder)
            return filesystem, folder
        return fsspec.filesystem("file"), str(Path(self._folder).absolute())

    def _is_meant(self, info: Mapping[str, Any]) -> bool:
        name = posixpath.basename(info["name"])
        return (
            info["type"] == "file"
            and fnmatchcase(name, self._pattern)
            and not name.startswith(".")
            and not name.endswith((*_UNFINISHED, f".{IMPORTED}", f".{REFUSED}"))
            and self._has_format(name)
        )

    def _has_format(self, name: str) -> bool:
        try:
            name.encode()
            self._options.format_of(Path(name))
        except (UnicodeEncodeError, SourceError):  # Dagster could not be told a name that is no text
            return False
        return True

    def _file(self, filesystem: Any, info: Mapping[str, Any]) -> ArrivedFile:
        path = info["name"]
        location = filesystem.unstrip_protocol(path) if is_url(self._folder) else path
        changed_at = next((info[key] for key in _MODIFIED if info.get(key)), 0)
        version = _version(info)
        identity = f"{location}:{info['size']}:{changed_at}:{version}"
        return ArrivedFile(path, location, info["size"], version, identity, _time(changed_at))


def _version(info: Mapping[str, Any]) -> str:
    return str(info.get("ETag") or info.get("etag") or info.get("ino") or "")


def _place(filesystem: Any, file: ArrivedFile, outcome: str, afterwards: Literal["move", "rename"]) -> str:
    """Where a file goes: one of two places, so that a store which forbids to delete does not fill up."""
    parent = posixpath.dirname(file.path)
    if afterwards == "move":
        parent = posixpath.join(parent, outcome)
        filesystem.makedirs(parent, exist_ok=True)
        name = file.name
    else:
        name = f"{file.name}.{outcome}"
    place = posixpath.join(parent, name)
    if not filesystem.exists(place):
        return place
    # An earlier delivery of that name.
    return posixpath.join(parent, f"{file.changed_at:%Y%m%dT%H%M%S}-{file.key[-8:]}-{name}")


def _move(filesystem: Any, path: str, place: str) -> None:
    """Move one file, whatever is in its name.

    Where fsspec copies and deletes, its `mv` takes the name for a pattern, and hides that nothing could be deleted.
    """
    if type(filesystem).mv is not AbstractFileSystem.mv:
        filesystem.mv(path, place)
        return
    filesystem.cp_file(path, place)
    filesystem.rm_file(path)


def _time(told: Any) -> datetime:
    if isinstance(told, str):
        told = datetime.fromisoformat(told.replace("Z", "+00:00"))
    if not isinstance(told, datetime):
        return datetime.fromtimestamp(told, timezone.utc)
    return told if told.tzinfo is not None else told.replace(tzinfo=timezone.utc)
