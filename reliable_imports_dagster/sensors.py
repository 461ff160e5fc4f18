"""Starts the reprocessing of failures that are worth another try, without end only where there is progress."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg

from reliable_imports import BatchManager, DueLine
from reliable_imports_dagster import tags
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import REPROCESS
from reliable_imports_dagster.sensor_frame import Decision, build_sensor

MAX_IDLE_RUNS = 5
"""Runs in a row for one line that ended before they came to its items; then a person has to look."""

_MAX_LINES = 1_000
_ZOMBIE_AFTER = timedelta(minutes=10)
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def build_reprocess_sensor(
    packages: Packages,
    *,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
    max_runs_per_tick: int = 10,
    exclude_batch_types: Container[str] = (),
    exclude_reasons: Sequence[str] = (),
) -> dg.SensorDefinition:
    """The sensor `reprocess_failed_items_sensor`, which launches `reprocess_failed_items` for each line that is due.

    A line is due when retryable failures of it have rested long enough, or a reprocess batch of it was left behind.
    Back-off and the limit of attempts are the processor's and kept in PostgreSQL. One run of a line at a time; after
    MAX_IDLE_RUNS that ended without touching an item, none until somebody has reprocessed the line by hand.

    Args:
        exclude_batch_types: types whose failures wait for a person.
        exclude_reasons: reasons, by their ids, whose failures do.
    """
    registry = discover(packages)

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        due = manager.lines_due(_MAX_LINES, exclude_reasons=exclude_reasons)
        if not due:
            return "no retryable failure is due, and no reprocess batch was left behind"
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for line in due:
            if len(requests) == max_runs_per_tick:
                reasons.append(f"the other lines wait for the next tick: {max_runs_per_tick} runs are the most for one")
                break
            if line.batch_type not in registry:
                reasons.append(
                    f"batch {line.first_batch_id}: no processor for {line.batch_type!r} in this code location"
                )
                continue
            if line.batch_type in exclude_batch_types:
                reasons.append(f"batch {line.first_batch_id}: {line.batch_type} is left to a person")
                continue
            past = past_of(context, manager, line.first_batch_id)
            if past.busy_run_id is not None:
                reasons.append(f"batch {line.first_batch_id}: run {past.busy_run_id} is working on its line")
            elif past.idle_in_a_row >= MAX_IDLE_RUNS:
                reasons.append(
                    f"batch {line.first_batch_id}: its last {past.idle_in_a_row} runs ended without touching an item; "
                    f"see why, then launch {REPROCESS} for it"
                )
            else:
                requests.append(_request(line, past, exclude_reasons))
        for reason in reasons:
            context.log.info(reason)
        if not requests:
            return f"{len(due)} due: {'; '.join(reasons[:10])}"
        return dg.SensorResult(run_requests=requests)

    return build_sensor(
        f"{REPROCESS}_sensor",
        registry,
        decide,
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Reprocesses retryable failures when their back-off is over.",
    )


@dataclass(frozen=True, slots=True)
class Past:
    """What Dagster knows of the runs of a line.

    Attributes:
        busy_run_id: a run that is queued or at work.
        idle_runs: runs of this sensor that ended before they worked any batch.
        idle_in_a_row: those of them since a run last worked one.
    """

    busy_run_id: str | None
    idle_runs: int
    idle_in_a_row: int


def past_of(context: dg.SensorEvaluationContext, manager: BatchManager, first_batch_id: int) -> Past:
    tag = {tags.LINE: str(first_batch_id)}
    in_progress = context.instance.get_run_records(dg.RunsFilter(tags=tag, statuses=IN_PROGRESS))
    busy = next((record.dagster_run.run_id for record in in_progress if not _is_zombie(record, manager)), None)
    idle_runs = idle_in_a_row = 0
    since_progress = True
    for run in context.instance.get_runs(dg.RunsFilter(tags=tag, statuses=_ENDED)):  # the newest first
        if manager.list_runs(dagster_run_id=run.run_id):
            since_progress = False
        elif run.tags.get("dagster/sensor_name") == context.sensor_name:
            idle_runs += 1
            idle_in_a_row += since_progress
    return Past(busy, idle_runs, idle_in_a_row)


def _is_zombie(record: dg.RunRecord, manager: BatchManager) -> bool:
    """Whether the run has died without Dagster's notice, as `dagster job execute` does when it is killed."""
    if record.start_time is None:
        return False  # in the queue, which may be long
    started = datetime.fromtimestamp(record.start_time, timezone.utc)
    if datetime.now(timezone.utc) - started < _ZOMBIE_AFTER:
        return False
    return all(run.state != "running" for run in manager.list_runs(dagster_run_id=record.dagster_run.run_id))


def _request(line: DueLine, past: Past, exclude_reasons: Sequence[str]) -> dg.RunRequest:
    config: dict[str, Any] = {"batch_id": line.first_batch_id, "due_only": True}
    if exclude_reasons:
        config["exclude_reasons"] = list(exclude_reasons)
    # A run key works once, for ever. The database counts the runs that came to work, Dagster those that did not, so
    # that every end of a run makes a new key.
    return dg.RunRequest(
        run_key=f"{line.first_batch_id}:{line.generation + past.idle_runs}",
        run_config={"ops": {REPROCESS: {"config": config}}},
        tags={tags.LINE: str(line.first_batch_id), tags.BATCH_TYPE: line.batch_type},
    )
