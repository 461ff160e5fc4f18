"""An asset for each processor; materializing it imports a batch."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from reliable_imports import BaseProcessor, ProcessorRegistry
from reliable_imports_dagster.config import ImportConfig
from reliable_imports_dagster.delivery import accept
from reliable_imports_dagster.discovery import Packages, discover, only
from reliable_imports_dagster.execution import work_batch
from reliable_imports_dagster.names import NO_FAILED_ITEMS, asset_op_name
from reliable_imports_dagster.refusal import refusals_explained
from reliable_imports_dagster.report import FailRunOn, failure_of, report
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, asset_specs


def build_import_asset(
    processor: type[BaseProcessor],
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
) -> dg.AssetsDefinition:
    """The asset of one processor, materialized by an op `<type>`; see `ImportConfig` for what that takes.

    Needs a ReliableImportsResource under the key `reliable_imports`. A re-execution or an automatic retry resumes the
    batch of the run that it repeats.

    Args:
        fail_run_on: when the run fails because of its items; their results show in any case.
    """
    registry = only(processor)
    return _import_asset(
        registry,
        processor,
        asset_specs(registry, translator or DagsterReliableImportsTranslator())[processor.batch_type],
        fail_run_on,
    )


def build_import_assets(
    packages: Packages,
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
) -> list[dg.AssetsDefinition]:
    """The assets of all processors in *packages*, each as `build_import_asset` makes it.

    Raises:
        DiscoveryError, DuplicateBatchType: a package cannot be used.
    """
    registry = discover(packages)
    specs = asset_specs(registry, translator or DagsterReliableImportsTranslator())
    return [_import_asset(registry, processor, specs[processor.batch_type], fail_run_on) for processor in registry]


def _import_asset(
    registry: ProcessorRegistry, processor: type[BaseProcessor], spec: dg.AssetSpec, fail_run_on: FailRunOn
) -> dg.AssetsDefinition:
    check = dg.AssetCheckSpec(
        NO_FAILED_ITEMS,
        asset=spec.key,
        description="Every item of the batch is in, or was skipped for a reason; no failure waits to be reprocessed.",
    )

    @dg.multi_asset(
        name=asset_op_name(processor.batch_type), specs=[spec], check_specs=[check], description=spec.description
    )
    def import_batch(
        context: dg.AssetExecutionContext, config: ImportConfig, reliable_imports: ReliableImportsResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        op_context = context.op_execution_context
        manager = reliable_imports.manager(registry)
        with refusals_explained():
            batch_id = accept(op_context, manager, processor, config)
        summary = work_batch(op_context, manager, batch_id)
        yield report(op_context, manager, summary).result(spec.key)
        failure = failure_of([summary], fail_run_on)
        if failure is not None:
            raise failure

    return import_batch
