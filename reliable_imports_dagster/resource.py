"""The database, as Dagster's runs, sensors and assets are given it."""

import dagster as dg
from pydantic import Field

from reliable_imports import BatchManager, ProcessorRegistry


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

    def manager(self, registry: ProcessorRegistry | None = None) -> BatchManager:
        """A manager on this database that knows the processors of *registry*."""
        return BatchManager(self.dsn, registry=registry, migrate=self.migrate)
