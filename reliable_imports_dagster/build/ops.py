"""The import of one processor as an op, for jobs of a team's own making."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from typing_extensions import Unpack

from reliable_imports import BaseProcessor
from reliable_imports_dagster.discovery import only
from reliable_imports_dagster.names import definition_name, import_name
from reliable_imports_dagster.options import OpOptions, op_arguments
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run.config import ImportConfig, import_schema
from reliable_imports_dagster.run.importing import accept_batch, raise_failure_of, work_and_report
from reliable_imports_dagster.run.report.run_failure import FailRunOn
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator


def build_import_op(
    processor: type[BaseProcessor],
    *,
    name: str | None = None,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
    pool: str | None = None,
    **options: Unpack[OpOptions],
) -> dg.OpDefinition:
    """An op that does what the asset does, reports to the same asset, and returns the batch's id.

    Its input `after` takes anything, or nothing: it is for the order of ops in a job.

    Args:
        options: see `OpOptions`.
        name: of its definition, `import_<type>_op` by default; two that are built for one processor need two names.
    """
    registry = only(processor)
    asset_key = (translator or DagsterReliableImportsTranslator()).get_asset_spec(processor).key

    @dg.op(
        name=name or definition_name(import_name(processor.batch_type)),
        ins={"after": dg.In(dg.Nothing)},
        out=dg.Out(int, description="The batch's id."),
        pool=pool,
        config_schema=import_schema(processor),
        **op_arguments(options),
    )
    def import_batch(context: dg.OpExecutionContext, reliable_imports: ReliableImportsResource) -> Iterator[Any]:
        config = ImportConfig(**context.op_config)
        manager = reliable_imports.manager(registry)
        accepted = accept_batch(context, manager, processor, config, asset_key)
        told = work_and_report(context, manager, accepted, asset_key)
        yield from told.events()
        raise_failure_of([told.summary], fail_run_on, config.fail_run_on)
        yield dg.Output(accepted.batch_id)

    return import_batch
