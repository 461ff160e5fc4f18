"""Readings of sensors, more of them than one would like to import twice.

    python examples/big_file.py ROWS > readings.csv

writes a file of them, in which one row of a thousand is bad.
"""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from reliable_imports import TableProcessor


class ReadingsProcessor(TableProcessor):
    table = "sensors.readings"
    setup_sql = Path(__file__).with_suffix(".sql")
    max_failed_share = 0.05  # more than that, and somebody should look before the rest goes in


def write_file(rows: int) -> None:
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    print("sensor,taken_at,celsius")
    for number in range(rows):
        celsius = 999 if number % 1000 == 500 else 15 + number % 7
        print(f"{number % 50},{(begin + timedelta(minutes=number // 50)).isoformat()},{celsius}")


if __name__ == "__main__":
    write_file(int(sys.argv[1]))
