"""Running failed items again: one job for all batch types, and one for each."""

from collections.abc import Iterator

import dagster as dg

from reliable_imports import BatchManager, BatchSummary, ConfigurationError, DatabaseError, ProcessorRegistry
from reliable_imports_dagster.config import ReprocessConfig
from reliable_imports_dagster.delivery import delivery_key
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.execution import work_batch
from reliable_imports_dagster.names import reprocess_name
from reliable_imports_dagster.refusal import refusals_explained
from reliable_imports_dagster.report import FailRunOn, failure_of, report
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, asset_specs


def build_reprocess_op(
    packages: Packages,
    *,
    batch_type: str | None = None,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
) -> dg.OpDefinition:
    """The op of `build_reprocess_job`; it returns the ids of the batches that it worked."""
    registry = discover(packages)
    if batch_type is not None:
        registry.get(batch_type)
    specs = asset_specs(registry, translator or DagsterReliableImportsTranslator())

    @dg.op(
        name=reprocess_name(batch_type),
        ins={"after": dg.In(dg.Nothing)},
        out=dg.Out(list[int], description="The ids of the batches that were worked."),
        tags={"dagster/kind/postgres": "", "dagster/kind/python": ""},
    )
    def reprocess(
        context: dg.OpExecutionContext, config: ReprocessConfig, reliable_imports: ReliableImportsResource
    ) -> list[int]:
        manager = reliable_imports.manager(registry)
        with refusals_explained():
            work = _Work(context, manager, registry, batch_type, config)
        for batch_id in work:
            summary = work_batch(context, manager, batch_id)
            report(context, manager, summary).log(context, specs[summary.batch_type].key)
            work.summaries.append(summary)
        failure = failure_of(work.summaries, fail_run_on)
        if failure is not None:
            raise failure
        return [summary.batch_id for summary in work.summaries]

    return reprocess
