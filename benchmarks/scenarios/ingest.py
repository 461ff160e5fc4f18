"""Storing items: create_batch from a generator of dicts, beside COPY into a table with a primary key.

The yardstick does not render JSON, as create_batch does; what that costs, and the key, stands beside it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial

import psycopg2

from benchmarks.measuring import Clock, Figure, interleaved
from benchmarks.processors import DeclaredTableProcessor, NothingProcessor, manager_of
from benchmarks.rows import Item, items_of
from benchmarks.scenarios.bench import Bench
from benchmarks.stored import OUR_ITEMS, check_stored
from reliable_imports import BaseProcessor

_ITEMS = 50_000
_GOAL = 0.8
_GOAL_WITH_DUPLICATES = 0.75
_PLAIN = "CREATE TABLE bench.plain (number bigint{key}, data json)"
_PLAIN_ITEMS = "SELECT number, data FROM bench.plain"


def run(bench: Bench) -> Iterator[Figure]:
    items = items_of(bench.size(_ITEMS))
    ways = {
        "raw COPY, lines rendered beforehand (yardstick)": _copy_rendered,
        "raw COPY, into a table without a key": partial(_copy_rendered, key=""),
        "COPY, lines rendered within the time": _copy_rendering,
        "ours: create_batch from a generator": _ours,
        "ours: the same, looked through for duplicates of a key": partial(_ours, processor=DeclaredTableProcessor),
    }
    results = interleaved(bench.rounds, [partial(_once, bench, items, way) for way in ways.values()])
    yardstick = results[0]["rate"].median
    for name, spreads in zip(ways, results, strict=True):
        ratio = spreads["rate"].median / yardstick
        ours = name.startswith("ours")
        goal = _GOAL_WITH_DUPLICATES if "duplicates" in name else _GOAL
        yield Figure(
            scenario="ingest",
            name=name,
            setting="dicts of about 150 bytes",
            unit="items/s",
            spread=spreads["rate"],
            items=len(items),
            ratio=ratio,
            base="raw COPY",
            goal=f">= {goal:g}x raw COPY" if ours else None,
            reached=ratio >= goal if ours else None,
            note="items with their key and batch" if ours else "",
        )


def _once(bench: Bench, items: list[Item], way: Callable[[str, list[Item], Clock], None]) -> Mapping[str, float]:
    bench.say(f"ingest: {len(items)} items")
    clock = Clock()
    with bench.databases.fresh() as dsn:
        way(dsn, items, clock)
    return {"rate": len(items) / clock.seconds["create"]}


def _lines(items: list[Item]) -> str:
    rendered = (json.dumps(item, ensure_ascii=False).replace("\\", "\\\\") for item in items)
    return "".join(f"{number}\t{line}\n" for number, line in enumerate(rendered, 1))


def _copy_rendered(dsn: str, items: list[Item], clock: Clock, *, key: str = " PRIMARY KEY") -> None:
    lines = _lines(items)
    with closing(_plain(dsn, key=key)) as connection, clock.timing("create"), connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY bench.plain FROM STDIN", io.StringIO(lines))
    check_stored(dsn, _PLAIN_ITEMS, items)


def _copy_rendering(dsn: str, items: list[Item], clock: Clock) -> None:
    with closing(_plain(dsn)) as connection, clock.timing("create"), connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY bench.plain FROM STDIN", io.StringIO(_lines(items)))
    check_stored(dsn, _PLAIN_ITEMS, items)


def _ours(dsn: str, items: list[Item], clock: Clock, *, processor: type[BaseProcessor] = NothingProcessor) -> None:
    manager = manager_of(dsn)
    with clock.timing("create"):
        manager.create_batch(processor.batch_type, (item for item in items))
    check_stored(dsn, OUR_ITEMS, items)


def _plain(dsn: str, *, key: str = " PRIMARY KEY") -> psycopg2.extensions.connection:
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(_PLAIN.format(key=key))
    return connection
