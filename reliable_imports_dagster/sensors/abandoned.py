"""The sensor of batches whose process died without a word, or was made to stop."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from reliable_imports import BatchManager
from reliable_imports.orchestration import WaitingBatch
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.sensors.frame import IN_PROGRESS, Decision, build_sensor, choose
from reliable_imports_dagster.sensors.resuming import MAX_BATCHES, candidate, note_interruption, was_cut_off


def build_abandoned_batches_sensor(
    packages: Packages,
    jobs: Sequence[Any],
    *,
    age: timedelta = timedelta(minutes=5),
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 60,
    max_runs_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `resume_abandoned_batches_sensor`, for batches whose process died without a word, or was told to stop
    by something that is not a person, such as the restart of its machine.

    It fails the Dagster run that still seems to be going on, such as one of `dagster job execute` that was killed, and
    resumes the batch at a later tick, unless Dagster retries the run itself. Batches that a person has stopped, and
    reprocess batches, which the reprocess sensor resumes, are left alone.

    Args:
        jobs: the import jobs, as `build_import_jobs` makes them.
        age: for how long there must have been no sign of life.
    """
    registry = discover(packages)

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        abandoned = manager.orchestration.abandoned_batches(age=age, limit=MAX_BATCHES)
        abandoned += [
            batch
            for batch in manager.orchestration.interrupted_batches(limit=MAX_BATCHES)
            if batch.dagster_run_id is not None and was_cut_off(context.instance.get_run_by_id(batch.dagster_run_id))
        ]
        if not abandoned:
            return f"no batch has lost its process and been without a sign of life for {age}"
        failed = [batch for batch in abandoned if _fail_zombie(context, batch, age)]
        resumable = [batch for batch in abandoned if batch not in failed and batch.first_batch_id == batch.batch_id]
        if not resumable:
            told = ", ".join(f"{batch.dagster_run_id} of batch {batch.batch_id}" for batch in failed)
            return (
                f"reported as failed: runs {told}; their batches are resumed at the next tick"
                if failed
                else f"{len(abandoned)} reprocess batches are left to the reprocess sensor"
            )
        candidates = [candidate(context, manager, registry, batch, "abandoned") for batch in resumable]
        return choose(context, manager, registry, candidates, max_runs=max_runs_per_tick).decision()

    return build_sensor(
        "resume_abandoned_batches_sensor",
        registry,
        decide,
        jobs=jobs,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Resumes batches whose process died or was made to stop.",
    )


def _fail_zombie(context: dg.SensorEvaluationContext, batch: WaitingBatch, age: timedelta) -> bool:
    """Whether the batch's last run still seemed to be going on; it is reported as failed then."""
    if batch.dagster_run_id is None:
        return False
    run = context.instance.get_run_by_id(batch.dagster_run_id)
    if run is None or run.status not in IN_PROGRESS:
        return False
    context.instance.report_run_failed(
        run,
        f"no sign of life from the process for {age} while it worked batch {batch.batch_id}; it is taken for dead",
    )
    note_interruption(context.instance, run)
    return True
