"""Files that arrive in a folder or in a bucket: each is imported once, and then put aside."""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import fsspec.core
from fsspec import AbstractFileSystem

from reliable_imports import BaseProcessor, BatchManager, SourceError
from reliable_imports.sources.location import is_url, shown
from reliable_imports.sources.options import SourceOptions
from reliable_imports_dagster import tags
from reliable_imports_dagster.discovery import only
from reliable_imports_dagster.names import asset_op_name, import_name
from reliable_imports_dagster.sensor_frame import Decision, build_sensor
from reliable_imports_dagster.sensors import IN_PROGRESS, MAX_IDLE_RUNS

Afterwards = Literal["move", "rename", "keep"]

IMPORTED = "imported"
REFUSED = "refused"
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", "~")
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
"""Where the file systems of fsspec tell when a file has changed."""
_PAGE = 500
_MAX_PUT_ASIDE = 100


def build_file_sensor(
    processor: type[BaseProcessor],
    folder: str | Path,
    *,
    name: str | None = None,
    pattern: str = "*",
    afterwards: Afterwards = "move",
    settled_after: timedelta = timedelta(seconds=10),
    params: Mapping[str, Any] | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
    max_runs_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `import_<type>_files_sensor`: launches the job `import_<type>` for each file that arrives in *folder*.

    A file is known by name, size, version and time of change, so one that is delivered anew under its old name is
    imported again. That is the batch's idempotency key, so two runs that are given one file make one batch.

    In a bucket an object appears when it is complete. In a folder, one that is being written is left alone: whoever
    can should write under another name (`.tmp`, `.part`, or with a leading dot) and rename, which is atomic. Symbolic
    links are left alone too: whoever may deliver is not to choose what else of this machine is read.

    Args:
        folder: of this machine, or a URL that fsspec can read and write, such as `s3://bucket/incoming`.
        name: of the sensor, where a processor has two folders, with a sensor each.
        pattern: of the names of files, as a shell has it; folders below are not looked into. Files whose names do not
            say a format are taken if the processor's `source_options` do.
        afterwards: `move` puts the file into `imported/` below the folder when its items are stored, or into
            `refused/` if it cannot be read; `rename` leaves it there with `.imported` or `.refused` after its name;
            `keep` leaves it as it is. In a bucket the first two copy, and delete then.
        settled_after: how long a file must not have changed.
        params: values for the processor's `Params`, as the run config takes them.
    """
    registry = only(processor)
    incoming = _Incoming(folder, pattern, processor.source_options)
    extra = {} if params is None else {"params": dict(params)}
    job_name = import_name(processor.batch_type)
    op = asset_op_name(processor.batch_type)

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        now = datetime.now(timezone.utc)
        files = incoming.arrived()
        stored = _stored(manager, processor.batch_type, files)
        waiting = [file for file in files if file.key not in stored]
        refused: list[_File] = []
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for file, runs in _with_runs(context.instance, job_name, waiting):
            if len(requests) == max_runs_per_tick:
                reasons.append(f"the others wait for the next tick: {max_runs_per_tick} runs are the most for one")
                break
            if now - file.changed_at < settled_after:
                reasons.append(f"{file.name} has changed within {settled_after}")
            elif any(run.status in IN_PROGRESS for run in runs):
                reasons.append(f"{file.name} is being imported")
            elif any(run.tags.get(tags.OUTCOME) == tags.REFUSED for run in runs):
                refused.append(file)
            elif len(runs) >= MAX_IDLE_RUNS:
                reasons.append(f"{file.name}: {len(runs)} runs ended before they had read it; see why")
            else:
                config = {"path": file.location, "idempotency_key": file.key, **extra}
                requests.append(
                    dg.RunRequest(
                        run_key=f"{file.identity}:{len(runs)}",
                        job_name=job_name,
                        run_config={"ops": {op: {"config": config}}},
                        tags={tags.FILE: file.identity},
                    )
                )
        for outcome, ended in ((IMPORTED, [file for file in files if file.key in stored]), (REFUSED, refused)):
            if afterwards != "keep":
                reasons += [incoming.put_aside(file, outcome, afterwards) for file in ended[:_MAX_PUT_ASIDE]]
            elif ended:
                reasons.append(f"{outcome} before: {len(ended)}, the last of them {ended[-1].name}")
        for reason in reasons:
            context.log.info(reason)
        if not requests:
            return "; ".join(reasons[:10]) or f"no file is in {incoming}"
        return dg.SensorResult(run_requests=requests)

    return build_sensor(
        name or f"{job_name}_files_sensor",
        registry,
        decide,
        job_name=job_name,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=f"Imports files that arrive in {incoming}.",
    )


@dataclass(frozen=True, slots=True)
class _File:
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

    def is_content_of(self, filesystem: Any) -> bool:
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


class _Incoming:
    """The folder, or the part of a bucket, in which files arrive."""

    def __init__(self, folder: str | Path, pattern: str, options: SourceOptions) -> None:
        self._folder = folder
        self._pattern = pattern
        self._options = options

    def __str__(self) -> str:
        return shown(self._folder)

    def arrived(self) -> list[_File]:
        """Files that are meant for us, the oldest first."""
        filesystem, folder = self._opened()
        filesystem.invalidate_cache()  # some remember what they have listed
        try:
            listed = filesystem.ls(folder, detail=True)
        except FileNotFoundError:  # which is also what an empty part of a bucket is
            return []
        files = [self._file(filesystem, info) for info in listed if self._is_meant(info)]
        return sorted(files, key=lambda file: (file.changed_at, file.path))

    def put_aside(self, file: _File, outcome: str, afterwards: Literal["move", "rename"]) -> str:
        """Mark a file as *outcome*, as it was declared; says what was done, or why it was not."""
        filesystem, _ = self._opened()
        try:
            if not file.is_content_of(filesystem):
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

    def _file(self, filesystem: Any, info: Mapping[str, Any]) -> _File:
        path = info["name"]
        location = filesystem.unstrip_protocol(path) if is_url(self._folder) else path
        changed_at = next((info[key] for key in _MODIFIED if info.get(key)), 0)
        version = _version(info)
        identity = f"{location}:{info['size']}:{changed_at}:{version}"
        return _File(path, location, info["size"], version, identity, _time(changed_at))


def _version(info: Mapping[str, Any]) -> str:
    return str(info.get("ETag") or info.get("etag") or info.get("ino") or "")


def _place(filesystem: Any, file: _File, outcome: str, afterwards: Literal["move", "rename"]) -> str:
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


def _stored(manager: BatchManager, batch_type: str, files: Sequence[_File]) -> set[str]:
    """The keys of files whose items are stored: what becomes of them is the batch's affair."""
    return set(manager.find_deliveries(batch_type, [file.key for file in files]))


def _with_runs(
    instance: dg.DagsterInstance, job_name: str, files: Sequence[_File]
) -> Iterator[tuple[_File, Sequence[dg.DagsterRun]]]:
    """Each file with the job's runs that were launched for it; Dagster is asked for many files at once."""
    for start in range(0, len(files), _PAGE):
        page = files[start : start + _PAGE]
        runs = instance.get_runs(dg.RunsFilter(job_name=job_name, tags={tags.FILE: [file.identity for file in page]}))
        for file in page:
            yield file, [run for run in runs if run.tags[tags.FILE] == file.identity]
