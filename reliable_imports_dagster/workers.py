"""Several workers on one batch, by whichever executor a job has: processes, containers, machines."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from reliable_imports import BaseProcessor
from reliable_imports_dagster.config import ImportConfig, import_schema
from reliable_imports_dagster.delivery import accept
from reliable_imports_dagster.discovery import only
from reliable_imports_dagster.execution import interrupted_tagged, tag_batch
from reliable_imports_dagster.names import definition_name, import_name
from reliable_imports_dagster.refusal import refusals_explained
from reliable_imports_dagster.report import FailRunOn, report
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.running import raise_failure_of
from reliable_imports_dagster.tags import OUTCOME, tag_run
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator

MAX_WORKERS = 64


def build_parallel_import_job(
    processor: type[BaseProcessor],
    *,
    workers: int = 4,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
    pool: str | None = None,
    executor: dg.ExecutorDefinition | None = dg.multiprocess_executor,
) -> dg.JobDefinition:
    """The job `import_<type>_in_parallel`: one step accepts the batch, and *workers* steps share its items.

    Each worker claims items until none is left, and the one that finds the batch ended reports it. Should one die, the
    others do its items too; the run fails for its step, and the batch is complete all the same. If all die, re-execute
    the run (all its steps): it resumes the batch.

    Its config is that of the step `accept`: `ops: {accept: {config: {path: FILE, workers: 8}}}`.

    Args:
        executor: any of Dagster's; None leaves it to the code location.
    """
    registry = only(processor)
    asset_key = (translator or DagsterReliableImportsTranslator()).get_asset_spec(processor).key
    name = f"{import_name(processor.batch_type)}_in_parallel"
    count = dg.Field(dg.IntSource, is_required=False, default_value=workers, description="How many steps share it.")

    @dg.op(
        name=definition_name(f"accept_{name}"),
        out=dg.DynamicOut(int, description="The batch's id, once for each worker."),
        config_schema={**import_schema(processor), "workers": count},
    )
    def accept_batch(context: dg.OpExecutionContext, reliable_imports: ReliableImportsResource) -> Iterator[Any]:
        given = dict(context.op_config)
        wanted = given.pop("workers")
        if not 1 <= wanted <= MAX_WORKERS:
            raise dg.Failure(f"workers is {wanted}, and must be from 1 to {MAX_WORKERS}", allow_retries=False)
        manager = reliable_imports.manager(registry)
        with refusals_explained():
            batch_id = accept(context, manager, processor, ImportConfig(**given))
        tag_batch(context, manager, batch_id)
        for number in range(1, wanted + 1):
            yield dg.DynamicOutput(batch_id, mapping_key=f"worker_{number}")

    @dg.op(
        name=definition_name(f"work_{name}"),
        out=dg.Out(dg.Nothing),
        tags={"dagster/kind/postgres": "", "dagster/kind/python": ""},
        pool=pool,
    )
    def work(context: dg.OpExecutionContext, batch_id: int, reliable_imports: ReliableImportsResource) -> Iterator[Any]:
        manager = reliable_imports.manager(registry)
        with interrupted_tagged(context, batch_id):
            summary = manager.process_batch(batch_id, dagster_run_id=context.run_id)
        if summary.finished_at is None and summary.pause_reason is None:
            return  # others are still at it
        if manager.claim_report(batch_id, context.run_id):
            tag_run(context, {OUTCOME: summary.status.value})
            yield from report(context, manager, summary).events(asset_key)
        raise_failure_of([summary], fail_run_on)

    @dg.job(
        name=name,
        description=f"Imports one batch of {processor.batch_type} with several workers.",
        executor_def=executor,
    )
    def parallel_import() -> None:
        accept_batch.alias("accept")().map(work.alias("work"))

    return parallel_import
