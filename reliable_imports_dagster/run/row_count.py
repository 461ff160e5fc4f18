"""How many rows a processor's table has, which Dagster shows with the asset."""

import psycopg2
from psycopg2 import sql

from reliable_imports import BatchManager, TableProcessor
from reliable_imports.postgres import connect, transaction

_PATIENCE = "1s"


def rows_in_table(manager: BatchManager, batch_type: str) -> int | None:
    """Counted, for the sum of what batches completed is another number: a row may be written by many.

    None if the processor names no table, and if counting is refused or takes longer than a second: the number is an
    extra, and no reason to fail a batch that is done.
    """
    processor = manager.registry.get(batch_type)
    if not issubclass(processor, TableProcessor):
        return None
    try:
        with connect(manager.dsn) as connection, transaction(connection) as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{_PATIENCE}'")
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*processor.table.split("."))))
            [rows] = cursor.fetchone()
            return int(rows)
    except psycopg2.Error:
        return None
