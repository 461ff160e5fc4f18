"""Storing items: create_batch from a generator of dicts, beside COPY into a table with a primary key.

The yardstick does not render JSON, as create_batch does, and its connection is there already. What rendering, the key
and the connection cost stands beside it. Two things decide the ratio besides: whether Python has a core of its own
while the server is at work, and how many items share what a delivery costs as such (a session, a batch, its ranges, a
line of the audit log). So it is given for few and for many items, and with client and server on one core and on two.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from functools import partial

import psycopg2

from benchmarks.measuring import Clock, Figure, interleaved
from benchmarks.placement import placed, placements
from benchmarks.processors import DeclaredTableProcessor, NothingProcessor, manager_of
from benchmarks.rows import Item, items_of
from benchmarks.scenarios.bench import Bench
from benchmarks.stored import OUR_ITEMS, check_stored
from reliable_imports import BaseProcessor

_ITEMS = 50_000
_FEW_ITEMS = 10_000
_GOAL = 0.8
_GOAL_WITH_DUPLICATES = 0.75
_YARDSTICK = "raw COPY, lines rendered beforehand (yardstick)"
_KEYED = "raw COPY, lines rendered beforehand, into a table with the key of ours"
_OURS = "ours: create_batch from a generator"
_PLAIN = "CREATE TABLE bench.plain (number bigint{key}, data json)"
_PLAIN_ITEMS = "SELECT number, data FROM bench.plain"
_LIKE_OURS = "CREATE TABLE bench.plain (batch bigint, number integer, data json, PRIMARY KEY (batch, number))"

_Cores = tuple[set[int], set[int]]
_Way = Callable[[str, list[Item], Clock], None]


def run(bench: Bench) -> Iterator[Figure]:
    ways: dict[str, _Way] = {
        _YARDSTICK: _copy_rendered,
        _KEYED: _copy_with_our_key,
        "raw COPY, into a table without a key": partial(_copy_rendered, key=""),
        "raw COPY, over a connection of its own": partial(_copy_rendered, connects=True),
        "COPY, lines rendered within the time": _copy_rendering,
        _OURS: _ours,
        "ours: the same, looked through for duplicates of a key": partial(_ours, processor=DeclaredTableProcessor),
    }
    yield from _compared(bench, ways, bench.size(_ITEMS), None, "", has_goal=True)
    chosen = {name: ways[name] for name in (_YARDSTICK, _KEYED, _OURS)}
    places = {} if bench.quick else placements(bench.databases.server_dsn)
    for place, cores in places.items():
        for count in (_FEW_ITEMS, _ITEMS):
            yield from _compared(bench, chosen, count, cores, f", client and server {place}", has_goal=False)


def _compared(
    bench: Bench, ways: Mapping[str, _Way], count: int, cores: _Cores | None, where: str, *, has_goal: bool
) -> Iterator[Figure]:
    items = items_of(count)
    results = interleaved(bench.rounds, [partial(_once, bench, items, way, cores) for way in ways.values()])
    rates = dict(zip(ways, [spreads["rate"] for spreads in results], strict=True))
    for name, rate in rates.items():
        ratio = rate.median / rates[_YARDSTICK].median
        ours = name.startswith("ours")
        goal = _GOAL_WITH_DUPLICATES if "duplicates" in name else _GOAL
        is_judged = ours and has_goal
        yield Figure(
            scenario="ingest",
            name=name,
            setting=f"{count:,} dicts of about 150 bytes{where}",
            unit="items/s",
            spread=rate,
            items=count,
            ratio=ratio,
            base="raw COPY",
            goal=f">= {goal:g}x raw COPY" if is_judged else None,
            reached=ratio >= goal if is_judged else None,
            note=f"{rate.median / rates[_KEYED].median:.2f} of COPY into a table with the same key" if ours else "",
        )


def _once(bench: Bench, items: list[Item], way: _Way, cores: _Cores | None) -> Mapping[str, float]:
    bench.say(f"ingest: {len(items)} items")
    clock = Clock()
    with bench.databases.fresh() as dsn, placed(dsn, *cores) if cores else nullcontext():
        way(dsn, items, clock)
    return {"rate": len(items) / clock.seconds["create"]}


def _lines(items: list[Item]) -> str:
    rendered = (json.dumps(item, ensure_ascii=False).replace("\\", "\\\\") for item in items)
    return "".join(f"{number}\t{line}\n" for number, line in enumerate(rendered, 1))


def _copy_rendered(
    dsn: str, items: list[Item], clock: Clock, *, key: str = " PRIMARY KEY", connects: bool = False
) -> None:
    lines = _lines(items)
    with closing(_prepared(dsn, _PLAIN.format(key=key))) as connection:
        if connects:
            with clock.timing("create"), closing(psycopg2.connect(dsn)) as own:
                _copy(own, lines)
        else:
            with clock.timing("create"):
                _copy(connection, lines)
    check_stored(dsn, _PLAIN_ITEMS, items)


def _copy_with_our_key(dsn: str, items: list[Item], clock: Clock) -> None:
    lines = "".join(f"1\t{line}" for line in _lines(items).splitlines(keepends=True))
    with closing(_prepared(dsn, _LIKE_OURS)) as connection, clock.timing("create"):
        _copy(connection, lines)
    check_stored(dsn, _PLAIN_ITEMS, items)


def _copy_rendering(dsn: str, items: list[Item], clock: Clock) -> None:
    with closing(_prepared(dsn, _PLAIN.format(key=" PRIMARY KEY"))) as connection, clock.timing("create"):
        _copy(connection, _lines(items))
    check_stored(dsn, _PLAIN_ITEMS, items)


def _ours(dsn: str, items: list[Item], clock: Clock, *, processor: type[BaseProcessor] = NothingProcessor) -> None:
    manager = manager_of(dsn)
    with clock.timing("create"):
        manager.create_batch(processor.batch_type, (item for item in items))
    check_stored(dsn, OUR_ITEMS, items)


def _prepared(dsn: str, table: str) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(table)
    return connection


def _copy(connection: psycopg2.extensions.connection, lines: str) -> None:
    with connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY bench.plain FROM STDIN", io.StringIO(lines))
