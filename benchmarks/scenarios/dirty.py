"""Files with bad rows, from the file to the table, by what one would use instead: whole programs, from start to end.

Each is a program as its practitioners write it, in `benchmarks/dirty/programs`. Time, processor time and memory are of
the program, with the start of Python; what a program takes for a file of one row stands beside. After each run the
table is compared with the good rows, and the rejects with the bad ones.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import psycopg2

from benchmarks.dirty import judged
from benchmarks.dirty.files import FAULTS, OrdersFile, check_nothing_in, check_orders, check_rejects, write_orders
from benchmarks.dirty.process import Cost, run_program
from benchmarks.dirty.shapes import FLIGHTS, NARROW, WIDE, Shape, tables_sql
from benchmarks.dirty.ways import (
    API,
    COMMAND_LINE,
    DLT,
    GIVEN_UP,
    GIVEN_UP_COLUMNS,
    STAGING,
    WAYS,
    DirtyWay,
)
from benchmarks.measuring import Figure, Spread, Words, interleaved
from benchmarks.rows import WrongResult
from benchmarks.scenarios.bench import Bench
from benchmarks.scenarios.flights import (
    check_flights,
    expected_flights,
    flights_of_the_year,
    load_what_flights_refer_to,
)

_ROWS = {NARROW.name: 10_000, WIDE.name: 2_500}
_SHARES = (0.0, 0.01, 0.05, 0.2)
_LARGE_FILE = 100_000
_YEAR = 336_776
_EVERY = 20
_ROUNDS = 3
_SHOWN = ("seconds", "CPU s", "peak MB", "one row, s")
_FIRST_VERSION = 17  # of PostgreSQL, with all that the programs use


def run(bench: Bench) -> Iterator[Figure | Words]:
    with closing(psycopg2.connect(bench.databases.server_dsn)) as connection:
        if connection.server_version < _FIRST_VERSION * 10_000:
            bench.say(f"left out, for it needs PostgreSQL {_FIRST_VERSION}: dirty")
            return
    with tempfile.TemporaryDirectory(prefix="dirty-") as folder:
        measured = _Measured(bench, Path(folder))
        yield from measured.orders(NARROW)
        yield from measured.orders(WIDE)
        year = yield from measured.flights()
        large = yield from measured.large_file()
        yield from judged.run(bench, {**year, **large})
    yield Words("dirty: what one gives up", GIVEN_UP_COLUMNS, GIVEN_UP)


@dataclass(frozen=True, slots=True)
class _Flights:
    """A file of flights: the digest's lines, and the lines of the file that are bad."""

    path: Path
    rows: int
    expected: list[str]
    rejects: dict[int, str]


class _Measured:
    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder
        self._rounds = min(bench.rounds, _ROUNDS)

    def orders(self, shape: Shape) -> Iterator[Figure]:
        chosen = self._chosen(shape)
        plans: list[tuple[DirtyWay, OrdersFile, str]] = []
        for share in (0.05,) if self._bench.quick else _SHARES:
            setting = f"{share:.0%} bad"
            plans += [(way, self._orders_file(way, shape, share, way.takes), setting) for way in chosen]
        for fault in FAULTS if self._bench.large else ():
            setting = f"5% bad, by {fault} alone"
            able = [way for way in chosen if fault in way.takes]
            plans += [(way, self._orders_file(way, shape, 0.05, (fault,)), setting) for way in able]
        are_told = shape is NARROW and not self._bench.quick  # they are the same for all shapes
        starts = {way.name: self._start(way, shape) for way in chosen} if are_told else {}
        results = interleaved(self._rounds, [partial(self._once, way, file) for way, file, _ in plans])
        base = {setting: each for (way, _, setting), each in zip(plans, results, strict=True) if way is STAGING}
        for (way, file, setting), spreads in zip(plans, results, strict=True):
            only = (
                f"; by {way.takes[0]} alone" if len(way.takes) == 1 and file.rejects and "alone" not in setting else ""
            )
            yield _figure(
                f"dirty: {len(shape.columns)} columns",
                way,
                setting + only,
                file.rows,
                spreads,
                base[setting],
                starts.get(way.name),
            )

    def flights(self) -> Iterator[Figure]:
        """Also returns the rates of the whole year, for the ratios that are judged."""
        rows = list(islice(flights_of_the_year(), self._bench.size(_YEAR)))
        year = _write_flights(self._folder / "year.csv", rows)
        part = year if self._bench.quick else _write_flights(self._folder / "part.csv", rows[::_EVERY])
        settings = {part.path: f"every {_EVERY}th flight", year.path: "the whole year"}
        plans = [(way, year) for way in (STAGING, API)]
        if not self._bench.quick:
            plans += [(way, part) for way in self._chosen(FLIGHTS)]
        results = interleaved(self._rounds, [partial(self._once_flights, way, file) for way, file in plans])
        base = {file.path: each for (way, file), each in zip(plans, results, strict=True) if way is STAGING}
        for (way, file), spreads in zip(plans, results, strict=True):
            setting = f"{settings[file.path]}, {len(file.rejects) / file.rows:.0%} bad"
            yield _figure("dirty: flights", way, setting, file.rows, spreads, base[file.path])
        return {judged.YEAR_BY_STAGING: results[0]["rate"], judged.YEAR_BY_OURS: results[1]["rate"]}

    def large_file(self) -> Iterator[Figure]:
        """Also returns the rates that are judged."""
        count = self._bench.size(_LARGE_FILE)
        clean = write_orders(self._folder / "large-clean.csv", NARROW, count, 0.0)
        dirty = write_orders(self._folder / "large-dirty.csv", NARROW, count, 0.01)
        plans = [(COMMAND_LINE, clean), (COMMAND_LINE, dirty)]
        if self._is_there(DLT):
            plans += [(DLT, clean), (DLT, dirty)]
        results = interleaved(self._rounds, [partial(self._once, *plan) for plan in plans])
        base = results[2] if len(results) > 2 else None
        for (way, file), spreads in zip(plans, results, strict=True):
            setting = "0% bad" if file is clean else "1% bad"
            if way is DLT and file is dirty:
                setting += ": refuses all, time until then"
            yield _figure(f"dirty: {count:,} rows", way, setting, count, spreads, base, base_name="dlt, 0% bad")
        names = (judged.FILE_BY_OURS, judged.DIRTY_FILE_BY_OURS, judged.FILE_BY_DLT, judged.DIRTY_FILE_BY_DLT)
        return {name: each["rate"] for name, each in zip(names, results, strict=False)}

    def _chosen(self, shape: Shape) -> list[DirtyWay]:
        ways = [way for way in WAYS if shape.name in way.shapes and self._is_there(way)]
        return [STAGING, COMMAND_LINE] if self._bench.quick and shape is not NARROW else ways

    def _is_there(self, way: DirtyWay) -> bool:
        if way.packages and not self._bench.with_products:
            return False
        if way.versions() is None:
            self._bench.say(f"left out, for it is not installed: {way.name} ({', '.join(way.packages)})")
            return False
        return True

    def _orders_file(self, way: DirtyWay, shape: Shape, share: float, faults: Sequence[str]) -> OrdersFile:
        count = max(100, round(self._bench.size(_ROWS[shape.name]) * way.fraction))
        path = self._folder / f"{shape.name}-{count}-{share}-{'-'.join(faults)}.csv"
        return write_orders(path, shape, count, share, faults)

    def _start(self, way: DirtyWay, shape: Shape) -> float:
        """What the program takes for a file of one row."""
        file = write_orders(self._folder / "one.csv", shape, 1, 0.0)
        return min(self._once(way, file)["seconds"] for _ in range(2))

    def _once(self, way: DirtyWay, file: OrdersFile) -> Mapping[str, float]:
        self._bench.say(f"dirty: {way.name}, {file.path.name}")
        with self._bench.databases.fresh() as dsn:
            with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
                cursor.execute(tables_sql(file.shape))
            refuses = bool(file.rejects) and not way.takes
            status = 1 if refuses else way.status if file.rejects else 0
            cost = run_program(way.command(dsn, file.path, file.shape), self._folder, may_end_with=(status,))
            if refuses:
                check_nothing_in(dsn, file)
            else:
                check_orders(dsn, file)
            query = way.rejects_of(file.shape)
            if query and file.rejects:
                check_rejects(dsn, query, file.rejects, way.silent_about)
        return _values(cost, file.rows)

    def _once_flights(self, way: DirtyWay, file: _Flights) -> Mapping[str, float]:
        self._bench.say(f"dirty: {way.name}, {file.path.name}")
        with self._bench.databases.fresh() as dsn:
            load_what_flights_refer_to(dsn)
            status = way.status if file.rejects else 0
            cost = run_program(way.command(dsn, file.path, FLIGHTS), self._folder, may_end_with=(status,))
            check_flights(dsn, file.expected)
            query = way.rejects_of(FLIGHTS)
            if query is None:
                raise WrongResult(f"{way.name} keeps no rejects")
            check_rejects(dsn, query, file.rejects)
        return _values(cost, file.rows)


def _write_flights(path: Path, rows: Sequence[dict[str, str]]) -> _Flights:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    good = [bool(expected_flights([row])) for row in rows]
    rejects = {line: "flight" for line, is_good in enumerate(good, 2) if not is_good}
    return _Flights(path, len(rows), expected_flights(rows), rejects)


def _values(cost: Cost, rows: int) -> Mapping[str, float]:
    return {"rate": rows / cost.seconds, "seconds": cost.seconds, "cpu": cost.cpu, "peak": cost.peak / 1e6}


def _figure(
    scenario: str,
    way: DirtyWay,
    setting: str,
    rows: int,
    spreads: Mapping[str, Spread],
    base: Mapping[str, Spread] | None,
    start: float | None = None,
    base_name: str = "staging script",
) -> Figure:
    more = dict(zip(_SHOWN, (spreads["seconds"].median, spreads["cpu"].median, spreads["peak"].median), strict=False))
    if start is not None:
        more["one row, s"] = start
    return Figure(
        scenario=scenario,
        name=way.name,
        setting=setting,
        unit="rows/s",
        spread=spreads["rate"],
        items=rows,
        ratio=spreads["rate"].median / base["rate"].median if base else None,
        base=base_name if base else None,
        more=more,
        shown=tuple(more),
    )
