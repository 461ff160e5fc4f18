"""Files that arrive in a folder or in a bucket: each is imported once, and then put aside."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg

from reliable_imports import BaseProcessor, BatchManager, ConfigurationError
from reliable_imports_dagster.discovery import only
from reliable_imports_dagster.names import asset_op_name, import_name
from reliable_imports_dagster.run import tags
from reliable_imports_dagster.sensors.arrivals import (
    IMPORTED,
    REFUSED,
    Afterwards,
    Arrivals,
    ArrivedFile,
    WatchedFile,
    read_watched,
    watched,
    write_watched,
)
from reliable_imports_dagster.sensors.frame import IN_PROGRESS, Decision, Past, build_sensor, why_not_again

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
    links are left alone too: whoever may deliver is not to choose what else of this machine is read. A writer that has
    the file open and goes on when it was put aside is noticed for an hour: the batch's warnings say so, and the log.

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

    Raises ConfigurationError: the processor has partitions, and nothing says which of them a file is for.
    """
    if processor.partitions is not None:
        raise ConfigurationError(
            f"{processor.__qualname__} has partitions, and a file that arrives does not say which it is for; "
            "let a schedule or a backfill import its `source`, with {partition} in it"
        )
    registry = only(processor)
    arrivals = Arrivals(folder, pattern, processor.source_options)
    extra = {} if params is None else {"params": dict(params)}
    job_name = import_name(processor.batch_type)
    op = asset_op_name(processor.batch_type)

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        now = datetime.now(timezone.utc)
        files = arrivals.listed()
        stored = manager.orchestration.find_deliveries(processor.batch_type, [file.key for file in files])
        waiting = [file for file in files if file.key not in stored]
        settled = [file for file in waiting if now - file.changed_at >= settled_after]
        refused: list[ArrivedFile] = []
        requests: list[dg.RunRequest] = []
        aside = read_watched(context.cursor, now)
        reasons = _tell_of_writers(context, manager, arrivals, aside)
        for file, runs in _with_runs(context.instance, job_name, settled):
            if len(requests) == max_runs_per_tick:
                reasons.append(f"the others wait for the next tick: {max_runs_per_tick} runs are the most for one")
                break
            past = _past(runs)
            if past.busy is None and any(_has_refused(run, op, file) for run in runs):
                refused.append(file)
            elif (why_not := why_not_again(past, job_name)) is not None:
                reasons.append(f"{file.name}: {why_not}")
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
        if len(settled) < len(waiting):
            reasons.append(f"{len(waiting) - len(settled)} changed within {settled_after}, the last {waiting[-1].name}")
        for outcome, ended in ((IMPORTED, [file for file in files if file.key in stored]), (REFUSED, refused)):
            if afterwards != "keep":
                for file in ended[:_MAX_PUT_ASIDE]:
                    told, place = arrivals.put_aside(file, outcome, afterwards)
                    reasons.append(told)
                    if place is not None:
                        aside.append(watched(file, place, stored.get(file.key), now))
            elif ended:
                reasons.append(f"{outcome} before: {len(ended)}, the last of them {ended[-1].name}")
        for reason in reasons:
            context.log.info(reason)
        if not requests:
            told = "; ".join(reasons[:10]) or f"no file is in {arrivals}"
            return dg.SensorResult(skip_reason=told, cursor=write_watched(aside))
        return dg.SensorResult(run_requests=requests, cursor=write_watched(aside))

    return build_sensor(
        name or f"{job_name}_files_sensor",
        registry,
        decide,
        job_name=job_name,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=f"Imports files that arrive in {arrivals}.",
    )


def _past(runs: Sequence[dg.DagsterRun]) -> Past:
    """Of a file of which there is no batch: all its runs that have ended came to nothing."""
    busy = next((f"run {run.run_id}" for run in runs if run.status in IN_PROGRESS), None)
    return Past(busy, idle_runs=len(runs), idle_in_a_row=len(runs))


def _has_refused(run: dg.DagsterRun, op: str, file: ArrivedFile) -> bool:
    return run.tags.get(tags.OUTCOME) == tags.REFUSED and _path_of(run, op) == file.location


def _path_of(run: dg.DagsterRun, op: str) -> str | None:
    """What the run was told to import: one that a person executes again with another path keeps the tag of the file."""
    config: Any = run.run_config
    for name in ("ops", op, "config"):
        config = config.get(name) or {}
    return None if config.get("path") is None else str(config["path"])


def _tell_of_writers(
    context: dg.SensorEvaluationContext, manager: BatchManager, arrivals: Arrivals, aside: list[WatchedFile]
) -> list[str]:
    """Say which files were written to after they were put aside, and take them off the list: once is enough."""
    told = []
    for file in arrivals.written_since(aside):
        aside.remove(file)
        held = "it was refused" if file.batch_id is None else f"batch {file.batch_id} has its items as they were before"
        warning = (
            f"{file.place} was written to after it was put aside, and {held}; move it back to where files arrive to "
            "import it whole, and let its writer write under another name (.tmp) first and rename it then"
        )
        if file.batch_id is not None:
            manager.orchestration.add_warning(file.batch_id, warning)
        context.log.warning(warning)
        told.append(warning)
    return told


def _with_runs(
    instance: dg.DagsterInstance, job_name: str, files: Sequence[ArrivedFile]
) -> Iterator[tuple[ArrivedFile, Sequence[dg.DagsterRun]]]:
    """Each file with the job's runs that were launched for it; Dagster is asked for many files at once."""
    for start in range(0, len(files), _PAGE):
        page = files[start : start + _PAGE]
        runs = instance.get_runs(dg.RunsFilter(job_name=job_name, tags={tags.FILE: [file.identity for file in page]}))
        runs_of: dict[str, list[dg.DagsterRun]] = {file.identity: [] for file in page}
        for run in runs:
            runs_of[run.tags[tags.FILE]].append(run)
        for file in page:
            yield file, runs_of[file.identity]
