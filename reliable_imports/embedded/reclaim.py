"""Space that a broken-off import has left behind, given back to the disk."""

from __future__ import annotations

from contextlib import closing, suppress

import psycopg2

_VACUUM = "VACUUM (TRUNCATE) reliable_imports.import_items"


def reclaim_space(dsn: str) -> None:
    """Free what no committed item needs. The server has lost its count of that with its crash, and would not do it."""
    with suppress(psycopg2.Error), closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(_VACUUM)
        cursor.execute("CHECKPOINT")  # after it, the log of all that is not needed either
