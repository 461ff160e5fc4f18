"""How long `failures` takes with a million failures in 500 batches: the call, and the command, which starts Python.

One batch is processed, and copied row by row as often as is needed; what is asked is what it would be of 500 imports.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2

from benchmarks.measuring import Figure, Spread
from benchmarks.processors import CAUSES, RefusingProcessor, manager_of
from benchmarks.rows import check_counts
from benchmarks.scenarios.bench import Bench

_BATCHES = 500
_FAILURES = 2_000
_CALLS = 20
_GOAL = 500.0  # milliseconds
_JUDGED = "manager.failures()"
_COPY = (Path(__file__).parent / "failures.sql").read_text(encoding="utf-8")


def run(bench: Bench) -> Iterator[Figure]:
    batches = 5 if bench.quick else _BATCHES
    failures = bench.size(_FAILURES)
    bench.say(f"failures: {batches * failures:,} in {batches} batches")
    with bench.databases.fresh() as dsn:
        manager = manager_of(dsn)
        manager.registry.register(RefusingProcessor)
        batch_id = manager.create_batch(
            RefusingProcessor.batch_type,
            [{f"field_{cause}": number % 40 for cause in range(CAUSES)} for number in range(failures)],
        )
        summary = manager.process_batch(batch_id)
        check_counts(str(summary), (summary.failed_items,), (failures,))
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(_COPY, {"batch_id": batch_id, "copies": batches - 1})
            cursor.execute("VACUUM ANALYZE")
        told = manager.failures()
        counts = (len(told), sum(each.items for each in told), {each.batches for each in told})
        check_counts("the reasons", counts, (CAUSES, batches * failures, {batches}))
        command = [sys.executable, "-m", "reliable_imports", "failures", "--dsn", dsn]
        asked: dict[str, Callable[[], object]] = {
            _JUDGED: manager.failures,
            "`failures`": lambda: subprocess.run(command, check=True, capture_output=True),
            "`failures --reason ID`": lambda: subprocess.run(
                [*command, "--reason", told[0].reason], check=True, capture_output=True
            ),
        }
        for name, ask in asked.items():
            spread = Spread(tuple(_timed(ask) for _ in range(2 if bench.quick else _CALLS)))
            yield Figure(
                scenario="failures",
                name=f"ours: {name}",
                setting=f"{batches * failures:,} failures in {batches} batches",
                unit="ms",
                spread=spread,
                items=batches * failures,
                goal=f"< {_GOAL:g} ms" if name == _JUDGED else None,
                reached=spread.median < _GOAL if name == _JUDGED else None,
                note=f"{len(spread.values)} calls",
            )


def _timed(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return (time.perf_counter() - started) * 1000
