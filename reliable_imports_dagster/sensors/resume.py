"""Sensors that start a run where a batch has none: created by an application, or left behind by a dead process."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from reliable_imports import BatchManager, ProcessorRegistry
from reliable_imports.orchestration import WaitingBatch
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import asset_op_name, import_name
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run import tags
from reliable_imports_dagster.run.accept import PARTITION
from reliable_imports_dagster.run.step import key_of_partition
from reliable_imports_dagster.sensors.frame import (
    IN_PROGRESS,
    MAX_IDLE_RUNS,
    Candidate,
    Decision,
    build_sensor,
    choose,
)

_MAX_BATCHES = 100
_WILL_RETRY = "dagster/will_retry"


def build_waiting_batches_sensor(
    packages: Packages,
    jobs: Sequence[Any],
    *,
    age: timedelta = timedelta(minutes=1),
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
    max_runs_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `import_waiting_batches_sensor`, which launches `import_<type>` for batches that an application has
    created (`manager.create_batch`) and nobody has begun to work.

    Args:
        jobs: the import jobs, as `build_import_jobs` makes them.
        age: how old a batch must be; a run that has made one is about to work it.
    """
    registry = discover(packages)

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        waiting = manager.orchestration.waiting_batches(age=age, limit=_MAX_BATCHES)
        if not waiting:
            return "no batch is waiting that nobody has begun to work"
        candidates = [_candidate(context, manager, registry, batch, "waiting") for batch in waiting]
        return choose(context, manager, registry, candidates, max_runs=max_runs_per_tick).decision()

    return build_sensor(
        "import_waiting_batches_sensor",
        registry,
        decide,
        jobs=jobs,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Works batches that an application has created.",
    )


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
        abandoned = manager.orchestration.abandoned_batches(age=age, limit=_MAX_BATCHES)
        abandoned += [
            batch
            for batch in manager.orchestration.interrupted_batches(limit=_MAX_BATCHES)
            if batch.dagster_run_id is not None and _was_cut_off(context.instance.get_run_by_id(batch.dagster_run_id))
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
        candidates = [_candidate(context, manager, registry, batch, "abandoned") for batch in resumable]
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
        if run.tags.get(_WILL_RETRY) == "true":
            return dg.SkipReason(f"Dagster retries run {run.run_id} by itself")
        _note_interruption(context.instance, run)
        released = manager.orchestration.release_run(
            run.run_id, error="the run failed without a word: its process is gone"
        )
        open_batches = manager.orchestration.interrupted_batches(age=timedelta(0), limit=_MAX_BATCHES)
        batch = next((batch for batch in open_batches if batch.dagster_run_id == run.run_id), None)
        if batch is None:
            return dg.SkipReason(f"run {run.run_id} left no batch open")
        if not released and not _was_cut_off(run):
            return dg.SkipReason(f"batch {batch.batch_id} waits for whoever stopped run {run.run_id}")
        if batch.batch_type not in registry:
            return dg.SkipReason(f"batch {batch.batch_id}: no processor for {batch.batch_type!r} in this code location")
        if _makes_no_progress(manager, batch):
            return dg.SkipReason(f"batch {batch.batch_id}: {_no_progress(batch)}")
        return _request(registry, batch, f"crashed:{run.run_id}", context.repository_def)

    def canceled(context: dg.RunStatusSensorContext, reliable_imports: ReliableImportsResource) -> dg.SkipReason:
        _note_interruption(context.instance, context.dagster_run)
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


def _candidate(
    context: dg.SensorEvaluationContext,
    manager: BatchManager,
    registry: ProcessorRegistry,
    batch: WaitingBatch,
    word: str,
) -> Candidate:
    repository = context.repository_def

    def hindrance() -> str | None:
        if _is_retried(context.instance, batch):
            return f"Dagster retries run {batch.dagster_run_id} by itself"
        return _no_progress(batch) if _makes_no_progress(manager, batch) else None

    return Candidate(
        batch_id=batch.batch_id,
        lineage=batch.first_batch_id,
        batch_type=batch.batch_type,
        key=f"{word}:{batch.batch_id}",
        generation=batch.generation,
        job=import_name(batch.batch_type),
        request=lambda run_key: _request(registry, batch, run_key, repository),
        hindrance=hindrance,
    )


def _request(
    registry: ProcessorRegistry, batch: WaitingBatch, run_key: str, repository: dg.RepositoryDefinition | None
) -> dg.RunRequest:
    config: dict[str, Any] = {"batch_id": batch.batch_id}
    if registry.get(batch.batch_type).Params is not None:
        config["params"] = batch.metadata.get("params", {})
    return dg.RunRequest(
        run_key=run_key,
        job_name=import_name(batch.batch_type),
        run_config={"ops": {asset_op_name(batch.batch_type): {"config": config}}},
        partition_key=_partition_of(batch, repository),
        tags={
            tags.BATCH_ID: str(batch.batch_id),
            tags.LINEAGE: str(batch.first_batch_id),
            tags.BATCH_TYPE: batch.batch_type,
        },
    )


def _partition_of(batch: WaitingBatch, repository: dg.RepositoryDefinition | None) -> str | None:
    """The partition that the batch is for, if its job has partitions."""
    name, job = batch.metadata.get(PARTITION), import_name(batch.batch_type)
    if not isinstance(name, str) or repository is None or not repository.has_job(job):
        return None
    partitions_def = repository.get_job(job).partitions_def
    return None if partitions_def is None else key_of_partition(partitions_def, name)


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
    _note_interruption(context.instance, run)
    return True


def _note_interruption(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """A run whose process was killed could not say how it left its batch."""
    if tags.BATCH_ID in run.tags and not run.tags.get(tags.OUTCOME):
        instance.add_run_tags(run.run_id, {tags.OUTCOME: tags.INTERRUPTED})


def _was_cut_off(run: dg.DagsterRun | None) -> bool:
    """Whether a run that was told to stop was not told so by a person, who would have ended it as canceled, or at the
    terminal where they had started it, which leaves a run without an origin."""
    return run is not None and run.status is dg.DagsterRunStatus.FAILURE and run.remote_job_origin is not None


def _makes_no_progress(manager: BatchManager, batch: WaitingBatch) -> bool:
    last = manager.list_runs(batch_id=batch.batch_id)[-MAX_IDLE_RUNS:]
    return len(last) == MAX_IDLE_RUNS and not any(run.completed + run.failed + run.skipped for run in last)


def _no_progress(batch: WaitingBatch) -> str:
    return f"its last {MAX_IDLE_RUNS} runs came to no item; see why, then launch {import_name(batch.batch_type)} for it"


def _is_retried(instance: dg.DagsterInstance, batch: WaitingBatch) -> bool:
    if batch.dagster_run_id is None:
        return False
    run = instance.get_run_by_id(batch.dagster_run_id)
    return run is not None and run.tags.get(_WILL_RETRY) == "true" and "dagster/auto_retry_run_id" not in run.tags
