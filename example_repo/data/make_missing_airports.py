"""Makes missing_airports.csv from the package `airportsdata`: the airports that flights go to and airports.csv lacks.

After `pip install airportsdata`, run `python example_repo/data/make_missing_airports.py`.
"""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import airportsdata

CODES = ("BQN", "PSE", "SJU", "STT")
YEAR = 2013
TARGET = Path(__file__).with_name("missing_airports.csv")


def main() -> None:
    airports = airportsdata.load("IATA")
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("faa", "name", "lat", "lon", "alt", "tz", "dst", "tzone"))
        for code in CODES:
            airport = airports[code]
            winter, summer = (_offset(airport["tz"], month) for month in (1, 7))
            writer.writerow(
                (
                    code,
                    airport["name"],
                    airport["lat"],
                    airport["lon"],
                    round(airport["elevation"]),
                    winter // timedelta(hours=1),
                    "N" if winter == summer else "A",
                    airport["tz"],
                )
            )


def _offset(zone: str, month: int) -> timedelta:
    offset = datetime(YEAR, month, 1, tzinfo=ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset


if __name__ == "__main__":
    main()
