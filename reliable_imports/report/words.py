"""Why items failed, in words for people who know the data and not the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reliable_imports.statuses import DATA_ERASED

_MISSING = re.compile(r'^\((?P<columns>.*)\) is not present in table "(?P<table>.*)"')
_KEY = re.compile(r"^\((?P<columns>.*?)\)")

_OF_TYPE = {
    "ItemRejected": "The check of the import did not accept it.",
    "DuplicateKey": "Several items of the delivery have the same key, and none of them may win.",
    "ItemTimeout": "It took longer than it may.",
    "KilledWorker": "It ended the program that tried it, so it was set aside.",
    "NullInKey": "A part of its key is empty.",
    "StringDataRightTruncation": "A text is longer than there is room for.",
    "NumericValueOutOfRange": "A number is too large, or too small.",
    "InvalidTextRepresentation": "A value is written in a way that cannot be read.",
    "InvalidDatetimeFormat": "A date or time is written in a way that cannot be read.",
    "DatetimeFieldOverflow": "There is no such date or time.",
    "DeadlockDetected": "Somebody else was writing the same data, again and again; another try may succeed.",
    "QueryCanceled": "The database took too long.",
    "InsufficientPrivilege": "The import may not write there.",
}


def in_words(failure: Mapping[str, Any]) -> str:
    """One sentence or two; *failure* is a row of the query `reasons`."""
    field, detail, message = failure["field"], failure["detail"] or "", failure["message"] or ""
    match failure["error_type"]:
        case "UnreadableItem" if message != DATA_ERASED:
            return _sentence(f"It could not be read: {message}")
        case "InvalidRow" if message != DATA_ERASED:
            return _sentence(message)
        case "NotNullViolation" if field:
            return f"{_capital(field)} is empty, and must not be."
        case "ForeignKeyViolation" if found := _MISSING.match(detail):
            return f"There is no such {found['columns']} in {found['table']} yet."
        case "UniqueViolation" if found := _KEY.match(detail):
            return f"The same {found['columns']} is there already."
        case "CheckViolation" if failure["constraint_name"]:
            return f"It breaks the rule “{failure['constraint_name'].replace('_', ' ')}”."
        case kind if kind in _OF_TYPE:
            return _OF_TYPE[kind]
        case kind if message == DATA_ERASED:
            return f"{kind}; what it said was erased with the data."
        case _:
            return _sentence(message or failure["title"] or failure["error_type"])


def field_names(failure: Mapping[str, Any]) -> list[str]:
    """The fields or columns that a failure is about."""
    found = _KEY.match(failure["detail"] or "")
    named = found["columns"] if found else failure["field"] or ""
    if failure["error_type"] == "UnreadableItem":
        return []  # there it is the kind of the problem
    return list(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))


def _sentence(text: str) -> str:
    text = _capital(text.strip().rstrip("."))
    return f"{text}." if text else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
