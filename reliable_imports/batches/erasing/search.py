"""Which items have the key of a person, and which may have it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from reliable_imports.batches.erasing.erasure import ErasureKey
from reliable_imports.batches.erasing.texts import NAMES_SOMEBODY, pattern_of
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load

_ERASE = load("erase.sql")


class Place(NamedTuple):
    batch_id: int
    item_number: int


def search(connection: Connection, batch_type: str, key: ErasureKey) -> tuple[list[Place], list[Place]]:
    """Items that have the key, and those that may: each batch in a transaction of its own, for it is read whole."""
    with transaction(connection) as cursor:
        cursor.execute(_ERASE["batches_of_type"], {"batch_type": batch_type})
        batches = [batch_id for (batch_id,) in cursor.fetchall()]
    exact: list[Place] = []
    unsure: list[Place] = []
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
            (exact if is_exact else unsure).append(Place(batch_id, number))
    return exact, unsure


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
        pattern = pattern_of([value, json.dumps(value)[1:-1]])
        if not any(pattern.search(text) for text in texts):
            return None
        is_sure = is_sure or len(value) >= NAMES_SOMEBODY
    return is_sure
