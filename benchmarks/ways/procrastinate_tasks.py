"""procrastinate 3: one task for each item, deferred a thousand at a time, worked by one async worker, ten at once.

The worker runs until it has caught up, without LISTEN/NOTIFY, and finished jobs stay, as is its default. A task upserts
with a connection of a pool, committed at once; one that raises is marked as failed. Driver: psycopg 3 with its C
extension.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from typing import Any

import psycopg2

from benchmarks.measuring import Clock
from benchmarks.rows import UPSERT, Item, check_counts, completed_and_failed
from benchmarks.ways.way import Way

_CONCURRENCY = 10
_AT_A_TIME = 1000


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    asyncio.run(_run(dsn, items, clock))
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed') "
            "FROM procrastinate_jobs"
        )
        found: Any = cursor.fetchone()
    check_counts("succeeded and failed jobs", found, completed_and_failed(items))


async def _run(dsn: str, items: list[Item], clock: Clock) -> None:
    import procrastinate
    import psycopg_pool

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))
    target = psycopg_pool.AsyncConnectionPool(dsn, open=False, min_size=_CONCURRENCY, kwargs={"autocommit": True})

    @app.task(name="upsert")
    async def upsert(item: Item) -> None:
        async with target.connection() as connection:
            await connection.execute(UPSERT, item)

    async with app.open_async(), target:
        await app.schema_manager.apply_schema_async()
        with clock.timing("create"):
            for start in range(0, len(items), _AT_A_TIME):
                await upsert.batch_defer_async(*({"item": item} for item in items[start : start + _AT_A_TIME]))
        with clock.timing("process"):
            await app.run_worker_async(
                wait=False, concurrency=_CONCURRENCY, listen_notify=False, install_signal_handlers=False
            )


WAYS = [
    Way(
        "procrastinate, a task an item",
        run,
        isolates=True,
        tracks="status",
        fraction=0.1,
        packages=("procrastinate", "psycopg", "psycopg-binary"),
    )
]
