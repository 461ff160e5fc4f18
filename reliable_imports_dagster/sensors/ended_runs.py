"""The sensors of runs that Dagster knows to have crashed or been canceled."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.sensors.resuming import (
    MAX_BATCHES,
    WILL_RETRY,
    makes_no_progress,
    no_progress_told,
    note_interruption,
    request_for,
    was_cut_off,
)


def build_run_ended_sensors(
    packages: Packages,
    jobs: Sequence[Any],
    *,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
) -> list[dg.SensorDefinition]:
    """The sensors `resume_crashed_runs_sensor` and `release_canceled_runs_sensor`: what the sensor above finds after
    minutes, at once when Dagster has noticed that the process is gone.

    A crashed run's batch is resumed, a canceled one's waits for whoever canceled it. Runs that Dagster retries by
    itself (`dagster/will_retry`) are left to it.
    """
    registry = discover(packages)

    def crashed(
        context: dg.RunStatusSensorContext, reliable_imports: ReliableImportsResource
    ) -> dg.RunRequest | dg.SkipReason:
        run = context.dagster_run
        manager = reliable_imports.manager(registry)
        if run.tags.get(WILL_RETRY) == "true":
            return dg.SkipReason(f"Dagster retries run {run.run_id} by itself")
        note_interruption(context.instance, run)
        released = manager.orchestration.release_run(
            run.run_id, error="the run failed without a word: its process is gone"
        )
        open_batches = manager.orchestration.interrupted_batches(age=timedelta(0), limit=MAX_BATCHES)
        batch = next((batch for batch in open_batches if batch.dagster_run_id == run.run_id), None)
        if batch is None:
            return dg.SkipReason(f"run {run.run_id} left no batch open")
        if not released and not was_cut_off(run):
            return dg.SkipReason(f"batch {batch.batch_id} waits for whoever stopped run {run.run_id}")
        if batch.batch_type not in registry:
            return dg.SkipReason(f"batch {batch.batch_id}: no processor for {batch.batch_type!r} in this code location")
        if makes_no_progress(manager, batch):
            return dg.SkipReason(f"batch {batch.batch_id}: {no_progress_told(batch)}")
        return request_for(registry, batch, f"crashed:{run.run_id}", context.repository_def)

    def canceled(context: dg.RunStatusSensorContext, reliable_imports: ReliableImportsResource) -> dg.SkipReason:
        note_interruption(context.instance, context.dagster_run)
        released = reliable_imports.manager(registry).orchestration.release_run(
            context.dagster_run.run_id, error="the run was canceled"
        )
        told = f"released batches {released}" if released else "it left no batch open"
        return dg.SkipReason(f"run {context.dagster_run.run_id} was canceled: {told}")

    return [
        dg.run_status_sensor(
            run_status=status,
            name=name,
            request_jobs=list(jobs) if status is dg.DagsterRunStatus.FAILURE else None,
            default_status=default_status,
            description=description,
        )(react)
        for status, name, react, description in (
            (
                dg.DagsterRunStatus.FAILURE,
                "resume_crashed_runs_sensor",
                crashed,
                "Resumes the batch of a run whose process is gone.",
            ),
            (
                dg.DagsterRunStatus.CANCELED,
                "release_canceled_runs_sensor",
                canceled,
                "Frees the items that a canceled run held.",
            ),
        )
    ]
