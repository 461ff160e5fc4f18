"""Two worker processes on one batch, beside one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks.child import child, read_line, start
from benchmarks.measuring import Clock, Figure, interleaved
from benchmarks.processors import DeclaredUpsertProcessor, OwnStatementProcessor, manager_of
from benchmarks.rows import check_counts, check_target, completed_and_failed, items_of
from benchmarks.scenarios.bench import Bench
from benchmarks.ways.ours import DECLARED_UPSERT, OWN_STATEMENT
from reliable_imports import BaseProcessor

_ITEMS = 40_000
_BAD = 0.01
_GOAL = 1.6
_PROCESSORS: dict[str, type[BaseProcessor]] = {
    DECLARED_UPSERT: DeclaredUpsertProcessor,
    OWN_STATEMENT: OwnStatementProcessor,
}


def run(bench: Bench) -> Iterator[Figure]:
    names = list(_PROCESSORS)[: 1 if bench.quick else None]
    plans = [(name, workers) for name in names for workers in (1, 2)]
    results = interleaved(bench.rounds, [partial(_once, bench, _PROCESSORS[name], workers) for name, workers in plans])
    spreads = {plan: result["rate"] for plan, result in zip(plans, results, strict=True)}
    for (name, workers), spread in spreads.items():
        ratio = spread.median / spreads[name, 1].median
        yield Figure(
            scenario="workers",
            name=name,
            setting=f"{workers} worker{'s' * (workers > 1)}, {_BAD:.0%} bad",
            unit="items/s",
            spread=spread,
            items=bench.size(_ITEMS),
            ratio=ratio,
            base="one worker",
            goal=f">= {_GOAL:g}x one worker" if workers > 1 else None,
            reached=ratio >= _GOAL if workers > 1 else None,
            note="the server runs on the same cores" if workers > 1 else "",
        )


def _once(bench: Bench, processor: type[BaseProcessor], workers: int) -> Mapping[str, float]:
    bench.say(f"workers: {processor.batch_type}, {workers}")
    items = items_of(bench.size(_ITEMS), _BAD)
    clock = Clock()
    with bench.databases.fresh() as dsn, ExitStack() as stack:
        manager = manager_of(dsn)
        batch_id = manager.create_batch(processor.batch_type, items)
        processes = [stack.enter_context(child("process", dsn, batch_id)) for _ in range(workers)]
        with clock.timing("process"):
            for process in processes:
                start(process)
            for process in processes:
                read_line(process)
        summary = manager.get_summary(batch_id)
        check_counts(str(summary), (summary.completed_items, summary.failed_items), completed_and_failed(items))
        check_target(dsn, items)
    return {"rate": len(items) / clock.seconds["process"]}
