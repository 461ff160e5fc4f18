"""The file that all ways import: what a shop's system exports, with 800 bad rows among 20,023."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

HEADER = "Order No.;Customer;SKU;Qty;Unit price;Ordered on;Note"
MISSING_CUSTOMERS = range(501, 521)

# The columns of the table or of the file, or words, of which a reason must have one.
AT_FAULT = {
    "unknown customer": ("customer",),
    "quantity": ("quantity", "qty"),
    "price": ("price",),
    "date": ("ordered",),
    "no customer": ("customer",),
    "short row": ("price", "ordered", "cells", "short", "columns", "fields"),
}
_HOW_MANY = {"unknown customer": 300, "quantity": 150, "price": 120, "date": 100, "no customer": 90, "short row": 40}

Row = tuple[str, int, str, int, str, str, str | None]
"""As it stands in the table: order_no, customer_id, sku, quantity, unit_price, ordered_on, note."""


@dataclass(slots=True)
class OrdersFile:
    """A file, and what must come of it.

    Attributes:
        good: the rows that the table must have, by order number.
        bad: what is wrong with each of the others, by order number.
        lines: of the bad ones, as they stand in the file.
        repaired: the bad ones as they would be right.
    """

    path: Path
    received: int = 0
    good: dict[str, Row] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    repaired: dict[str, Row] = field(default_factory=dict)


def write_file(path: Path, share: float = 1.0) -> OrdersFile:
    """The whole file, or a *share* of it with the same share of everything."""
    orders = round(20_000 * share)
    faults = [fault for fault, count in _HOW_MANY.items() for _ in range(max(2, round(count * share)))]
    chance = random.Random(5)
    places = dict(zip(chance.sample(range(orders), len(faults)), faults, strict=True))
    file = OrdersFile(path)
    lines = []
    for number in range(orders):
        row = _row(number)
        fault = places.get(number)
        if fault is None:
            file.good[row[0]] = row
            lines.append(_line(row))
        else:
            file.bad[row[0]] = fault
            file.repaired[row[0]] = row
            file.lines[row[0]] = _spoilt(row, fault, number)
            lines.append(file.lines[row[0]])
    for order_no in chance.sample(list(file.good), max(2, round(23 * share))):  # an order stands there once more
        row = file.good[order_no]
        file.good[order_no] = (*row[:3], row[3] + 1, *row[4:6], "changed by phone")
        lines.append(_line(file.good[order_no]))
    file.received = len(lines)
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8-sig")
    return file


def write_rows(path: Path, rows: list[Row]) -> None:
    path.write_text("\n".join([HEADER, *map(_line, rows)]) + "\n", encoding="utf-8-sig")


def _row(number: int) -> Row:
    day = date(2024, 1, 1) + timedelta(days=number % 366)
    price = f"{number * 97 % 100_003 / 100:.2f}"
    note = None if number % 3 else f"ring twice; bell {number % 7}"
    return f"A{number:06d}", number * 37 % 500 + 1, f"SKU-{number % 911:04d}", number % 40 + 1, price, str(day), note


def _line(row: Row) -> str:
    order_no, customer_id, sku, quantity, price, day, note = row
    year, month, dom = day.split("-")
    written = "NA" if note is None else f'"{note}"'
    return f"{order_no}; {customer_id} ;{sku};{quantity};{price.replace('.', ',')};{dom}.{month}.{year};{written}"


def _spoilt(row: Row, fault: str, number: int) -> str:
    cells = _line(row).split(";", 6)
    match fault:
        case "unknown customer":
            cells[1] = str(MISSING_CUSTOMERS[number % len(MISSING_CUSTOMERS)])
        case "quantity":
            cells[3] = "0"
        case "price":
            cells[4] = "on request"
        case "date":
            cells[5] = "31.02.2024"
        case "no customer":
            cells[1] = "NA"
        case _:
            del cells[4:]
    return ";".join(cells)
