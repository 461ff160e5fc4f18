"""The items that all ways import, the table they go to, and the check of what has arrived there."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2

Item = dict[str, Any]

COLUMNS = ("code", "name", "city", "amount_cents", "quantity", "note")
TEXT_COLUMNS = ("code", "name", "city", "note")

TARGET, NUMBERED = "bench.target", "bench.numbered"
"""The table that nearly all ways write to, and one of which the rows are numbered by a sequence besides."""

TARGET_SQL = """
CREATE SCHEMA bench;
CREATE TABLE bench.target (
    code text PRIMARY KEY,
    name text NOT NULL,
    city text NOT NULL,
    amount_cents bigint NOT NULL,
    quantity bigint NOT NULL,
    note text NOT NULL,
    CONSTRAINT target_amount_check CHECK (amount_cents >= 0)
);
CREATE TABLE bench.numbered (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    LIKE bench.target INCLUDING ALL
);
"""

# What the ways that write SQL by hand send for each row.
UPSERT = """
INSERT INTO bench.target (code, name, city, amount_cents, quantity, note)
VALUES (%(code)s, %(name)s, %(city)s, %(amount_cents)s, %(quantity)s, %(note)s)
ON CONFLICT (code) DO UPDATE SET
    name = EXCLUDED.name,
    city = EXCLUDED.city,
    amount_cents = EXCLUDED.amount_cents,
    quantity = EXCLUDED.quantity,
    note = EXCLUDED.note
"""

_CITIES = ("Aberdeen", "Bologna", "Córdoba", "Dunedin", "Esbjerg", "Fukuoka", "Gdańsk")


class WrongResult(Exception):
    """A way has not done what it was timed for, so its time means nothing."""


def items_of(count: int, bad_share: float = 0.0) -> list[Item]:
    """*count* items of about 150 bytes as JSON, always the same ones, the bad ones spread at random.

    A bad item violates a constraint of the target that only the server checks: CHECK and NOT NULL in turn.
    """
    return list(stream_of(count, bad_share))


def stream_of(count: int, bad_share: float = 0.0) -> Iterator[Item]:
    """As `items_of`, one at a time. At least one is bad if any is to be."""
    wanted = max(1, round(count * bad_share)) if bad_share else 0
    bad = {number: turn for turn, number in enumerate(random.Random(7).sample(range(count), wanted))}
    for number in range(count):
        item = {
            "code": f"C{number:09d}",
            "name": f"Customer number {number}",
            "city": _CITIES[number % len(_CITIES)],
            "amount_cents": number * 37 % 1_000_003,
            "quantity": number % 40 + 1,
            "note": "delivered to the back door; ring twice",
        }
        if number in bad:
            item.update({"amount_cents": -1} if bad[number] % 2 else {"name": None})
        yield item


def is_good(item: Item) -> bool:
    return item["name"] is not None and item["amount_cents"] >= 0


def check_target(dsn: str, items: Iterable[Item], table: str = TARGET) -> None:
    """Every good item is in the target as it was given, and nothing else is.

    The digest is made here from the items and there from the table, so no way can be wrong and agree with it.
    """
    expected = _digest(items)
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT
                count(*),
                md5(string_agg(concat_ws('|', code, name, city, amount_cents, quantity, note), E'\n'
                    ORDER BY code COLLATE "C"))
            FROM {table}
            """
        )
        found = cursor.fetchone()
    if found != expected:
        raise WrongResult(f"the target holds (rows, digest) {found}; expected {expected}")


def check_counts(what: str, found: Sequence[int], expected: Sequence[int]) -> None:
    """Raises WrongResult unless both are the same."""
    if tuple(found) != tuple(expected):
        raise WrongResult(f"{what}: found {tuple(found)}, expected {tuple(expected)}")


def completed_and_failed(items: Iterable[Item]) -> tuple[int, int]:
    """How many items every way that tracks them has to report as done, and as failed."""
    good = [is_good(item) for item in items]
    return sum(good), len(good) - sum(good)


def _digest(items: Iterable[Item]) -> tuple[int, str | None]:
    """The items come in the order of their code."""
    lines = ["|".join(str(item[column]) for column in COLUMNS) for item in items if is_good(item)]
    return len(lines), hashlib.md5("\n".join(lines).encode()).hexdigest() if lines else None
