"""Where files arrive, a folder or a part of a bucket: which of them are meant for us, and where they go afterwards."""

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import fsspec.core
from fsspec import AbstractFileSystem

from reliable_imports import SourceError
from reliable_imports.sources import FileState, SourceOptions, is_url, shown, state_of_info

Afterwards = Literal["move", "rename", "keep"]

IMPORTED = "imported"
REFUSED = "refused"
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", "~")
_OFFICE_LOCK = "~$"
_WATCHED_FOR = timedelta(hours=1)
_MAX_WATCHED = 500


@dataclass(frozen=True, slots=True)
class ArrivedFile:
    """
    Attributes:
        path: as its file system names it.
        location: as a run is told it.
        state: what tells its content from another one.
        identity: which file, and which content of it.
    """

    path: str
    location: str
    state: FileState
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
        return self.state.change_to(state_of_info(filesystem.info(self.path))) is None

    @property
    def key(self) -> str:
        """The idempotency key of its batch; the identity may be too long for one, or not printable."""
        return f"file:{hashlib.sha256(self.identity.encode(errors='surrogateescape')).hexdigest()}"


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """A file that was put aside, and that a writer who has it open may still write to; as JSON, in a sensor's cursor.

    Attributes:
        place: where it is now.
        size, modified, version: as it was when its items were stored, all of them text.
        batch_id: the batch that has its items; None if it was refused.
        since: when it was put aside, in seconds since 1970.
    """

    place: str
    size: str
    modified: str
    version: str
    batch_id: int | None
    since: float


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

    def put_aside(
        self, file: ArrivedFile, outcome: str, afterwards: Literal["move", "rename"]
    ) -> tuple[str, str | None]:
        """Mark a file as *outcome*, as it was declared.

        Returns: what was done, or why it was not; and where the file is now, if whoever has it open can go on to write
            to it there.
        """
        filesystem, _ = self._opened()
        try:
            if not file.is_unchanged(filesystem):
                return f"{file.name} was {outcome}, and has been delivered anew since", None
            place = _place(filesystem, file, outcome, afterwards)
            is_same_file = _move(filesystem, file.path, place)
        except FileNotFoundError:  # another tick, or somebody else, was faster
            return f"{file.name} was {outcome}, and is gone", None
        except OSError as error:
            return f"{file.name} was {outcome}, and stays where it is, for it cannot be moved: {error}", None
        told = f"{file.name} was {outcome}, and is {filesystem.unstrip_protocol(place)} now"
        return told, place if is_same_file else None

    def written_since(self, watched: Sequence[WatchedFile]) -> list[WatchedFile]:
        """Those that hold something else than when their items were stored."""
        filesystem, _ = self._opened()
        found = []
        for file in watched:
            try:
                now = state_of_info(filesystem.info(file.place))
            except OSError:  # it was taken away, which whoever tidies up may do
                continue
            if (file.size, file.modified, file.version) != _texts(now):
                found.append(file)
        return found

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
            and not name.startswith((".", _OFFICE_LOCK))
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
        state = state_of_info(info)
        changed_at = state.modified or 0
        identity = f"{location}:{state.size}:{changed_at}:{state.version or ''}"
        return ArrivedFile(path, location, state, identity, _time(changed_at))


def watched(file: ArrivedFile, place: str, batch_id: int | None, now: datetime) -> WatchedFile:
    return WatchedFile(place, *_texts(file.state), batch_id, now.timestamp())


def read_watched(cursor: str | None, now: datetime) -> list[WatchedFile]:
    """What a cursor holds; those that were put aside long ago are left to themselves."""
    oldest = (now - _WATCHED_FOR).timestamp()
    files = [WatchedFile(**each) for each in json.loads(cursor or "[]")]
    return [file for file in files if file.since >= oldest]


def write_watched(files: Sequence[WatchedFile]) -> str:
    """The newest of them as a cursor."""
    return json.dumps([asdict(file) for file in files[-_MAX_WATCHED:]])


def _texts(state: FileState) -> tuple[str, str, str]:
    return str(state.size), str(state.modified), str(state.version)


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


def _move(filesystem: Any, path: str, place: str) -> bool:
    """Move one file, whatever is in its name; whether it is the same file afterwards, and not a copy.

    Where fsspec copies and deletes, its `mv` takes the name for a pattern, and hides that nothing could be deleted.
    """
    if type(filesystem).mv is not AbstractFileSystem.mv:
        filesystem.mv(path, place)
        return True
    filesystem.cp_file(path, place)
    filesystem.rm_file(path)
    return False


def _time(told: Any) -> datetime:
    if isinstance(told, str):
        told = datetime.fromisoformat(told.replace("Z", "+00:00"))
    if not isinstance(told, datetime):
        return datetime.fromtimestamp(told, timezone.utc)
    return told if told.tzinfo is not None else told.replace(tzinfo=timezone.utc)
