"""What tells one row from another: a key that is meant to be one, and not one by accident."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import Literal

from reliable_imports.scaffold.columns import Guess

_KEY_NAME = re.compile(
    r"(?:.*_)?(id|ids|uuid|guid|key|code|nr|no|number|num|sku|isbn|iban|ean|email|e_mail|url|uri|slug|symbol|iata|icao|faa|"
    r"kennung|nummer|schluessel|rownames|row_name|row_names|index)"
)
_BEST_NAME = re.compile(r"id|uuid|guid|key|.*_uuid|rownames|row_name")
_DATE_NAME = re.compile(r"(?:.*_)?(date|day|datum|tag|time|timestamp|year|month|week|period)")
_PLACE_NAME = re.compile(
    r"(?:.*_)?(quarter|hour|minute|second|age|line|position|pos|rank|round|seq|sequence|flight|version)"
)
_NO_KEY = re.compile(
    r"(first|last|sur|family|given|middle|vor|nach)_?name|comments?|notes?|description|text|address|street|remarks?|title"
)
_PARTS_OF_TIME = (
    ("year", "quarter", "month", "week", "day", "hour", "minute"),
    ("jahr", "quartal", "monat", "woche", "tag"),
)
_LONGEST_KEY = 300
"""Characters of a value in a key: an index takes some 2,700 bytes a row."""
_LONGEST_ROW = 600
_MOST_COLUMNS_OF_ALL = 12
_CANDIDATES = 12
_MOST_COLUMNS = 4
_EVIDENCE = 20.0
"""Equal rows that chance alone would have brought, at least, where there is none."""
_ENOUGH_TEXTS = 30


@dataclass(frozen=True, slots=True)
class Key:
    """
    Attributes:
        basis: `columns`, a primary key; `all`, every column together; `place`, file and line.
        why: in words.
    """

    basis: Literal["columns", "all", "place"]
    columns: tuple[str, ...]
    why: str


def find_key(guesses: Sequence[Guess], rows: int, *, equal_rows: int, may_use_all: bool) -> Key:
    """
    Args:
        equal_rows: rows of which another is a copy.
        may_use_all: the server knows unique constraints in which nulls are equal.
    """
    if rows and (found := _single(guesses, rows)):
        return Key("columns", (found.name,), f"no two of {rows:,} rows have the same")
    if rows and not equal_rows:
        if several := _several(guesses, rows):
            names = _with_larger_parts([guess.name for guess in several], guesses)
            return Key("columns", names, f"no two of {rows:,} rows have the same together, which is no chance")
        longest = sum(max(guess.column.longest, 20) for guess in guesses)
        if (
            may_use_all
            and 0 < len(guesses) <= _MOST_COLUMNS_OF_ALL
            and longest <= _LONGEST_ROW
            and not any(guess.column.absent for guess in guesses)
            and not any(guess.sql in ("jsonb", "bytea") for guess in guesses)
        ):
            names = tuple(guess.name for guess in guesses)
            return Key("all", names, "no column tells the rows apart, and no two rows are equal")
    copies = "1 row is a copy of another" if equal_rows == 1 else f"{equal_rows:,} rows are copies of others"
    why = copies if equal_rows else "no column tells the rows apart"
    return Key("place", ("source_file", "source_place"), f"{why}, so a row is known by its file and its place in it")


def _single(guesses: Sequence[Guess], rows: int) -> Guess | None:
    unique = [guess for guess in guesses if guess.column.is_unique and not guess.has_nulls and _may_be_key(guess)]
    ranked = [(_rank(guess, place, guesses, rows), place, guess) for place, guess in enumerate(unique)]
    best = min((each for each in ranked if each[0] is not None), key=lambda each: (each[0], each[1]), default=None)
    return best[2] if best is not None else None


def _rank(guess: Guess, place: int, guesses: Sequence[Guess], rows: int) -> int | None:
    """How likely a column without equal values is meant to have none, the lower the more; None if it is not."""
    is_first = guess is guesses[0]
    if _NO_KEY.fullmatch(guess.name):
        return None
    if _BEST_NAME.fullmatch(guess.name):
        return 0
    if is_first and (_KEY_NAME.fullmatch(guess.name) or guess.sql in ("text", "uuid", "date", "timestamp")):
        return 1
    if _KEY_NAME.fullmatch(guess.name) or guess.sql == "uuid":
        return 2
    if is_first or (_DATE_NAME.fullmatch(guess.name) and rows >= 10):
        return 3
    if guess.sql == "text" and rows >= _ENOUGH_TEXTS and guess.column.longest <= 100:
        return 4
    return None


def _may_be_key(guess: Guess) -> bool:
    if guess.sql == "text":
        return guess.column.longest <= _LONGEST_KEY
    return guess.sql in ("integer", "bigint", "uuid", "date", "timestamp", "timestamptz", "time") or (
        guess.sql == "numeric" and guess.kind.name == "integer"
    )


def _several(guesses: Sequence[Guess], rows: int) -> tuple[Guess, ...] | None:
    """The fewest columns that together have no equal values, though chance would have brought some."""
    remembered = min((len(guess.column.hashes) for guess in guesses), default=0)
    if remembered < rows:
        return None
    usable = [
        guess
        for guess in guesses
        if _may_be_key(guess) and not guess.has_nulls and guess.column.longest <= 60 and _is_dimension(guess, rows)
    ][:_CANDIDATES]
    chance = {}
    for guess in usable:
        counts = Counter(guess.column.hashes)
        chance[guess.name] = sum(count * count for count in counts.values()) / (rows * rows)
    for size in range(2, _MOST_COLUMNS + 1):
        for chosen in combinations(usable, size):
            expected = rows * (rows - 1) / 2 * prod(chance[guess.name] for guess in chosen)
            if expected >= _EVIDENCE and _are_distinct(chosen):
                return chosen
    return None


def _is_dimension(guess: Guess, rows: int) -> bool:
    """Whether a column may say what a row is about; a number with many values is more likely what was measured."""
    if _NO_KEY.fullmatch(guess.name):
        return False
    if guess.sql not in ("integer", "bigint", "numeric"):
        return True
    is_named = _KEY_NAME.fullmatch(guess.name) or _DATE_NAME.fullmatch(guess.name) or _PLACE_NAME.fullmatch(guess.name)
    return is_named is not None or len(set(guess.column.hashes)) <= rows**0.5


def _with_larger_parts(names: Sequence[str], guesses: Sequence[Guess]) -> tuple[str, ...]:
    """A day is told by its month and year too, though one month is all that the sample has."""
    whole = list(names)
    there = [guess.name for guess in guesses if not guess.has_nulls]
    for parts in _PARTS_OF_TIME:
        places = [place for place, part in enumerate(parts) if part in names]
        whole += [part for part in parts[: max(places, default=0)] if part in there and part not in whole]
    return tuple(sorted(whole, key=there.index))


def _are_distinct(guesses: Sequence[Guess]) -> bool:
    seen = set()
    for values in zip(*[guess.column.hashes for guess in guesses], strict=True):
        if values in seen:
            return False
        seen.add(values)
    return True
