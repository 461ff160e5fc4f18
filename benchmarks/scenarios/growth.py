"""What an item costs in batches of 10,000, 100,000 and, in a large run, 1,000,000; also beside an old snapshot.

The old snapshot is held by another session in a REPEATABLE READ transaction from before the batch is made: while it
lasts, no dead row and no dead index entry can be removed. That is where queues in PostgreSQL slow down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from functools import partial

import psycopg2

from benchmarks.measuring import Clock, Figure, Spread, interleaved
from benchmarks.processors import DeclaredUpsertProcessor, manager_of
from benchmarks.rows import check_counts, check_target, completed_and_failed, stream_of
from benchmarks.scenarios.bench import Bench
from benchmarks.ways.ours import DECLARED_UPSERT

_BAD = 0.01
_FLAT = 1.15


def run(bench: Bench) -> Iterator[Figure]:
    sizes = (100, 400) if bench.quick else (10_000, 100_000)
    plans = [(size, held) for size in sizes for held in (False, True)]
    found = _measure(bench, bench.rounds, plans)
    if bench.large and not bench.quick:
        found |= _measure(bench, 1, [(1_000_000, False), (1_000_000, True)])
    base = found[sizes[0], False].median
    for (size, held), spread in found.items():
        ratio = spread.median / base
        is_base = (size, held) == (sizes[0], False)
        yield Figure(
            scenario="growth",
            name=DECLARED_UPSERT,
            setting=f"{size:,} items in a batch{', an old snapshot held' if held else ''}",
            unit="µs/item",
            spread=spread,
            items=size,
            ratio=ratio,
            base=f"{sizes[0]:,} items",
            goal=None if is_base else f"<= {_FLAT:g}x {sizes[0]:,} items",
            reached=None if is_base else ratio <= _FLAT,
        )


def _measure(bench: Bench, rounds: int, plans: list[tuple[int, bool]]) -> dict[tuple[int, bool], Spread]:
    results = interleaved(rounds, [partial(_once, bench, *plan) for plan in plans])
    return {plan: result["cost"] for plan, result in zip(plans, results, strict=True)}


def _once(bench: Bench, size: int, held: bool) -> Mapping[str, float]:
    bench.say(f"growth: {size:,} items{', an old snapshot held' if held else ''}")
    clock = Clock()
    with bench.databases.fresh() as dsn, _old_snapshot(dsn) if held else nullcontext():
        manager = manager_of(dsn)
        batch_id = manager.create_batch(DeclaredUpsertProcessor.batch_type, stream_of(size, _BAD))
        with clock.timing("process"):
            summary = manager.process_batch(batch_id)
        check_counts(
            str(summary),
            (summary.completed_items, summary.failed_items),
            completed_and_failed(stream_of(size, _BAD)),
        )
        check_target(dsn, stream_of(size, _BAD))
    return {"cost": clock.seconds["process"] / size * 1e6}


@contextmanager
def _old_snapshot(dsn: str) -> Iterator[None]:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM reliable_imports.import_batches")
            yield
