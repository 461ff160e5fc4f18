"""Texts that belong to no item, or to another one, and may name a person all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from psycopg2.extras import Json

from reliable_imports.items.json_check import is_utf8
from reliable_imports.postgres.connect import rows
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import DATA_ERASED

_ERASE = load("erase.sql")

NAMES_SOMEBODY = 6
"""Characters of a value that is searched for in texts that belong to no item: a shorter one, such as a number or a
country's code, would be found where it means something else."""
_IS_NO_WORD = 8
"""From so many characters on it is found inside of longer words, too."""
_MAX_VALUE = 500
_VALUES_AT_ONCE = 200


def texts_of(text: str | None, raw: memoryview | None) -> Iterator[str]:
    """Every text and number in an item that is long enough to name somebody."""
    try:
        data = json.loads(text if text is not None else bytes(raw or b""), parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        data = bytes(raw or b"").decode("utf-8", "replace").split(",")
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and _names_somebody(value.strip()):
            yield value.strip()


def erase_texts(cursor: Any, parameters: Mapping[str, Any], key: set[str], held: set[str]) -> int:
    """Cut the key's values, and other values of the items that no other item has, out of all texts of the lineages."""
    key_values = sorted(value for value in key if len(value) >= NAMES_SOMEBODY)
    wanted = [*key_values, *sorted(held - set(key_values))]
    cut = 0
    for start in range(0, len(wanted), _VALUES_AT_ONCE):
        cut += _Texts(cursor, parameters).erase(wanted[start : start + _VALUES_AT_ONCE], frozenset(key_values))
    return cut


class _Texts:
    """The texts of some lineages in which some values stand."""

    _QUERIES: ClassVar[Mapping[str, str]] = {
        "batch_texts": "set_batch_texts",
        "delivery_texts": "set_delivery_texts",
        "run_texts": "set_run_texts",
        "reason_texts": "set_reason_texts",
        "note_texts": "set_note_texts",
        "suspect_texts": "set_suspect_texts",
        "other_log_texts": "erase_log_lines",
        "other_attempt_texts": "erase_attempt_texts",
    }

    def __init__(self, cursor: Any, parameters: Mapping[str, Any]) -> None:
        self._cursor = cursor
        self._parameters = parameters

    def erase(self, values: Sequence[str], key_values: frozenset[str]) -> int:
        """How many rows were changed."""
        in_json = [json.dumps(value, ensure_ascii=False)[1:-1] for value in values]
        pattern = "|".join(re.escape(value) for value in dict.fromkeys([*values, *in_json]))
        found = {}
        for query in self._QUERIES:
            self._cursor.execute(_ERASE[query], {**self._parameters, "pattern": pattern})
            found[query] = rows(self._cursor)
        every_text = "\n".join(str(row) for query in found for row in found[query])
        present = [value for value in values if value not in key_values and pattern_of([value]).search(every_text)]
        if present:
            self._cursor.execute(_ERASE["stands_elsewhere"], {**self._parameters, "values": present})
            common = {value for (value,) in self._cursor.fetchall()}
            present = [value for value in present if value not in common]
        named = [*(value for value in values if value in key_values), *present]
        if not named:
            return 0
        pattern_of_named = pattern_of(named)
        changed = 0
        for query, change in self._QUERIES.items():
            for row in found[query]:
                new = {name: _without(value, pattern_of_named) for name, value in row.items()}
                if new != row:
                    changed += 1
                    self._cursor.execute(_ERASE[change], _change_of(query, row, new))
        return changed


def _change_of(query: str, row: Mapping[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What the statement that changes a row is given."""
    match query:
        case "batch_texts":
            if new["idempotency_key"] != row["idempotency_key"]:
                new["idempotency_key"] = f"{DATA_ERASED} from batch {row['id']}"  # names one delivery still
            for name in ("metadata", "source_reading"):
                new[name] = None if new[name] is None else Json(new[name])
            return new
        case "delivery_texts":
            key = row["idempotency_key"]
            unique = f"{DATA_ERASED} from a delivery of {row['delivered_at']:%Y-%m-%d %H:%M:%S.%f}"
            return {**row, "source": new["source"], "new_key": key if new["idempotency_key"] == key else unique}
        case "reason_texts":
            new["fingerprint"] = row["fingerprint"]
            return new
        case "other_log_texts":
            return {"ids": [row["id"]]}
        case "other_attempt_texts":
            changed = [name for name in new if new[name] != row[name]]
            return {**row, "columns": changed}
        case _:
            return new


def pattern_of(values: Sequence[str]) -> re.Pattern[str]:
    """Finds the values, short ones as whole words only."""
    parts = []
    for value in sorted(set(values), key=len, reverse=True):
        text = re.escape(value)
        parts.append(text if len(value) >= _IS_NO_WORD else rf"(?<!\w){text}(?!\w)")
    return re.compile("|".join(parts), re.IGNORECASE)


def _names_somebody(value: str) -> bool:
    return NAMES_SOMEBODY <= len(value) <= _MAX_VALUE and "\0" not in value and is_utf8(value)


def _without(value: Any, pattern: re.Pattern[str]) -> Any:
    """*value* with what the pattern finds replaced, in all texts of it."""
    match value:
        case str():
            return pattern.sub(DATA_ERASED, value)
        case list():
            return [_without(each, pattern) for each in value]
        case dict():
            return {_without(name, pattern): _without(each, pattern) for name, each in value.items()}
        case _:
            return value
