"""Taking the data of one person out of the tables: the rows stay, and say that their data was erased."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from psycopg2.extras import Json

from reliable_imports.batches.erasure import Erasure, ErasureKey
from reliable_imports.errors import ItemsInUse
from reliable_imports.items.json_check import is_utf8
from reliable_imports.postgres.connect import Connection, rows, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import DATA_ERASED

_ERASE = load("erase.sql")
_REPROCESS = load("reprocess.sql")
_WORK = load("work.sql")

_NAMES_SOMEBODY = 6
"""Characters of a value that is searched for in texts that belong to no item: a shorter one, such as a number or a
country's code, would be found where it means something else."""
_IS_NO_WORD = 8
"""From so many characters on it is found inside of longer words, too."""
_MAX_VALUE = 500
_VALUES_AT_ONCE = 200
_MAX_LISTED = 100


class _Found(NamedTuple):
    batch_id: int
    item_number: int
    first_batch_id: int
    is_erased: bool
    is_cancelled: bool
    waits_as: str | None


def find(connection: Connection, batch_type: str, key: ErasureKey, *, alike: bool) -> Erasure:
    """What `erase` would take."""
    exact, unsure = _search(connection, batch_type, key)
    with transaction(connection) as cursor:
        found = [each for each in _with_repeats(cursor, exact + (unsure if alike else [])) if not each.is_erased]
    return Erasure(batch_type, _by_batch(found), {} if alike else _by_batch(unsure))


def erase(
    connection: Connection,
    batch_type: str,
    key: ErasureKey,
    *,
    alike: bool,
    requested_by: str | None,
    note: str | None,
) -> Erasure:
    """See `BatchManager.erase`. All of it is one transaction, under the locks of the lineages."""
    exact, unsure = _search(connection, batch_type, key)
    left = {} if alike else _by_batch(unsure)
    with transaction(connection) as cursor:
        found = _locked(cursor, exact + (unsure if alike else []))
        waiting = [each for each in found if each.waits_as is not None]
        if waiting:
            raise ItemsInUse({(each.batch_id, each.item_number): str(each.waits_as) for each in waiting})
        to_erase = [each for each in found if not each.is_erased]
        if not to_erase:
            return Erasure(batch_type, {}, left)
        parameters: dict[str, Any] = {**_arrays(found), "keep_row_keys": False, "batch_type": batch_type}
        parameters["lineages"] = sorted({each.first_batch_id for each in found})
        cursor.execute(_ERASE["lineage_batches"], parameters)
        parameters["lineage"] = [batch_id for (batch_id,) in cursor.fetchall()]
        cursor.execute(_ERASE["item_data"], parameters)
        held = {text for row in cursor.fetchall() for text in _texts_of(*row)}
        for name in ("erase_items", "erase_attempts", "erase_row_keys", "erase_logs"):
            cursor.execute(_ERASE[name], parameters)
        texts = _erase_texts(cursor, parameters, {part.value.strip() for part in key.parts}, held)
        cursor.execute(_ERASE["uncount"], {"batches": parameters["lineage"]})
        for batch_id in parameters["lineage"]:
            cursor.execute(_WORK["count_batch"], {"batch_id": batch_id})
        for batch_id, count in _by_batch(to_erase).items():
            cursor.execute(_ERASE["count_items"], {"batch_id": batch_id, "items": count})
            numbers = [each.item_number for each in to_erase if each.batch_id == batch_id]
            details = {
                "items": count,
                "item_numbers": numbers[:_MAX_LISTED],
                "requested_by": requested_by,
                "note": note,
            }
            cursor.execute(
                _WORK["insert_log"],
                {
                    "batch_id": batch_id,
                    "run_id": None,
                    "level": "info",
                    "message": f"{DATA_ERASED} on request",
                    "details": Json({name: value for name, value in details.items() if value is not None}),
                },
            )
        return Erasure(batch_type, _by_batch(to_erase), left, texts)


def count_erased(connection: Connection, batch_id: int) -> int:
    """Failures of a batch's lineage that cannot be repeated, for their data was erased."""
    with transaction(connection) as cursor:
        cursor.execute(_ERASE["erased_in_lineage"], {"batch_id": batch_id})
        return int(cursor.fetchone()[0])


def _search(connection: Connection, batch_type: str, key: ErasureKey) -> tuple[list[_Place], list[_Place]]:
    """Items that have the key, and those that may: each batch in a transaction of its own, for it is read whole."""
    with transaction(connection) as cursor:
        cursor.execute(_ERASE["batches_of_type"], {"batch_type": batch_type})
        batches = [batch_id for (batch_id,) in cursor.fetchall()]
    exact: list[_Place] = []
    unsure: list[_Place] = []
    for batch_id in batches:
        found: dict[int, bool] = {}
        with transaction(connection) as cursor:
            for number, is_exact in [*_read_by_server(cursor, batch_id, key), *_read_here(cursor, batch_id, key)]:
                found[number] = found.get(number, False) or is_exact
            if key.table is not None:
                cursor.execute(
                    _ERASE["items_that_wrote"],
                    {"batch_id": batch_id, "table": key.table, "key": [part.value for part in key.parts]},
                )
                found.update((number, True) for (number,) in cursor.fetchall())
        for number, is_exact in sorted(found.items()):
            (exact if is_exact else unsure).append(_Place(batch_id, number))
    return exact, unsure


class _Place(NamedTuple):
    batch_id: int
    item_number: int


def _read_by_server(cursor: Any, batch_id: int, key: ErasureKey) -> list[tuple[int, bool]]:
    exact: list[str] = []
    alike: list[str] = []
    for part in key.parts:
        values = [cursor.mogrify(_ERASE["value_of_part"], [name]).decode() for name in part.names]
        value = values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"
        for conditions, query in ((exact, "part_is_exact"), (alike, "part_is_alike")):
            # Put together, and not put in: a name or a value may look like a parameter.
            before, after = _ERASE[query].split("{value}")
            conditions.append(f"{before}{value}{cursor.mogrify(after, [part.value]).decode()}")
    before, between, after = re.split(r"\{exact\}|\{alike\}", _ERASE["items_with_key"])
    question = cursor.mogrify(between, {"batch_id": batch_id}).decode()
    cursor.execute(f"{before}({' AND '.join(exact)}){question}({' AND '.join(alike)}){after}")
    return [(number, bool(is_exact)) for number, is_exact in cursor.fetchall()]


def _read_here(cursor: Any, batch_id: int, key: ErasureKey) -> Iterator[tuple[int, bool]]:
    after = 0
    while True:
        cursor.execute(_ERASE["raw_items"], {"batch_id": batch_id, "after": after})
        page = cursor.fetchall()
        if not page:
            return
        for number, raw, is_unread in page:
            is_exact = _bytes_have(bytes(raw), key) if is_unread else _json_has(bytes(raw), key)
            if is_exact is not None:
                yield number, is_exact
        after = page[-1][0]


def _json_has(raw: bytes, key: ErasureKey) -> bool | None:
    """Whether the item has the key exactly; None if it has it not at all."""
    data = json.loads(raw, parse_int=str, parse_float=str)
    if not isinstance(data, dict):
        return None
    is_exact = True
    for part in key.parts:
        value = next((data[name] for name in part.names if data.get(name) is not None), None)
        if not isinstance(value, str) or value.strip().casefold() != part.value.strip().casefold():
            return None
        is_exact = is_exact and value == part.value
    return is_exact


def _bytes_have(raw: bytes, key: ErasureKey) -> bool | None:
    """Likewise, of a line without fields: sure where a value is so long that it is nobody else's."""
    texts = [raw.decode("utf-8", "replace"), raw.decode("latin-1"), raw.decode("utf-16-le", "replace")]
    is_sure = False
    for part in key.parts:
        value = part.value.strip()
        pattern = _pattern([value, json.dumps(value)[1:-1]])
        if not any(pattern.search(text) for text in texts):
            return None
        is_sure = is_sure or len(value) >= _NAMES_SOMEBODY
    return is_sure


def _locked(cursor: Any, places: Sequence[_Place]) -> list[_Found]:
    """The items with all that repeat them, in lineages that nobody reprocesses meanwhile."""
    if not places:
        return []
    cursor.execute(_ERASE["lock_lineages"], {"batches": sorted({place.batch_id for place in places})})
    found = _with_repeats(cursor, places)
    for first_batch_id in sorted({each.first_batch_id for each in found if each.is_cancelled}):
        # A chunk that was under way when its batch was cancelled is waited for, and then nobody works on the rest.
        cursor.execute(_REPROCESS["close_cancelled_ranges"], {"first_batch_id": first_batch_id})
        cursor.execute(_REPROCESS["close_cancelled_retries"], {"first_batch_id": first_batch_id})
    return found


def _with_repeats(cursor: Any, places: Sequence[_Place]) -> list[_Found]:
    if not places:
        return []
    cursor.execute(_ERASE["repeats_of_found"], _arrays(places))
    return [_Found(*row) for row in cursor.fetchall()]


def _arrays(places: Sequence[_Place | _Found]) -> dict[str, Any]:
    return {"batches": [place.batch_id for place in places], "items": [place.item_number for place in places]}


def _by_batch(places: Sequence[_Place | _Found]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for place in places:
        counts[place.batch_id] = counts.get(place.batch_id, 0) + 1
    return counts


# Texts that belong to no item, or to another one, and may name the person all the same


def _texts_of(text: str | None, raw: memoryview | None) -> Iterator[str]:
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


def _names_somebody(value: str) -> bool:
    return _NAMES_SOMEBODY <= len(value) <= _MAX_VALUE and "\0" not in value and is_utf8(value)


def _pattern(values: Sequence[str]) -> re.Pattern[str]:
    """Finds the values, short ones as whole words only."""
    parts = []
    for value in sorted(set(values), key=len, reverse=True):
        text = re.escape(value)
        parts.append(text if len(value) >= _IS_NO_WORD else rf"(?<!\w){text}(?!\w)")
    return re.compile("|".join(parts), re.IGNORECASE)


def _erase_texts(cursor: Any, parameters: Mapping[str, Any], key: set[str], held: set[str]) -> int:
    """Cut the key's values, and other values of the items that no other item has, out of all texts of the lineages."""
    key_values = sorted(value for value in key if len(value) >= _NAMES_SOMEBODY)
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
        present = [value for value in values if value not in key_values and _pattern([value]).search(every_text)]
        if present:
            self._cursor.execute(_ERASE["stands_elsewhere"], {**self._parameters, "values": present})
            common = {value for (value,) in self._cursor.fetchall()}
            present = [value for value in present if value not in common]
        named = [*(value for value in values if value in key_values), *present]
        if not named:
            return 0
        pattern_of_named = _pattern(named)
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
