"""All that is looked at, in the order in which one thing needs another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reliable_imports.postgres.connect import connect
from reliable_imports.preflight import dagster, database, targets
from reliable_imports.preflight.finding import Finding
from reliable_imports.settings import Settings

if TYPE_CHECKING:
    from reliable_imports.manager import BatchManager


def preflight(
    manager: BatchManager,
    settings: Settings,
    *,
    is_embedded: bool,
    batch_type: str | None = None,
    file: str | None = None,
) -> Iterator[Finding]:
    """What was found, one thing after another. Changes nothing; a file's first items are tried and rolled back.

    Args:
        manager: one that knows the processors.
        is_embedded: the database is the embedded server's.
        batch_type: look at this one alone; at all of them if not given.
        file: what is to be imported as *batch_type*.

    Raises:
        psycopg2.OperationalError: the database cannot be reached.
        UnknownBatchType: no processor has this type.
    """
    processors = list(manager.registry) if batch_type is None else [manager.registry.get(batch_type)]
    with connect(manager.dsn) as connection:
        yield from database.check_server(connection)
        is_there, found = database.check_schema(connection, migrates=settings.migrate)
        yield from found
        if is_there:
            yield database.check_rights(connection)
            yield from database.check_batches(connection, batch_type)
        if is_embedded:
            yield database.check_disk(settings.home)
        for processor in processors if is_there else ():
            yield from targets.check_target(connection, processor)
        yield from dagster.check_settings()
        yield from dagster.check_storage(connection)
        if file is not None and batch_type is not None:
            yield from targets.check_file(connection, manager, batch_type, file, may_try=is_there)
