"""Files that arrive in a folder: each is imported once, and then put aside."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from reliable_imports import BaseProcessor, BatchManager
from reliable_imports_dagster import tags
from reliable_imports_dagster.discovery import only
from reliable_imports_dagster.names import asset_op_name, import_name
from reliable_imports_dagster.sensor_frame import Decision, build_sensor
from reliable_imports_dagster.sensors import IN_PROGRESS, MAX_IDLE_RUNS

IMPORTED = "imported"
REFUSED = "refused"
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", "~")


def build_file_sensor(
    processor: type[BaseProcessor],
    folder: Path,
    job: Any,
    *,
    pattern: str = "*",
    afterwards: Literal["move", "keep"] = "move",
    settled_after: timedelta = timedelta(seconds=10),
    params: Mapping[str, Any] | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
    max_runs_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `import_<type>_files_sensor`: launches the import of each file that arrives in *folder*.

    A file is known by name, size and time of change, so one that is delivered anew under its old name is imported
    again. One that is being written is left alone: whoever can should write under another name (`.tmp`, `.part`, or
    with a leading dot) and rename, which is atomic.

    Args:
        job: the processor's import job, as `build_import_job` makes it.
        afterwards: `move` puts the file into `imported/` below the folder when its items are stored, or into
            `refused/` if it cannot be read; `keep` leaves it where it is.
        settled_after: how long a file must not have changed.
        params: values for the processor's `Params`, as the run config takes them.
    """
    registry = only(processor)
    extra = {} if params is None else {"params": dict(params)}
    op = asset_op_name(processor.batch_type)

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        if not folder.is_dir():
            return f"there is no folder {folder}"
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for file in _arrived(folder, pattern):
            if len(requests) == max_runs_per_tick:
                reasons.append(f"the others wait for the next tick: {max_runs_per_tick} runs are the most for one")
                break
            if time.time() - file.changed_at < settled_after.total_seconds():
                reasons.append(f"{file.path.name} has changed within {settled_after}")
                continue
            runs = context.instance.get_runs(dg.RunsFilter(tags={tags.FILE: file.identity}))
            if any(run.status in IN_PROGRESS for run in runs):
                reasons.append(f"{file.path.name} is being imported")
            elif any(manager.list_runs(dagster_run_id=run.run_id) for run in runs):
                # Its items are stored: what becomes of them is the batch's affair.
                reasons.append(_put_aside(file, IMPORTED, afterwards))
            elif any(run.tags.get(tags.OUTCOME) == tags.REFUSED for run in runs):
                reasons.append(_put_aside(file, REFUSED, afterwards))
            elif len(runs) >= MAX_IDLE_RUNS:
                reasons.append(f"{file.path.name}: {len(runs)} runs ended before they had read it; see why")
            else:
                requests.append(
                    dg.RunRequest(
                        run_key=f"{file.identity}:{len(runs)}",
                        job_name=import_name(processor.batch_type),
                        run_config={"ops": {op: {"config": {"path": str(file.path), **extra}}}},
                        tags={tags.FILE: file.identity},
                    )
                )
        for reason in reasons:
            context.log.info(reason)
        if not requests:
            return "; ".join(reasons[:10]) or f"no file is in {folder}"
        return dg.SensorResult(run_requests=requests)

    return build_sensor(
        f"{import_name(processor.batch_type)}_files_sensor",
        registry,
        decide,
        job=job,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=f"Imports files that arrive in {folder}.",
    )


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    identity: str
    changed_at: float


def _arrived(folder: Path, pattern: str) -> Iterator[_File]:
    """The oldest first."""
    found = []
    for path in folder.glob(pattern):
        name = path.name.removesuffix(".gz")
        if path.name.startswith(".") or path.name.endswith(_UNFINISHED) or not name.endswith(_SUFFIXES):
            continue
        try:
            status = path.stat()
        except FileNotFoundError:  # somebody has just moved it
            continue
        if path.is_file():
            found.append(_File(path, f"{path}:{status.st_size}:{status.st_mtime_ns}", status.st_mtime))
    yield from sorted(found, key=lambda file: (file.changed_at, file.path))


def _put_aside(file: _File, folder: str, afterwards: Literal["move", "keep"]) -> str:
    if afterwards == "keep":
        return f"{file.path.name} was {folder}"
    target = file.path.parent / folder
    target.mkdir(exist_ok=True)
    place = target / file.path.name
    if place.exists():  # an earlier delivery of that name
        place = target / f"{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9:09d}-{file.path.name}"
    os.replace(file.path, place)
    return f"{file.path.name} was {folder}, and is in {target} now"
