"""What the sensors of batches without a run have in common: whom they leave alone, and what they launch."""

from typing import Any

import dagster as dg

from reliable_imports import BatchManager, ProcessorRegistry
from reliable_imports.orchestration import WaitingBatch
from reliable_imports_dagster.names import asset_op_name, import_name
from reliable_imports_dagster.run import tags
from reliable_imports_dagster.run.accept import PARTITION
from reliable_imports_dagster.run.step import key_of_partition
from reliable_imports_dagster.sensors.frame import MAX_IDLE_RUNS, Candidate

MAX_BATCHES = 100
WILL_RETRY = "dagster/will_retry"


def candidate(
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
        return no_progress_told(batch) if makes_no_progress(manager, batch) else None

    return Candidate(
        batch_id=batch.batch_id,
        lineage=batch.first_batch_id,
        batch_type=batch.batch_type,
        key=f"{word}:{batch.batch_id}",
        generation=batch.generation,
        job=import_name(batch.batch_type),
        request=lambda run_key: request_for(registry, batch, run_key, repository),
        hindrance=hindrance,
    )


def request_for(
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


def note_interruption(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """A run whose process was killed could not say how it left its batch."""
    if tags.BATCH_ID in run.tags and not run.tags.get(tags.OUTCOME):
        instance.add_run_tags(run.run_id, {tags.OUTCOME: tags.INTERRUPTED})


def was_cut_off(run: dg.DagsterRun | None) -> bool:
    """Whether a run that was told to stop was not told so by a person, who would have ended it as canceled, or at the
    terminal where they had started it, which leaves a run without an origin."""
    return run is not None and run.status is dg.DagsterRunStatus.FAILURE and run.remote_job_origin is not None


def makes_no_progress(manager: BatchManager, batch: WaitingBatch) -> bool:
    last = manager.list_runs(batch_id=batch.batch_id)[-MAX_IDLE_RUNS:]
    return len(last) == MAX_IDLE_RUNS and not any(run.completed + run.failed + run.skipped for run in last)


def no_progress_told(batch: WaitingBatch) -> str:
    return f"its last {MAX_IDLE_RUNS} runs came to no item; see why, then launch {import_name(batch.batch_type)} for it"


def _is_retried(instance: dg.DagsterInstance, batch: WaitingBatch) -> bool:
    if batch.dagster_run_id is None:
        return False
    run = instance.get_run_by_id(batch.dagster_run_id)
    return run is not None and run.tags.get(WILL_RETRY) == "true" and "dagster/auto_retry_run_id" not in run.tags
