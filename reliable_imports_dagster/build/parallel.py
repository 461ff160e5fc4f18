"""Several workers on one batch, by whichever executor a job has: processes, containers, machines."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from typing_extensions import Unpack

from reliable_imports import BaseProcessor, ConfigurationError
from reliable_imports_dagster.discovery import only
from reliable_imports_dagster.names import definition_name, import_name
from reliable_imports_dagster.options import JobOptions, job_arguments, op_arguments
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run.accept import repeated_runs
from reliable_imports_dagster.run.config import ImportConfig, import_schema
from reliable_imports_dagster.run.importing import accept_batch, raise_failure_of, work_and_report
from reliable_imports_dagster.run.report.reporting import report
from reliable_imports_dagster.run.report.run_failure import FailRunOn
from reliable_imports_dagster.run.tags import BATCH_ID, OUTCOME, tag_run
from reliable_imports_dagster.run.tie import interrupted_tagged, tie_run
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator

MAX_WORKERS = 64


def build_parallel_import_job(
    processor: type[BaseProcessor],
    *,
    workers: int = 4,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
    pool: str | None = None,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    executor: dg.ExecutorDefinition | None = dg.multiprocess_executor,
    **options: Unpack[JobOptions],
) -> dg.JobDefinition:
    """The job `import_<type>_in_parallel`: one step accepts the batch, and *workers* steps share its items.

    Each worker claims items until none is left, and the one that finds the batch ended reports it. Should one die, the
    others do its items too; the batch is complete all the same, and whether the run fails for its step is the
    executor's to say. If all die, re-execute the run, from the failure or as a whole: it resumes the batch.

    Steps hand nothing to each other but the run's tags, so no storage has to be shared between machines, and the graph
    is a fixed one, which every executor can run: that of Dask leaves out mapped steps, and says nothing.

    Its config is that of the step `accept`: `ops: {accept: {config: {path: FILE, workers: 2}}}`, where `workers` may be
    fewer than the job has.

    Args:
        partitions_def: of the job; those of the asset by default.
        options: see `JobOptions`; those of ops are for the steps that work.
        executor: any of Dagster's; None leaves it to the code location.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise ConfigurationError(f"workers is {workers}, and must be from 1 to {MAX_WORKERS}")
    registry = only(processor)
    spec = (translator or DagsterReliableImportsTranslator()).get_asset_spec(processor)
    asset_key = spec.key
    name = f"{import_name(processor.batch_type)}_in_parallel"
    steps = [f"worker_{number}" for number in range(1, workers + 1)]
    count = dg.Field(dg.IntSource, is_required=False, default_value=workers, description="How many steps share it.")

    @dg.op(
        name=definition_name(f"accept_{name}"),
        # A step whose output is not given is skipped.
        out={step: dg.Out(dg.Nothing, is_required=False) for step in steps},
        config_schema={**import_schema(processor), "workers": count},
    )
    def accept_one(context: dg.OpExecutionContext, reliable_imports: ReliableImportsResource) -> Iterator[Any]:
        given = dict(context.op_config)
        wanted = given.pop("workers")
        if not 1 <= wanted <= workers:
            raise dg.Failure(f"workers is {wanted}, and this job has from 1 to {workers}", allow_retries=False)
        manager = reliable_imports.manager(registry)
        accepted = accept_batch(context, manager, processor, ImportConfig(**given), asset_key)
        batch = manager.get_batch(accepted.batch_id)
        if batch.status.is_final:
            told = work_and_report(context, manager, accepted, asset_key)
            yield from told.events()
            raise_failure_of([told.summary], fail_run_on)
            return
        tie_run(context, manager, batch)
        for step in steps[:wanted]:
            yield dg.Output(None, step)

    @dg.op(
        name=definition_name(f"work_{name}"),
        ins={"accepted": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        pool=pool,
        **op_arguments(options),
    )
    def work(context: dg.OpExecutionContext, reliable_imports: ReliableImportsResource) -> Iterator[Any]:
        manager = reliable_imports.manager(registry)
        batch_id = _accepted_batch(context)
        with interrupted_tagged(context, batch_id):
            summary = manager.process_batch(batch_id, dagster_run_id=context.run_id)
        if summary.finished_at is None and summary.pause_reason is None:
            return  # others are still at it
        if manager.orchestration.claim_report(batch_id, context.run_id):
            tag_run(context, {OUTCOME: summary.status.value})
            yield from report(context, manager, summary, asset_key).events()
        raise_failure_of([summary], fail_run_on)

    @dg.job(
        name=name,
        description=f"Imports one batch of {processor.batch_type} with several workers.",
        executor_def=executor,
        partitions_def=partitions_def or spec.partitions_def,
        **job_arguments(options),
    )
    def parallel_import() -> None:
        accepted = accept_one.alias("accept")()
        for step in steps:
            # One output alone is returned by itself.
            work.alias(step)(accepted=getattr(accepted, step) if workers > 1 else accepted)

    return parallel_import


def _accepted_batch(context: dg.OpExecutionContext) -> int:
    """The batch that this run's step `accept` has accepted, or that of the run which this one goes on with."""
    for run_id in repeated_runs(context):
        # Asked for anew: some executors give a step the run as it was before it began.
        run = context.instance.get_run_by_id(run_id)
        if run is not None and run.tags.get(BATCH_ID):
            return int(run.tags[BATCH_ID])
    raise dg.Failure(f"run {context.run_id} has accepted no batch; execute it anew with all its steps")
