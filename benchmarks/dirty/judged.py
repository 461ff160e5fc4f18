"""The ratios that say what dirty data costs here, each with its goal; client and server on one core and on two.

The yardstick is told in every form: good rows alone, with RETURNING, and, among bad rows, with a savepoint around each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from functools import partial

import psycopg2

from benchmarks.measuring import Clock, Figure, Spread, interleaved
from benchmarks.placement import placed, placements
from benchmarks.processors import (
    RETURNING_ID,
    RETURNING_KEY,
    DeclaredTableProcessor,
    DeclaredUpsertProcessor,
    NothingProcessor,
    ReturningIdProcessor,
    ReturningKeyProcessor,
    manager_of,
)
from benchmarks.rows import NUMBERED, TARGET, Item, check_target, items_of
from benchmarks.scenarios.bench import Bench
from benchmarks.ways import ours
from benchmarks.ways.yardstick import upsert_all

YEAR_BY_STAGING, YEAR_BY_OURS = "year by staging", "year by ours"
FILE_BY_OURS, DIRTY_FILE_BY_OURS = "file by ours", "dirty file by ours"
FILE_BY_DLT, DIRTY_FILE_BY_DLT = "file by dlt", "dirty file by dlt"

_ITEMS = 10_000
_ROUNDS = 3
_SHARES = (0.0, 0.01, 0.1)
_ONE_CORE = "on one core"

Work = Callable[[str, list[Item], Clock], None]
Cores = tuple[set[int], set[int]] | None

_GOOD = "untracked upserts of good rows"
_GOOD_KEY = "untracked upserts of good rows, RETURNING of a given key"
_GOOD_ID = "untracked upserts of good rows, RETURNING of an id from a sequence"
_SAVEPOINTS = "untracked upserts, a savepoint each"
_SAVEPOINTS_KEY = "untracked upserts, a savepoint each, RETURNING of a given key"
_DECLARED = "ours: declared, ctx.upsert"
_TABLE = "ours: declared, TableProcessor with a pydantic model"
_OWN_KEY = "ours: own statement with RETURNING of a given key"
_OWN_ID = "ours: own statement with RETURNING of an id from a sequence"

_WORKS: Mapping[str, Work] = {
    _GOOD: partial(upsert_all, savepoints=False),
    _GOOD_KEY: partial(upsert_all, savepoints=False, statement=RETURNING_KEY),
    _GOOD_ID: partial(upsert_all, savepoints=False, statement=RETURNING_ID),
    _SAVEPOINTS: partial(upsert_all, savepoints=True),
    _SAVEPOINTS_KEY: partial(upsert_all, savepoints=True, statement=RETURNING_KEY),
    _DECLARED: partial(ours.run, DeclaredUpsertProcessor),
    _TABLE: partial(ours.run, DeclaredTableProcessor),
    _OWN_KEY: partial(ours.run, ReturningKeyProcessor),
    _OWN_ID: partial(ours.run, ReturningIdProcessor),
}
_ONLY_GOOD = (_GOOD, _GOOD_KEY, _GOOD_ID)
_ONLY_SOME_BAD = (_SAVEPOINTS, _SAVEPOINTS_KEY)
_GOOD_OF = {**dict.fromkeys((_GOOD_KEY, _SAVEPOINTS_KEY, _OWN_KEY), _GOOD_KEY), _GOOD_ID: _GOOD_ID, _OWN_ID: _GOOD_ID}
"""The good rows that a way is compared with, where they are not those without RETURNING."""

Rates = dict[tuple[str, str, float], Spread]
"""Items a second by cores, way and share of bad items."""


def run(bench: Bench, from_files: Mapping[str, Spread]) -> Iterator[Figure]:
    """First what was measured in one process, then the ratios, with those of *from_files*, rates by the names above."""
    rates = _measure(bench)
    for (place, name, share), spread in rates.items():
        base = rates[place, _GOOD_OF.get(name, _GOOD), 0.0]
        yield Figure(
            scenario="dirty: one process",
            name=name,
            setting=f"client and server {place}, {share:.0%} bad",
            unit="items/s",
            spread=spread,
            items=bench.size(_ITEMS),
            ratio=spread.median / base.median,
            base="good rows, same RETURNING and cores",
        )
    yield from _judged(rates, from_files)
    yield from _bytes(bench)


def _measure(bench: Bench) -> Rates:
    places: Mapping[str, Cores] = placements(bench.databases.server_dsn) or {"where they are put": None}
    if bench.quick:
        places = dict(list(places.items())[:1])
    shares = (0.0, 0.1) if bench.quick else _SHARES
    plans = [
        (place, name, share)
        for place in places
        for name in _WORKS
        for share in shares
        if not (share and name in _ONLY_GOOD) and not (not share and name in _ONLY_SOME_BAD)
    ]
    results = interleaved(
        min(bench.rounds, _ROUNDS),
        [partial(_once, bench, places[place], name, share) for place, name, share in plans],
    )
    return {plan: each["rate"] for plan, each in zip(plans, results, strict=True)}


def _once(bench: Bench, cores: Cores, name: str, share: float) -> Mapping[str, float]:
    bench.say(f"dirty: {name}, cores {cores}, {share:.0%} bad")
    items = items_of(bench.size(_ITEMS), share)
    clock = Clock()
    with bench.databases.fresh() as dsn:
        with placed(dsn, *cores) if cores else nullcontext():
            _WORKS[name](dsn, items, clock)
        check_target(dsn, items, NUMBERED if _GOOD_OF.get(name) == _GOOD_ID else TARGET)
    return {"rate": len(items) / clock.seconds["process"]}


def _judged(rates: Rates, from_files: Mapping[str, Spread]) -> Iterator[Figure]:
    yield _ratio(
        "flights year, create and process, to the staging script",
        "whole programs, 17% bad",
        from_files[YEAR_BY_OURS],
        from_files[YEAR_BY_STAGING],
        0.33,
    )
    for place in dict.fromkeys(place for place, _, _ in rates):
        for name in (_DECLARED, _TABLE):
            for share, goal in ((0.01, 0.9), (0.1, 0.6)):
                if (place, name, share) in rates:
                    yield _ratio(
                        f"{name.removeprefix('ours: ')}, at {share:.0%} bad to 0%",
                        place,
                        rates[place, name, share],
                        rates[place, name, 0.0],
                        goal,
                    )
            goal_on_one_core = 1.2 if place == _ONE_CORE else None
            yield _ratio(
                f"{name.removeprefix('ours: ')}, at 10% bad to untracked good rows",
                place,
                rates[place, name, 0.1],
                rates[place, _GOOD, 0.0],
                goal_on_one_core,
            )
        for name in (_OWN_KEY, _OWN_ID):
            for share in _SHARES:
                if (place, name, share) in rates:
                    yield _ratio(
                        f"{name.removeprefix('ours: ')}, at {share:.0%} bad to untracked good rows",
                        place,
                        rates[place, name, share],
                        rates[place, _GOOD_OF[name], 0.0],
                        0.6 if place == _ONE_CORE and not share else None,
                    )
    if FILE_BY_DLT in from_files:
        yield _ratio(
            "`import FILE` to dlt", "whole programs, 0% bad", from_files[FILE_BY_OURS], from_files[FILE_BY_DLT], 2
        )
        yield _ratio(
            "`import FILE` with 1% bad to dlt with none, for dlt refuses all",
            "whole programs",
            from_files[DIRTY_FILE_BY_OURS],
            from_files[FILE_BY_DLT],
            2,
        )


def _ratio(name: str, setting: str, value: Spread, base: Spread, goal: float | None) -> Figure:
    """Of the values of each round, for what the machine does falls upon both."""
    spread = Spread(tuple(one / other for one, other in zip(value.values, base.values, strict=True)))
    return Figure(
        scenario="dirty: judged",
        name=name,
        setting=setting,
        unit="ratio",
        spread=spread,
        goal=None if goal is None else f">= {goal:g}",
        reached=None if goal is None else spread.median >= goal,
    )


def _bytes(bench: Bench) -> Iterator[Figure]:
    """What our tables and their indexes grow by for an item, beside the text of the item itself; no result."""
    goal = 200
    items = items_of(bench.size(5 * _ITEMS))
    with bench.databases.fresh() as dsn:
        manager = manager_of(dsn)
        empty = _size(dsn)
        batch_id = manager.create_batch(NothingProcessor.batch_type, items)
        created = _size(dsn)
        manager.process_batch(batch_id)
        processed = _size(dsn)
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT sum(octet_length(source_data::text)) FROM reliable_imports.import_items")
            row = cursor.fetchone()
    source = int(row[0]) if row else 0
    parts = {
        "bytes an item beside its source text": processed - empty - source,
        "of them when it is stored": created - empty - source,
        "of them when it is processed": processed - created,
    }
    for name, size in parts.items():
        is_judged = size == processed - empty - source
        yield Figure(
            scenario="dirty: bytes",
            name=name,
            setting="an item that does nothing",
            unit="bytes",
            spread=Spread((size / len(items),)),
            items=len(items),
            goal=f"<= {goal}" if is_judged else None,
            reached=size / len(items) <= goal if is_judged else None,
        )


def _size(dsn: str) -> int:
    """Bytes of all our tables with their indexes."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relnamespace = 'reliable_imports'::regnamespace AND relkind = 'r'"
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0
