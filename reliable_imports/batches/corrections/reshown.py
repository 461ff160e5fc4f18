"""What a spreadsheet makes of a value by itself, when it opens a file and saves it again.

A text of digits becomes a number and loses its zeros, a long number its last digits, `true` becomes `TRUE`, and a date
is written as the country does. Nobody has edited such a cell, so it stands for the value that is stored.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from typing import Any

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"([0-9]{1,4})([-/.])([0-9]{1,2})\2([0-9]{1,4})(?:[ T]([0-9:.]+)Z?)?")
_MOST_DIGITS = 15
_DIGITS_SHOWN = 6
"""Of numbers that are written with an exponent."""
_DAY_0 = date(1899, 12, 30)
_MOST_DAYS = 200_000


def is_reshown(cell: Any, was: Any) -> bool:
    """Whether a cell that does not show the value is what a spreadsheet has made of it.

    Args:
        cell: of a CSV file its text, of a workbook what is no text: a number or a truth value.
    """
    if isinstance(was, bool) or not isinstance(was, str | int | Decimal | float):
        return False
    shown, before = str(cell), str(was)
    if isinstance(was, str) and before.lower() in ("true", "false"):
        return shown.upper() == before.upper() and (isinstance(cell, bool) or shown.isupper())
    if _NUMBER.fullmatch(shown) and _NUMBER.fullmatch(before):
        try:
            return _is_number_of(shown, before)
        except ArithmeticError:  # beyond what decimals hold
            return False
    return isinstance(was, str) and _is_date_of(shown, before)


def _is_number_of(shown: str, before: str) -> bool:
    number, stored = Decimal(shown), Decimal(before)
    has_exponent = "e" in shown.lower()
    if number == stored:
        # Zeros are taken away, and never added: who has written 007 for 7 has meant it.
        return has_exponent or len(shown) < len(before)
    if not has_exponent and len(stored.as_tuple().digits) <= _MOST_DIGITS:
        return False
    digits = max(len(number.normalize().as_tuple().digits), _DIGITS_SHOWN) if has_exponent else _MOST_DIGITS
    return any(Context(digits, rounding).plus(stored) == number for rounding in (ROUND_HALF_UP, ROUND_DOWN))


def _is_date_of(shown: str, before: str) -> bool:
    stored = _DATE.fullmatch(before)
    if stored is None:
        return False
    if _NUMBER.fullmatch(shown):
        return _is_day_of(shown, stored)
    written = _DATE.fullmatch(shown)
    if written is None or not (stored[5] or "").startswith(written[5] or ""):
        return False
    ours, theirs = _parts(stored), _parts(written)
    if _begins_with_year(stored) == _begins_with_year(written):
        return ours == theirs  # in another order it would be another day
    return sorted(ours) == sorted(theirs)


def _is_day_of(shown: str, stored: re.Match[str]) -> bool:
    days = float(shown)
    if not _begins_with_year(stored) or not 1 <= days < _MOST_DAYS:
        return False
    day = _DAY_0 + timedelta(days=int(days))
    return (int(stored[1]), int(stored[3]), int(stored[4])) == (day.year, day.month, day.day)


def _begins_with_year(found: re.Match[str]) -> bool:
    return len(found[1]) > 2


def _parts(found: re.Match[str]) -> list[int]:
    return [int(part) % 100 for part in (found[1], found[3], found[4])]
