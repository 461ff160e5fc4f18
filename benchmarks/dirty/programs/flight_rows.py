"""A line of the file of flights as a row of the table, for programs in Python that use no library for that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time

from benchmarks.dirty.shapes import FLIGHTS

_COUNTS = ("dep_delay", "arr_delay", "air_time")


def flight_row(line: Mapping[str, str]) -> dict[str, object]:
    """Raises ValueError where a value is none of its kind."""
    given = {name: None if value in ("", "NA") else value for name, value in line.items()}
    row: dict[str, object] = {column: given.get(column) for column in FLIGHTS.columns}
    row["flight_date"] = date(int(line["year"]), int(line["month"]), int(line["day"]))
    row["flight"], row["distance"] = int(line["flight"]), int(line["distance"])
    for column in _COUNTS:
        row[column] = _whole(given[column])
    for column in ("sched_dep_time", "dep_time", "sched_arr_time", "arr_time"):
        row[column] = _clock(given[column])
    return row


def _whole(value: str | None) -> int | None:
    return None if value is None else int(value)


def _clock(value: str | None) -> time | None:
    if value is None:
        return None
    hours, minutes = divmod(int(value), 100)
    return time(hours % 24, minutes)
