"""A job `import_<type>` for each processor."""

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

import dagster as dg

from reliable_imports import BaseProcessor
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import import_name
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator

if TYPE_CHECKING:
    # What `dg.define_asset_job` returns has no public name.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def build_import_job(
    processor: type[BaseProcessor],
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    executor: dg.ExecutorDefinition | None = dg.in_process_executor,
    tags: Mapping[str, str] | None = None,
    hooks: Set[dg.HookDefinition] | None = None,
) -> "UnresolvedAssetJobDefinition":
    """The job `import_<type>`, which materializes the processor's asset; its definitions must hold that asset too.

    Its run config is that of the asset's op: `ops: {<type>: {config: {path: FILE}}}`.

    Args:
        tags: of each run.
        hooks: on its op, beside those of the asset.
        executor: in the run's own process by default: a batch is one step, and a process for it costs a second.
    """
    asset_key = (translator or DagsterReliableImportsTranslator()).get_asset_spec(processor).key
    return dg.define_asset_job(
        import_name(processor.batch_type),
        selection=dg.AssetSelection.assets(asset_key),
        description=f"Imports one batch of {processor.batch_type}. Re-execute a run of it to resume its batch.",
        executor_def=executor,
        tags=tags,
        hooks=hooks,
    )


def build_import_jobs(
    packages: Packages,
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    executor: dg.ExecutorDefinition | None = dg.in_process_executor,
    tags: Mapping[str, str] | None = None,
    hooks: Set[dg.HookDefinition] | None = None,
) -> "list[UnresolvedAssetJobDefinition]":
    """The jobs of all processors in *packages*, each as `build_import_job` makes it."""
    return [
        build_import_job(processor, translator=translator, executor=executor, tags=tags, hooks=hooks)
        for processor in discover(packages)
    ]
