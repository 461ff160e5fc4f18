"""COPY of lines that were rendered beforehand, straight into the target: the floor. It neither updates nor isolates."""

from __future__ import annotations

import io
from contextlib import closing

import psycopg2

from benchmarks.measuring import Clock
from benchmarks.rows import COLUMNS, Item
from benchmarks.ways.way import Way


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    # No value of ours needs escaping; the check of the target would tell.
    lines = io.StringIO("".join("\t".join(str(item[column]) for column in COLUMNS) + "\n" for item in items))
    with closing(psycopg2.connect(dsn)) as connection, clock.timing("process"):
        with connection.cursor() as cursor:
            cursor.copy_expert(f"COPY bench.target ({', '.join(COLUMNS)}) FROM STDIN", lines)
        connection.commit()


WAYS = [Way("raw COPY of rendered lines", run, isolates=False, tracks="nothing", note="inserts only")]
