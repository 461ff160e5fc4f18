"""A value as a cell of a table, and an edited cell as a value.

A cell that was not touched stands for the value that is stored, whatever a cell can hold of it: types, digits and
nulls survive, for they are never read from the file. A cell that was edited has the kind of the value before it: text
stays text, a number a number. `json:` before it says otherwise: `json:"007"`, `json:12`, `json:null`.

An empty cell is a null, an empty text, or a field that is not there. Emptied, a text becomes the empty one, and
anything else null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from reliable_imports.items.json_check import is_utf8
from reliable_imports.items.json_read import loads
from reliable_imports.items.json_write import dumps_item
from reliable_imports.items.redaction import MASKED

Kind = Literal["csv", "jsonl", "xlsx"]

JSON = "json:"
MAX_CELL = 32_767
"""Characters that a workbook takes in a cell."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - spreadsheets take them too
_GUARD = "'"
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# A carriage return by itself, what XML cannot hold, and what a workbook's XML has for that.
_UNWRITABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\r(?!\n)|_x[0-9A-Fa-f]{4}_")
_ENOUGH_DIGITS = ".16G"
"""As workbooks are written; a number that needs more digits is no number there."""


class _Missing:
    """A field that an item does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


class BadCell(ValueError):
    """What an edited cell holds is no value; says why, to follow the cell's name."""


def column_name(name: str, ours: Collection[str]) -> str:
    """A field's name as the name of a column, which is none of ours and never blank; `field_name` takes it back."""
    is_plain = name.strip() == name and name not in ("", *ours) and not name.startswith(JSON)
    if is_plain and "\n" not in name and is_utf8(name) and not _UNWRITABLE.search(name):
        return name
    return JSON + json.dumps(name)


def key_name(name: str, ours: Collection[str]) -> str:
    """The same for a key of JSON, which may be anything else."""
    return JSON + json.dumps(name) if ours and (name in ours or name.startswith(JSON)) else name


def field_name(column: str) -> str:
    """Raises BadCell: it begins with `json:`, and what follows is no name."""
    if not column.startswith(JSON):
        return column
    name = _parsed(column[len(JSON) :])
    if not isinstance(name, str):
        raise BadCell("is no name of a column: json: is followed by something else than a text")
    return name


def csv_cell(value: Any) -> str | None:
    """The cell's text; None for no value, which stands without quotes, where an empty text has them."""
    match value:
        case None | _Missing():
            return None
        case str():
            return guarded(_written(value))
        case bool():
            return "true" if value else "false"
        case int() | Decimal() | float():
            return str(value)
    return _json(value)


def xlsx_cell(value: Any) -> str | float | bool | None:
    """A text, a number that a workbook holds exactly, a truth value, or None for no value."""
    match value:
        case None | _Missing() | "":
            return None
        case bool():
            return value
        case str():
            return _fitting(_written(value))
        case int() | Decimal() | float():
            try:
                number = float(value)
                is_exact = Decimal(format(number, _ENOUGH_DIGITS)) == Decimal(str(value))
            except (OverflowError, InvalidOperation):
                is_exact = False
            return number if is_exact else _fitting(JSON + str(value))
    return _fitting(_json(value))


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula: an apostrophe stands before what could be one."""
    return _GUARD + text if text.startswith((*_FORMULA, _GUARD)) else text


def unguarded(text: str) -> str:
    return text[1:] if text.startswith(_GUARD) and text[1:].startswith((*_FORMULA, _GUARD)) else text


def is_untouched(kind: Kind, cell: Any, was: Any) -> bool:
    """Whether a cell, as it was read, still shows the value; spreadsheets write line ends and numbers their own way."""
    if kind == "jsonl":
        return is_same(cell, was)
    if cell in (None, ""):
        return was in (None, "") or was is MISSING
    shown = xlsx_cell(was) if kind == "xlsx" else csv_cell(was)
    if isinstance(cell, str):
        if _is_number(was) and kind == "csv":
            return _NUMBER.fullmatch(cell) is not None and Decimal(cell) == Decimal(str(was))
        if isinstance(was, bool):
            return kind == "csv" and cell.lower() == shown
        return isinstance(shown, str) and _with_line_feeds(cell) == _with_line_feeds(shown)
    if isinstance(cell, bool) or isinstance(shown, bool):
        return cell is shown
    return isinstance(shown, float) and float(cell) == shown


def edited(kind: Kind, cell: Any, was: Any, kinds: Collection[type]) -> Any:
    """The value of a cell that was touched.

    Args:
        was: the value before.
        kinds: the kinds of values in the column; they count where there was no value.

    Raises:
        BadCell: it says `json:`, or the value before was an object or an array, and this is no JSON.
    """
    if kind == "jsonl":
        return cell
    if was is None or was is MISSING:
        was = _example(kinds)
    if cell in (None, ""):
        return "" if isinstance(was, str) else None
    if not isinstance(cell, str):
        return str(cell) if isinstance(was, str) and not isinstance(cell, bool) else cell
    text = unguarded(cell) if kind == "csv" else cell
    if text.startswith(JSON):
        return _parsed(text[len(JSON) :])
    if isinstance(was, dict | list):
        return _parsed(text)
    if kind == "csv" and isinstance(was, bool) and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "csv" and _is_number(was) and _NUMBER.fullmatch(text):
        return _parsed(text)
    return text


def unmasked(value: Any, was: Any, sensitive: Collection[str], name: str | None = None) -> Any:
    """The value with what is stored in place of each `***` that stands for it."""
    if value == MASKED and name in sensitive and was not in (None, MASKED) and was is not MISSING:
        return was
    if isinstance(value, dict) and isinstance(was, Mapping):
        return {key: unmasked(each, was.get(key, MISSING), sensitive, key) for key, each in value.items()}
    if isinstance(value, list) and isinstance(was, list):
        return [
            unmasked(each, was[place] if place < len(was) else MISSING, sensitive) for place, each in enumerate(value)
        ]
    return value


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are one in JSON: 1 is 1.0, and neither true nor "1"."""
    if _is_number(one) and _is_number(other):
        return Decimal(str(one)) == Decimal(str(other))
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(each, other[name]) for name, each in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal | float) and not isinstance(value, bool)


def _example(kinds: Collection[type]) -> Any:
    """A value that stands for those of a column, if all are of a kind."""
    if kinds and all(issubclass(each, int | Decimal | float) and each is not bool for each in kinds):
        return 0
    if len(kinds) == 1 and (kind := next(iter(kinds))) in (str, bool):
        return kind()
    return None


def _written(text: str) -> str:
    if text.startswith(JSON) or _UNWRITABLE.search(text) or not is_utf8(text):
        # The underscore, for `_x0041_` is a letter in a workbook.
        return JSON + json.dumps(text).replace("_x", "\\u005fx")
    return text


def _json(value: Any) -> str:
    stored = dumps_item(value)
    text = stored.text if stored.text is not None else (stored.raw or b"").decode("utf-8", "backslashreplace")
    # Only texts within it can hold these, so that escapes stand for the same.
    return _UNWRITABLE.sub(lambda found: "".join(f"\\u{ord(each):04x}" for each in found.group()), text)


def _fitting(text: str) -> str:
    if len(text.encode("utf-16-le")) // 2 <= MAX_CELL:
        return text
    return f"({len(text):,} characters, too many for a cell; what is stored stays)"


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n")


def _parsed(text: str) -> Any:
    try:
        return loads(text, decimals=True)
    except ValueError as error:
        raise BadCell(f"is no JSON: {error}") from None
