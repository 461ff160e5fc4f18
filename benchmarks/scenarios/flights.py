"""A year of flights out of New York City from end to end, beside the same job written by hand.

336,776 flights, of which 17 % fail on two foreign keys: their aircraft or their destination is unknown. Both check
each row against the example's model and upsert it into the example's table; by hand there are three commits an item,
and a table of rejects. By hand a full year takes many minutes, so it is given every 20th flight, except in a large run.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import date, datetime, timedelta
from functools import cache, partial
from itertools import islice

import psycopg2
from psycopg2.extras import Json

from benchmarks import tracking
from benchmarks.measuring import Clock, Figure, interleaved
from benchmarks.rows import WrongResult, check_counts
from benchmarks.scenarios.bench import Bench
from example_repo import DATA, TABLES_SQL
from example_repo.flights_of_2013 import flights_of_2013, full_year_path
from example_repo.processors.flights import Flight
from reliable_imports import BatchManager

Row = dict[str, str]
Way = Callable[[BatchManager, list[Row], Clock, tuple[int, int]], None]

_FLIGHTS = 336_776
_EVERY = 20
_GOAL = 1
_KEY = ("flight_date", "carrier", "flight", "origin")
_REJECTS = "CREATE TABLE bench.rejects (item_id bigint NOT NULL, data jsonb NOT NULL, error text NOT NULL)"


def run(bench: Bench) -> Iterator[Figure]:
    rows = list(islice(flights_of_the_year(), bench.size(_FLIGHTS)))
    every = 1 if bench.large or bench.quick else _EVERY
    works = [partial(_once, bench, rows[::every], _by_hand), partial(_once, bench, rows, _ours)]
    hand, ours = interleaved(min(bench.rounds, 3), works)
    ratio = ours["rate"].median / hand["rate"].median
    share = 1 - len(expected_flights(rows)) / len(rows)
    yield Figure(
        scenario="flights",
        name="hand-written, three commits an item, rejects table",
        setting=f"{share:.0%} bad",
        unit="items/s",
        spread=hand["rate"],
        items=len(rows[::every]),
        ratio=1.0,
        base="hand-written",
        note="" if every == 1 else f"every {every}th flight of the year",
    )
    yield Figure(
        scenario="flights",
        name="ours: the example's FlightsProcessor",
        setting=f"{share:.0%} bad",
        unit="items/s",
        spread=ours["rate"],
        items=len(rows),
        ratio=ratio,
        base="hand-written",
        goal=f">= {_GOAL}x hand-written",
        reached=ratio >= _GOAL,
        note=f"create and process {len(rows):,} flights: {len(rows) / ours['rate'].median:.1f} s",
    )


def _once(bench: Bench, rows: list[Row], way: Way) -> Mapping[str, float]:
    bench.say(f"flights: {len(rows):,}")
    expected = expected_flights(rows)
    clock = Clock()
    with bench.databases.fresh() as dsn:
        manager = BatchManager(dsn)
        manager.registry.discover("example_repo.processors")
        load_what_flights_refer_to(dsn)
        way(manager, rows, clock, (len(expected), len(rows) - len(expected)))
        check_flights(dsn, expected)
    return {"rate": len(rows) / sum(clock.seconds.values())}


def load_what_flights_refer_to(dsn: str) -> None:
    """The example's tables, with its airlines, airports and planes in them."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(TABLES_SQL.read_text(encoding="utf-8"))
        for name, null in (("airlines", ""), ("airports", "NA"), ("planes", "NA")):
            with (DATA / f"{name}.csv").open("rb") as file:
                cursor.copy_expert(f"COPY example.{name} FROM STDIN (FORMAT csv, HEADER, NULL '{null}')", file)


def _ours(manager: BatchManager, rows: list[Row], clock: Clock, expected: tuple[int, int]) -> None:
    with clock.timing("create"):
        batch_id = manager.create_batch("flights", (row for row in rows))
    with clock.timing("process"):
        summary = manager.process_batch(batch_id)
    check_counts(str(summary), (summary.completed_items, summary.failed_items), expected)


def _by_hand(manager: BatchManager, rows: list[Row], clock: Clock, expected: tuple[int, int]) -> None:
    with closing(psycopg2.connect(manager.dsn)) as connection:
        tracking.prepare(connection)
        with connection, connection.cursor() as cursor:
            cursor.execute(_REJECTS)
        with clock.timing("create"):
            tracking.store(connection, rows)
        with clock.timing("process"), connection.cursor() as cursor:
            cursor.execute(tracking.PENDING)
            for number, data in cursor.fetchall():
                cursor.execute(tracking.MARK, ("processing", None, number))
                connection.commit()
                try:
                    flight = Flight.model_validate(
                        {name: None if value == "NA" else value for name, value in data.items()}
                    )
                    cursor.execute(_UPSERT, flight.model_dump())
                    connection.commit()
                except (psycopg2.IntegrityError, ValueError) as error:
                    connection.rollback()
                    cursor.execute("INSERT INTO bench.rejects VALUES (%s, %s, %s)", (number, Json(data), str(error)))
                    cursor.execute(tracking.MARK, ("failed", str(error), number))
                else:
                    cursor.execute(tracking.MARK, ("completed", None, number))
                connection.commit()
        tracking.check(connection, expected)


def _upsert() -> str:
    columns = list(Flight.model_fields)
    values = ", ".join(f"%({column})s" for column in columns)
    sets = ", ".join(f"{column} = EXCLUDED.{column}" for column in columns if column not in _KEY)
    return (
        f"INSERT INTO example.flights ({', '.join(columns)}) VALUES ({values}) "
        f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {sets}"
    )


_UPSERT = _upsert()


def flights_of_the_year() -> Iterator[Row]:
    """The flights of the whole year if they are installed; else the week that is here, repeated on later days."""
    if full_year_path() is not None:
        yield from flights_of_2013()
        return
    with gzip.open(DATA / "flights-2013-week-1.csv.gz", "rt", encoding="utf-8", newline="") as file:
        week = list(csv.DictReader(file))
    for number in range(_FLIGHTS):
        repeats, index = divmod(number, len(week))
        yield _later(week[index], timedelta(days=7 * repeats))


def _later(row: Row, by: timedelta) -> Row:
    day = date(int(row["year"]), int(row["month"]), int(row["day"])) + by
    hour = datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00")) + by
    parts = {"year": str(day.year), "month": str(day.month), "day": str(day.day)}
    return {**row, **parts, "time_hour": hour.isoformat()}


def expected_flights(rows: Iterable[Row]) -> list[str]:
    """One line for each flight whose aircraft (if it names one) and destination are known."""
    return [
        f"{row['year']}-{row['month']:0>2}-{row['day']:0>2}|"
        f"{row['carrier']}|{row['flight']}|{row['origin']}|{row['dest']}|{row['distance']}"
        for row in rows
        if row["tailnum"] in _planes() and row["dest"] in _airports()
    ]


@cache
def _planes() -> set[str]:
    return {row["tailnum"] for row in _read("planes.csv")} | {"NA", ""}


@cache
def _airports() -> set[str]:
    return {row["faa"] for row in _read("airports.csv")}


def _read(name: str) -> list[Row]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_flights(dsn: str, expected: list[str]) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*), md5(string_agg(line, E'\n' ORDER BY line COLLATE "C"))
            FROM (
                SELECT concat_ws('|', flight_date, carrier, flight, origin, dest, distance) AS line FROM example.flights
            ) AS flights
            """
        )
        found = cursor.fetchone()
    digest = hashlib.md5("\n".join(sorted(expected)).encode()).hexdigest()
    if found != (len(expected), digest):
        raise WrongResult(f"example.flights holds (rows, digest) {found}; expected {(len(expected), digest)}")
