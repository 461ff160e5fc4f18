"""`@reliable_imports_assets`: several processors in one step."""

from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg
from typing_extensions import Unpack

from reliable_imports import BaseProcessor
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import asset_op_name
from reliable_imports_dagster.options import AssetOptions, of_the_op, without_stability_warnings
from reliable_imports_dagster.run.config import import_schema
from reliable_imports_dagster.run.importing import check_specs_of
from reliable_imports_dagster.run.params import required_params
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, WithOptions, asset_specs


def reliable_imports_assets(
    packages: Packages,
    *,
    name: str | None = None,
    translator: DagsterReliableImportsTranslator | None = None,
    pool: str | None = None,
    **options: Unpack[AssetOptions],
) -> Callable[[Callable[..., Iterable[Any]]], dg.AssetsDefinition]:
    """Decorates a function that imports several processors in one step, or those of them that are selected:

        @reliable_imports_assets("myapp.processors")
        def imports(context: dg.AssetExecutionContext, reliable_imports: ReliableImportsResource):
            yield from reliable_imports.run(context, "myapp.processors")

    The config of its op has one entry for each batch type, as `ImportConfig` describes it: `{notes: {path: FILE}}`.
    Params without a default are asked for of those that are selected.
    """
    registry = discover(packages)
    specs = asset_specs(registry, WithOptions(translator, options))
    with without_stability_warnings():  # backfill policies
        return dg.multi_asset(
            name=name,
            specs=[spec.replace_attributes(skippable=True) for spec in specs.values()],
            check_specs=[check for spec in specs.values() for check in check_specs_of(spec)],
            config_schema={asset_op_name(processor.batch_type): _optional_schema(processor) for processor in registry},
            can_subset=True,
            pool=pool,
            **of_the_op(options, specs.values()),
        )


def _optional_schema(processor: type[BaseProcessor]) -> Any:
    """A run may select others; then it is not asked for the `Params` of this one."""
    schema = import_schema(processor)
    return dg.Field(schema, is_required=False) if required_params(processor) else schema
