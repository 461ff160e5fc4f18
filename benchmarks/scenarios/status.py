"""How long `manager.get_summary` takes on a batch of a million items, while it is worked and afterwards.

A call opens a connection, asks and closes it, as it does for everybody.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.child import child, read_line, start
from benchmarks.measuring import Figure, Spread
from benchmarks.processors import NothingProcessor, manager_of
from benchmarks.rows import check_counts, stream_of
from benchmarks.scenarios.bench import Bench
from reliable_imports import BatchManager, BatchStatus

_ITEMS = 1_000_000
_CALLS = 100
_GOAL = 20.0  # milliseconds


def run(bench: Bench) -> Iterator[Figure]:
    count = bench.size(_ITEMS)
    bench.say(f"status: a batch of {count:,} items")
    with bench.databases.fresh() as dsn:
        manager = manager_of(dsn)
        batch_id = manager.create_batch(NothingProcessor.batch_type, stream_of(count))
        with child("process", dsn, batch_id) as process:
            start(process)
            during = _calls_while_it_runs(manager, batch_id)
            read_line(process)
        after = [_timed(manager, batch_id) for _ in range(5 if bench.quick else _CALLS)]
        summary = manager.get_summary(batch_id)
        check_counts(str(summary), (summary.completed_items, summary.total_items), (count, count))
    for setting, values in (("while it is worked", during), ("finished", after)):
        if values:  # a quick run may be over at once
            spread = Spread(tuple(values))
            yield Figure(
                scenario="status",
                name="ours: get_summary",
                setting=f"{count:,} items, {setting}",
                unit="ms",
                spread=spread,
                items=count,
                goal=f"< {_GOAL:g} ms",
                reached=spread.median < _GOAL,
                note=f"{len(values)} calls",
            )


def _calls_while_it_runs(manager: BatchManager, batch_id: int) -> list[float]:
    """Calls spread over the time of the run; those before its begin and after its end do not count."""
    values: list[float] = []
    while True:
        value = _timed(manager, batch_id)
        summary = manager.get_summary(batch_id)
        if summary.status.is_final:
            return values
        if summary.status == BatchStatus.PROCESSING:
            values.append(value)
        time.sleep(0.2)


def _timed(manager: BatchManager, batch_id: int) -> float:
    started = time.perf_counter()
    manager.get_summary(batch_id)
    return (time.perf_counter() - started) * 1000
