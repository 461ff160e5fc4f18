"""An asset for each processor; materializing it imports a batch."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import dagster as dg
from typing_extensions import Unpack

from reliable_imports import BaseProcessor, ProcessorRegistry
from reliable_imports_dagster.discovery import Packages, discover, only
from reliable_imports_dagster.names import asset_op_name
from reliable_imports_dagster.options import AssetOptions, of_the_op, without_stability_warnings
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run.config import ImportConfig, import_schema
from reliable_imports_dagster.run.importing import (
    check_specs_of,
    import_asset_batches,
    raise_failure_of,
)
from reliable_imports_dagster.run.report.run_failure import FailRunOn
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, WithOptions, asset_specs


def build_import_asset(
    processor: type[BaseProcessor],
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
    pool: str | None = None,
    **options: Unpack[AssetOptions],
) -> dg.AssetsDefinition:
    """The asset of one processor, materialized by an op `<type>`; see `ImportConfig` for what that takes.

    Needs a ReliableImportsResource under the key `reliable_imports`. A re-execution or an automatic retry resumes the
    batch of the run that it repeats.

    Args:
        fail_run_on: when the run fails because of its items; their results show in any case.
        pool: a pool of Dagster's, to limit how many imports are under way at once.
        options: group, owners, tags, conditions, retries, hooks; see `AssetOptions`.
    """
    [asset] = assets_of(only(processor), translator, partial(import_asset, fail_run_on=fail_run_on), pool, options)
    return asset


def build_import_assets(
    packages: Packages,
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
    pool: str | None = None,
    **options: Unpack[AssetOptions],
) -> list[dg.AssetsDefinition]:
    """The assets of all processors in *packages*, each as `build_import_asset` makes it.

    Raises:
        DiscoveryError, DuplicateBatchType: a package cannot be used.
    """
    return assets_of(discover(packages), translator, partial(import_asset, fail_run_on=fail_run_on), pool, options)


Execute = Callable[[dg.AssetExecutionContext, type[BaseProcessor], ReliableImportsResource], Iterator[Any]]
"""What materializing the asset of a processor does."""


def assets_of(
    registry: ProcessorRegistry,
    translator: DagsterReliableImportsTranslator | None,
    execute: Execute,
    pool: str | None,
    options: AssetOptions,
) -> list[dg.AssetsDefinition]:
    """An asset for each processor, materialized by *execute*."""
    specs = asset_specs(registry, WithOptions(translator, options))
    return [_asset(processor, specs[processor.batch_type], execute, pool, options) for processor in registry]


def import_asset(
    context: dg.AssetExecutionContext,
    processor: type[BaseProcessor],
    reliable_imports: ReliableImportsResource,
    *,
    fail_run_on: FailRunOn,
) -> Iterator[Any]:
    """Import the batch that the op's config asks for, or one for each of the run's partitions; tell of them, and fail
    the run if they are a reason to."""
    config = ImportConfig(**context.op_execution_context.op_config)
    manager = reliable_imports.manager(only(processor))
    imported = yield from import_asset_batches(context, manager, processor, config, context.asset_key)
    raise_failure_of(imported.summaries, fail_run_on, config.fail_run_on, refused=imported.refused)


def _asset(
    processor: type[BaseProcessor], spec: dg.AssetSpec, execute: Execute, pool: str | None, options: AssetOptions
) -> dg.AssetsDefinition:
    with without_stability_warnings():  # backfill policies
        make = dg.multi_asset(
            name=asset_op_name(processor.batch_type),
            specs=[
                spec.replace_attributes(skippable=True)
            ],  # a batch of which nothing was stored is no more than observed
            check_specs=check_specs_of(spec),
            description=spec.description,
            config_schema=import_schema(processor),
            pool=pool,
            **of_the_op(options, [spec]),
        )

    @make
    def import_batch(context: dg.AssetExecutionContext, reliable_imports: ReliableImportsResource) -> Iterator[Any]:
        yield from execute(context, processor, reliable_imports)

    return import_batch
