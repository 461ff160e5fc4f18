"""CSV files with so many bad rows, what must come of each, and the check that it has."""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psycopg2

from benchmarks.dirty.shapes import CUSTOMERS, Shape
from benchmarks.rows import WrongResult

# What a reason must name: the column at fault, for that is what somebody has to look at.
COLUMNS_AT_FAULT = {
    "foreign key": ("customer",),
    "check": ("quantity",),
    "model": ("price", "ordered_on"),
    "unique": ("reference",),
    "flight": ("tailnum", "dest"),
}
FAULTS = ("foreign key", "check", "model", "unique")


@dataclass(frozen=True, slots=True)
class OrdersFile:
    """A file of orders, and what must be in the table, and among the rejects, when it has been imported.

    Attributes:
        digest: of the good rows, as `table_digest` has it.
        rejects: what is wrong with a bad row, by its line in the file.
    """

    path: Path
    shape: Shape
    rows: int
    digest: tuple[int, str]
    rejects: dict[int, str]


def write_orders(path: Path, shape: Shape, count: int, bad_share: float, faults: Sequence[str] = FAULTS) -> OrdersFile:
    """*count* orders, always the same ones, the bad ones spread at random and each fault in its turn.

    An order of which the fault is `unique` has the reference of the good order nearest before it.
    """
    wanted = max(len(faults), round(count * bad_share)) if bad_share else 0
    numbers = random.Random(11).sample(range(1, count), wanted)
    bad = {number: faults[turn % len(faults)] for turn, number in enumerate(numbers)}
    lines: list[str] = []
    rejects = {}
    last_good_reference = ""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(shape.columns)
        for number in range(count):
            order = _order(number, shape)
            fault = bad.get(number)
            if fault is None:
                last_good_reference = order["reference"]
                lines.append("|".join(order.values()))
            else:
                rejects[number + 2] = fault
                order.update(_spoilt(fault, number, last_good_reference))
            writer.writerow(order.values())
    return OrdersFile(path, shape, count, _digest(lines), rejects)


def _order(number: int, shape: Shape) -> dict[str, str]:
    order = {
        "order_no": f"O{number:08d}",
        "reference": f"REF-{number * 7919 % 100_000_007:09d}",
        "customer_id": str(number * 37 % CUSTOMERS + 1),
        "quantity": str(number % 40 + 1),
        "price": f"{number * 97 % 100_003 / 100:.2f}",
        "ordered_on": str(date(2024, 1, 1) + timedelta(days=number % 366)),
    }
    for place, (column, type_) in enumerate(list(shape.columns.items())[len(order) :]):
        order[column] = _value(type_, number + place)
    return order


def _value(type_: str, number: int) -> str:
    match type_:
        case "text":
            return f"a few words, the {number % 1009}th"
        case "integer":
            return str(number * 31 % 100_003)
        case "date":
            return str(date(2020, 1, 1) + timedelta(days=number % 1461))
        case "boolean":
            return "true" if number % 2 else "false"
        case _:
            return f"{number * 53 % 100_003 / 100:.2f}"


def _spoilt(fault: str, number: int, last_good_reference: str) -> dict[str, str]:
    match fault:
        case "foreign key":
            return {"customer_id": str(CUSTOMERS + 1 + number)}
        case "check":
            return {"quantity": "0"}
        case "model":
            return {"price": "on request"} if number % 2 else {"ordered_on": "2024-02-31"}
        case _:
            return {"reference": last_good_reference}


def check_orders(dsn: str, file: OrdersFile) -> None:
    """Every good row is in the table as it was given, and nothing else is.

    Raises:
        WrongResult: it is not so.
    """
    _check_table(dsn, file.shape, file.digest)


def check_nothing_in(dsn: str, file: OrdersFile) -> None:
    _check_table(dsn, file.shape, _digest(()))


def _check_table(dsn: str, shape: Shape, expected: tuple[int, str]) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(table_digest(shape))
        found = cursor.fetchone()
    if found != expected:
        raise WrongResult(f"{shape.table} holds (rows, digest) {found}; expected {expected}")


def check_rejects(dsn: str, query: str, expected: Mapping[int, str], silent_about: Collection[str] = ()) -> None:
    """Every bad row is named, no other is, and what is said of it names the column at fault.

    Args:
        query: gives the line of each reject, and what is said of it.
        silent_about: faults of which the column need not be named.

    Raises:
        WrongResult: it is not so.
    """
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        told: dict[int, str] = dict(cursor.fetchall())
    if told.keys() != expected.keys():
        missing, wrong = sorted(expected.keys() - told.keys()), sorted(told.keys() - expected.keys())
        raise WrongResult(f"rejects: lines missing {missing[:3]} ({len(missing)}), wrong {wrong[:3]} ({len(wrong)})")
    for line, words in told.items():
        fault = expected[line]
        if fault not in silent_about and not any(column in words.lower() for column in COLUMNS_AT_FAULT[fault]):
            raise WrongResult(f"line {line} is bad by {fault}, but that is said of it: {words}")


def table_digest(shape: Shape) -> str:
    """How many rows there are, and a digest of all values in the order of the key."""
    return (
        f"SELECT count(*), md5(coalesce(string_agg(concat_ws('|', {_as_texts(shape)}), E'\\n' ORDER BY order_no), '')) "
        f"FROM {shape.table}"
    )


def _as_texts(shape: Shape) -> str:
    return ", ".join(f"{name}::text" if type_ == "boolean" else name for name, type_ in shape.columns.items())


def _digest(lines: Iterable[str]) -> tuple[int, str]:
    found = list(lines)
    return len(found), hashlib.md5("\n".join(found).encode()).hexdigest()
