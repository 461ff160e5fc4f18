"""The same rows into the same table in every way there is, with 0, 1 and 10 % of them bad."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks.measuring import Clock, Figure, Spread, interleaved
from benchmarks.rows import check_target, items_of
from benchmarks.scenarios.bench import Bench
from benchmarks.ways import Way, all_ways
from benchmarks.ways.ours import DECLARED_TABLE, DECLARED_UPSERT, OWN_STATEMENT

_ITEMS = 20_000
_SHARES = (0.0, 0.01, 0.1)
_GOALS = {DECLARED_UPSERT: 1.3, DECLARED_TABLE: 1.3, OWN_STATEMENT: 0.65}
_HAND_WRITTEN_GOAL = 10
HAND_WRITTEN = "hand-written, three commits an item"

Timed = dict[tuple[str, float], tuple[Way, int, dict[str, Spread]]]


def run(bench: Bench) -> Iterator[Figure]:
    timed = _measure(bench)
    ((yardstick_name, _), *_) = timed
    for (name, share), (way, count, spreads) in timed.items():
        yardstick = timed[yardstick_name, share][2]["process"].median
        hand_written = timed[HAND_WRITTEN, share][2]
        ratio = spreads["process"].median / yardstick
        to_hand = spreads["process"].median / hand_written["process"].median
        goal, reached = goal_of(name, ratio, to_hand)
        yield Figure(
            scenario="processing",
            name=name,
            setting=f"{share:.0%} bad",
            unit="items/s",
            spread=spreads["process"],
            items=count,
            ratio=ratio,
            base="yardstick, same rows",
            goal=goal,
            reached=reached,
            note="; ".join(filter(None, [f"tracks {way.tracks}", "" if way.isolates else "0% only", way.note])),
            more={
                "create+process": spreads["both"].median,
                "create+process ratio": spreads["both"].median / yardstick,
                "to hand-written": to_hand,
            },
        )


def _measure(bench: Bench) -> Timed:
    """The items/s of all ways at all shares; the first way is the yardstick."""
    shares = (0.0, 0.1) if bench.quick else _SHARES
    plans = []
    for way in all_ways():
        if way.packages and not bench.with_products:
            continue
        if way.versions() is None:
            bench.say(f"left out, for it is not installed: {way.name} ({', '.join(way.packages)})")
            continue
        # A way that cannot isolate bad rows is only given good ones; so is the one that does nothing.
        for share in shares if way.isolates else shares[:1]:
            plans.append((way, share, max(50, round(bench.size(_ITEMS) * way.fraction))))
    results = interleaved(bench.rounds, [partial(_once, bench, *plan) for plan in plans])
    return {
        (way.name, share): (way, count, spreads) for (way, share, count), spreads in zip(plans, results, strict=True)
    }


def _once(bench: Bench, way: Way, share: float, count: int) -> Mapping[str, float]:
    bench.say(f"processing: {way.name}, {share:.0%} bad")
    items = items_of(count, share)
    clock = Clock()
    with bench.databases.fresh() as dsn:
        way.run(dsn, items, clock)
        check_target(dsn, items if way.writes else [])
    return {
        "process": count / clock.seconds["process"],
        "both": count / sum(clock.seconds.values()),
    }


def goal_of(name: str, ratio: float, to_hand: float) -> tuple[str | None, bool | None]:
    """What is aimed at for the way of this name, if anything is, and whether these ratios reach it."""
    if name not in _GOALS:
        return None, None
    bound = _GOALS[name]
    if name != OWN_STATEMENT:
        return f">= {bound:g}x yardstick", ratio >= bound
    return (
        f">= {bound:g}x yardstick, >= {_HAND_WRITTEN_GOAL}x hand-written",
        ratio >= bound and to_hand >= _HAND_WRITTEN_GOAL,
    )
