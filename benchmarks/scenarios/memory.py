"""The peak of resident memory of a process that creates and works a batch of a million items from a generator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from benchmarks.child import child, read_line, start
from benchmarks.measuring import Figure, Spread, interleaved
from benchmarks.processors import DeclaredUpsertProcessor, manager_of
from benchmarks.rows import check_counts, check_target, completed_and_failed, stream_of
from benchmarks.scenarios.bench import Bench
from benchmarks.ways.ours import DECLARED_UPSERT

_SIZES = (10_000, 1_000_000)
_GOAL = 150.0  # MB
_FLAT = 1.15
_PARTS = {"before": "before the first item", "created": "created", "processed": "created and processed"}


def run(bench: Bench) -> Iterator[Figure]:
    sizes = (100, 400) if bench.quick else _SIZES
    results = interleaved(1, [partial(_once, bench, size) for size in sizes])
    small = results[0]["processed"].median
    for size, spreads in zip(sizes, results, strict=True):
        for part, setting in _PARTS.items():
            yield _figure(size, part, setting, spreads[part], small, is_last=size == sizes[-1])


def _figure(size: int, part: str, setting: str, spread: Spread, small: float, *, is_last: bool) -> Figure:
    is_goal = is_last and part == "processed"
    return Figure(
        scenario="memory",
        name=DECLARED_UPSERT,
        setting=f"{size:,} items, {setting}",
        unit="MB",
        spread=spread,
        items=size,
        ratio=spread.median / small,
        base="the small batch",
        goal=f"< {_GOAL:g} MB and <= {_FLAT:g}x the small batch" if is_goal else None,
        reached=(spread.median < _GOAL and spread.median / small <= _FLAT) if is_goal else None,
    )


def _once(bench: Bench, size: int) -> dict[str, float]:
    bench.say(f"memory: {size:,} items")
    with bench.databases.fresh() as dsn:
        with child("import", dsn, DeclaredUpsertProcessor.batch_type, size) as process:
            start(process)
            found = json.loads(read_line(process))
        summary = manager_of(dsn).get_summary(found["batch_id"])
        expected = completed_and_failed(stream_of(size, 0.01))
        check_counts(str(summary), (summary.completed_items, summary.failed_items), expected)
        check_target(dsn, stream_of(size, 0.01))
    return {part: found[part] / 1e6 for part in _PARTS}
