"""The database, as Dagster's runs, sensors and assets are given it."""

from collections.abc import Container, Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from reliable_imports import BatchManager, BatchSummary, ConfigurationError, ProcessorRegistry
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import asset_op_name
from reliable_imports_dagster.run.config import ImportConfig
from reliable_imports_dagster.run.importing import import_asset_batches, raise_failure_of
from reliable_imports_dagster.run.report.run_failure import FailRunOn
from reliable_imports_dagster.run.tags import BATCH_TYPE


class ReliableImportsResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # its value is itself
    """The database that batches are kept in. Connects when a run uses it, and never while definitions load.

    Dagster shows a resource's settings in its UI, so a DSN with a password belongs in a variable:

        ReliableImportsResource(dsn=dg.EnvVar("IMPORTS_DSN"))
    """

    dsn: str | None = Field(
        default=None,
        description="The database; else the variable RELIABLE_IMPORTS_DSN; else the embedded server, which is started.",
    )
    migrate: bool = Field(
        default=True,
        description="Bring the schema and the processors' tables up to date before use; if false, a missing migration "
        "is an error.",
    )
    show_failed_values: bool = Field(
        default=False,
        description="Show, with each reason, which values most of its items have in the field that they failed for. "
        "Dagster keeps them for good, and shows them to all who may see its UI: not for personal data.",
    )

    report_folder: str | None = Field(
        default=None,
        description="A folder in which a page about each batch is written, and linked from its asset, for people "
        "without a shell. It shows data of failed items, but not of sensitive fields.",
    )

    def manager(self, registry: ProcessorRegistry | None = None) -> BatchManager:
        """A manager on this database that knows the processors of *registry*."""
        return BatchManager(self.dsn, registry=registry, migrate=self.migrate)

    def run(
        self, context: dg.AssetExecutionContext, packages: Packages, *, fail_run_on: FailRunOn = "failed"
    ) -> Iterator[Any]:
        """Import a batch for each selected asset of `@reliable_imports_assets`, and of each for every partition of the
        run; those that others depend on first.

        One that fails because of its items does not keep the others waiting; the run fails when all are through.
        """
        registry = discover(packages)
        manager = self.manager(registry)
        summaries: list[BatchSummary] = []
        refused: dict[str, str] = {}
        for key in _in_order(context.assets_def, context.selected_asset_keys):
            batch_type = context.assets_def.specs_by_key[key].metadata.get(BATCH_TYPE)
            if batch_type is None:
                raise ConfigurationError(
                    f"asset {key.to_user_string()} has no metadata {BATCH_TYPE}; a translator must keep that of super()"
                )
            processor = registry.get(batch_type)
            given = (context.op_execution_context.op_config or {}).get(asset_op_name(batch_type), {})
            imported = yield from import_asset_batches(context, manager, processor, ImportConfig(**given), key)
            summaries += imported.summaries
            refused.update({f"{name} of {batch_type}": why for name, why in imported.refused.items()})
        raise_failure_of(summaries, fail_run_on, refused=refused)


def _in_order(assets: dg.AssetsDefinition, selected: Container[dg.AssetKey]) -> list[dg.AssetKey]:
    """Each after those that it depends on; what depends on itself in a circle, Dagster has refused already."""
    ordered: list[dg.AssetKey] = []

    def place(key: dg.AssetKey) -> None:
        for dep in assets.specs_by_key[key].deps:
            if dep.asset_key in assets.specs_by_key and dep.asset_key not in ordered:
                place(dep.asset_key)
        if key not in ordered:
            ordered.append(key)

    for key in sorted(assets.specs_by_key):
        place(key)
    return [key for key in ordered if key in selected]
