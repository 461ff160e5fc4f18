"""dlt 1: a resource with write_disposition merge, strategy upsert, on the primary key, to the destination postgres.

Set for speed: pages of 5,000 rows, files in CSV, which dlt loads with COPY, and the strategy upsert, which is faster
than delete-insert here. dlt makes staging tables of its own and wants two columns more in the target, which are added
beforehand; extract, normalize and load are all timed. One bad row fails the load, so only good rows are given. What is
tracked is the load.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing

import psycopg2

from benchmarks.measuring import Clock
from benchmarks.rows import TEXT_COLUMNS, Item
from benchmarks.ways.way import Way

_DLT_COLUMNS = """
ALTER TABLE bench.target
    ADD COLUMN _dlt_load_id varchar NOT NULL,
    ADD COLUMN _dlt_id varchar NOT NULL
"""


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # a benchmark talks to nobody
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    import dlt

    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_DLT_COLUMNS)

    @dlt.resource(
        name="target",
        primary_key="code",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        columns={column: {"data_type": "text" if column in TEXT_COLUMNS else "bigint"} for column in items[0]},
        file_format="csv",
    )
    def rows() -> Iterator[list[Item]]:
        for start in range(0, len(items), 5000):
            yield items[start : start + 5000]

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "benchmark",
            destination=dlt.destinations.postgres(dsn),
            dataset_name="bench",
            pipelines_dir=folder,
        )
        with clock.timing("process"):
            pipeline.run(rows())


WAYS = [
    Way("dlt merge (upsert), CSV", run, isolates=False, tracks="loads", packages=("dlt",)),
]
