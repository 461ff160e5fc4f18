"""pgqueuer 1: one job for each item, enqueued a thousand at a time, worked by one QueueManager until none is left.

It takes 100 jobs at a time. Driver: a pool of asyncpg, its fastest; a job upserts with a connection of the same pool,
committed at once. Finished and failed jobs leave the queue and are noted in pgqueuer_log, as is its default.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import closing
from typing import Any

import psycopg2

from benchmarks.measuring import Clock
from benchmarks.rows import COLUMNS, UPSERT, Item, check_counts, completed_and_failed
from benchmarks.ways.way import Way

_AT_A_TIME = 1000
_BATCH = 100
_CONNECTIONS = 10
_NUMBERED = UPSERT % {column: f"${number}" for number, column in enumerate(COLUMNS, 1)}


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL + 1)
    asyncio.run(_run(dsn, items, clock))
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE status = 'successful'), count(*) FILTER (WHERE status = 'exception') "
            "FROM pgqueuer_log"
        )
        found: Any = cursor.fetchone()
    check_counts("successful and failed jobs", found, completed_and_failed(items))


async def _run(dsn: str, items: list[Item], clock: Clock) -> None:
    import asyncpg
    from pgqueuer import AsyncpgPoolDriver, Job, Queries, QueueManager
    from pgqueuer.types import QueueExecutionMode

    async with asyncpg.create_pool(dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        await queries.install()
        manager = QueueManager(queries)

        @manager.entrypoint("upsert")
        async def upsert(job: Job) -> None:
            item = json.loads(job.payload or b"")
            await pool.execute(_NUMBERED, *(item[column] for column in COLUMNS))

        with clock.timing("create"):
            for start in range(0, len(items), _AT_A_TIME):
                part = [json.dumps(item).encode() for item in items[start : start + _AT_A_TIME]]
                await queries.enqueue(["upsert"] * len(part), list(part), [0] * len(part))
        with clock.timing("process"):
            await manager.run(batch_size=_BATCH, mode=QueueExecutionMode.drain)


WAYS = [
    Way(
        "pgqueuer, a job an item",
        run,
        isolates=True,
        tracks="status, traceback",
        fraction=0.1,
        packages=("pgqueuer", "asyncpg"),
    )
]
