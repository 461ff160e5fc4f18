"""The check of what has been stored, in our items or in the plain tables that ingest is compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import closing

import psycopg2

from benchmarks.rows import COLUMNS, Item, WrongResult

OUR_ITEMS = "SELECT item_number AS number, source_data AS data FROM reliable_imports.import_batch_items"

_DIGEST = """
WITH stored AS ({query})
SELECT count(*), md5(string_agg(concat_ws('|', {values}), E'\n' ORDER BY number)) FROM stored
"""


def check_stored(dsn: str, query: str, items: Iterable[Item]) -> None:
    """What *query* gives as `number` and `data` (JSON) are *items*, in their order and with their values."""
    lines = ["|".join(str(item[column]) for column in COLUMNS) for item in items]
    expected = (len(lines), hashlib.md5("\n".join(lines).encode()).hexdigest())
    values = ", ".join(f"data ->> '{column}'" for column in COLUMNS)
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(_DIGEST.format(query=query, values=values))
        found = cursor.fetchone()
    if found != expected:
        raise WrongResult(f"stored are (items, digest) {found}; expected {expected}")
