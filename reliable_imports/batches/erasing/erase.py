"""Taking the data of one person out of the tables: the rows stay, and say that their data was erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg2.extras import Json

from reliable_imports.batches.counts import count_batch
from reliable_imports.batches.erasing.erasure import Erasure, ErasureKey
from reliable_imports.batches.erasing.search import Place, search
from reliable_imports.batches.erasing.texts import erase_texts, texts_of
from reliable_imports.errors import ItemsInUse
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import DATA_ERASED

_ERASE = load("erase.sql")
_REPROCESS = load("reprocess.sql")
_WORK = load("work.sql")

_MAX_LISTED = 100


class _Found(NamedTuple):
    batch_id: int
    item_number: int
    first_batch_id: int
    is_erased: bool
    is_cancelled: bool
    waits_as: str | None


def find(connection: Connection, keys: Mapping[str, ErasureKey], *, alike: bool) -> Erasure:
    """What `erase` would take."""
    items: dict[int, int] = {}
    left: dict[int, int] = {}
    types: dict[int, str] = {}
    for batch_type, key in sorted(keys.items()):
        exact, unsure = search(connection, batch_type, key)
        with transaction(connection) as cursor:
            found = [each for each in _with_repeats(cursor, exact + (unsure if alike else [])) if not each.is_erased]
        items |= _by_batch(found)
        left |= {} if alike else _by_batch(unsure)
        types |= dict.fromkeys([*_by_batch(found), *_by_batch(unsure)], batch_type)
    return Erasure(sorted(keys), items, left, types=types)


def erase(
    connection: Connection,
    keys: Mapping[str, ErasureKey],
    *,
    alike: bool,
    requested_by: str | None,
    note: str | None,
) -> Erasure:
    """See `BatchManager.erase`. All of it is one transaction, under the locks of the lineages.

    Args:
        keys: the person's key, by batch type.
    """
    # Always in this order, so that two of these wait for each other and do not lock each other out.
    searched = [(batch_type, key, *search(connection, batch_type, key)) for batch_type, key in sorted(keys.items())]
    items: dict[int, int] = {}
    left: dict[int, int] = {}
    types: dict[int, str] = {}
    texts = 0
    with transaction(connection) as cursor:
        by_type = []
        for batch_type, key, exact, unsure in searched:
            found = _locked(cursor, exact + (unsure if alike else []))
            left |= {} if alike else _by_batch(unsure)
            types |= dict.fromkeys([*_by_batch(found), *_by_batch(unsure)], batch_type)
            by_type.append((batch_type, key, found))
        waiting = [each for _, _, found in by_type for each in found if each.waits_as is not None]
        if waiting:
            raise ItemsInUse({(each.batch_id, each.item_number): str(each.waits_as) for each in waiting})
        for batch_type, key, found in by_type:
            to_erase = [each for each in found if not each.is_erased]
            if to_erase:
                texts += _erase_of_type(cursor, batch_type, key, found, requested_by, note)
                items |= _by_batch(to_erase)
    return Erasure(sorted(keys), items, left, texts, types)


def _erase_of_type(
    cursor: Any, batch_type: str, key: ErasureKey, found: Sequence[_Found], requested_by: str | None, note: str | None
) -> int:
    """How many texts beside the items were cut."""
    to_erase = [each for each in found if not each.is_erased]
    parameters: dict[str, Any] = {**_arrays(found), "keep_row_keys": False, "batch_type": batch_type}
    parameters["lineages"] = sorted({each.first_batch_id for each in found})
    cursor.execute(_ERASE["lineage_batches"], parameters)
    parameters["lineage"] = [batch_id for (batch_id,) in cursor.fetchall()]
    cursor.execute(_ERASE["item_data"], parameters)
    held = {text for row in cursor.fetchall() for text in texts_of(*row)}
    for name in ("erase_items", "erase_attempts", "erase_row_keys", "erase_logs"):
        cursor.execute(_ERASE[name], parameters)
    texts = erase_texts(cursor, parameters, {part.value.strip() for part in key.parts}, held)
    cursor.execute(_ERASE["uncount"], {"batches": parameters["lineage"]})
    for batch_id in parameters["lineage"]:
        count_batch(cursor, batch_id)
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
    return texts


def stored_types(connection: Connection) -> list[str]:
    """The types that have batches."""
    with transaction(connection) as cursor:
        cursor.execute(_ERASE["stored_types"])
        return [batch_type for (batch_type,) in cursor.fetchall()]


def count_erased(connection: Connection, batch_id: int) -> int:
    """Failures of a batch's lineage that cannot be repeated, for their data was erased."""
    with transaction(connection) as cursor:
        cursor.execute(_ERASE["erased_in_lineage"], {"batch_id": batch_id})
        return int(cursor.fetchone()[0])


def _locked(cursor: Any, places: Sequence[Place]) -> list[_Found]:
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


def _with_repeats(cursor: Any, places: Sequence[Place]) -> list[_Found]:
    if not places:
        return []
    cursor.execute(_ERASE["repeats_of_found"], _arrays(places))
    return [_Found(*row) for row in cursor.fetchall()]


def _arrays(places: Sequence[Place | _Found]) -> dict[str, Any]:
    return {"batches": [place.batch_id for place in places], "items": [place.item_number for place in places]}


def _by_batch(places: Sequence[Place | _Found]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for place in places:
        counts[place.batch_id] = counts.get(place.batch_id, 0) + 1
    return counts
