"""What the ratios of `processing` owe to the cores that client and server happen to run on.

A way that waits for an answer after every row is at its best when both share a core, for no other has to be woken up;
on two cores each answer costs a wake-up, and where that is slow, as in many virtual machines, the same way is several
times slower. Left alone, the scheduler goes from one to the other as it likes. Ways that send much at once hardly
notice. So the ratio to the yardstick is given for both, with client and server pinned.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.measuring import Clock, Figure, interleaved
from benchmarks.placement import placed, placements
from benchmarks.rows import check_target, items_of
from benchmarks.scenarios.bench import Bench
from benchmarks.scenarios.processing import HAND_WRITTEN, goal_of
from benchmarks.ways import Way, all_ways
from benchmarks.ways.ours import DECLARED_TABLE, DECLARED_UPSERT, OWN_STATEMENT

_ITEMS = 20_000
_SHARES = (0.0, 0.01)


def run(bench: Bench) -> Iterator[Figure]:
    ways = all_ways()
    ours = (DECLARED_UPSERT,) if bench.quick else (DECLARED_UPSERT, DECLARED_TABLE, OWN_STATEMENT)
    chosen = [
        ways[0],
        *(way for way in ways if way.name in (HAND_WRITTEN, *ours)),
    ]
    places = placements(bench.databases.server_dsn)
    shares = _SHARES[:1] if bench.quick else _SHARES
    plans = [(place, share, way) for place in places for share in shares for way in chosen]
    if not plans:
        bench.say("left out, for cores cannot be chosen here: placement")
        return
    results = interleaved(
        bench.rounds, [partial(_once, bench, places[place], share, way) for place, share, way in plans]
    )
    rates = {(place, share, way.name): each["rate"] for (place, share, way), each in zip(plans, results, strict=True)}
    for place, share, way in plans:
        spread = rates[place, share, way.name]
        ratio = spread.median / rates[place, share, ways[0].name].median
        goal, reached = goal_of(way.name, ratio, spread.median / rates[place, share, HAND_WRITTEN].median)
        yield Figure(
            scenario="placement",
            name=way.name,
            setting=f"client and server {place}, {share:.0%} bad",
            unit="items/s",
            spread=spread,
            items=_count(bench, way),
            ratio=ratio,
            base="yardstick, same rows and cores",
            goal=goal,
            reached=reached,
        )


def _count(bench: Bench, way: Way) -> int:
    return max(50, round(bench.size(_ITEMS) * way.fraction))


def _once(bench: Bench, cores: tuple[set[int], set[int]], share: float, way: Way) -> dict[str, float]:
    bench.say(f"placement: {way.name}, cores {cores}, {share:.0%} bad")
    items = items_of(_count(bench, way), share)
    clock = Clock()
    with bench.databases.fresh() as dsn:
        with placed(dsn, *cores):
            way.run(dsn, items, clock)
        check_target(dsn, items)
    return {"rate": len(items) / clock.seconds["process"]}
