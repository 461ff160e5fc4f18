"""Taking the data of old batches out of the tables: counts, reasons and what the audit log says of batches stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg2.extras import Json

from reliable_imports.batches.counts import count_batch
from reliable_imports.errors import ConfigurationError
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import DATA_ERASED

_ERASE = load("erase.sql")
_PURGE = load("purge.sql")
_WORK = load("work.sql")

_SLICE = 2_000
"""Items, or lines of the audit log, of one transaction: a fraction of a second, so that nobody waits for it."""

PurgeProgress = Callable[[int], None]
"""Called after each slice with how many items were looked at since the last call."""


@dataclass(frozen=True, slots=True)
class Purge:
    """What was purged, or may be.

    Attributes:
        batches: batches that have ended long enough ago, and had data.
        items: items whose data was taken out.
        kept_items: items that keep theirs, for they are outstanding, being repeated, or were repeated not long ago.
    """

    batches: int
    items: int
    kept_items: int = 0


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """Which data is to go, and who asked.

    Attributes:
        older_than: of batches that ended longer ago than this.
        batch_type: only of this type; of any if None.
        outstanding_too: also of failures that nobody has repaired; they can never be repeated then.
    """

    older_than: timedelta
    batch_type: str | None = None
    outstanding_too: bool = False
    requested_by: str | None = None

    def __post_init__(self) -> None:
        if self.older_than < timedelta(0):
            raise ConfigurationError("data cannot be older than a negative age")


def old_batches(connection: Connection, request: PurgeRequest) -> list[tuple[int, int]]:
    """The batches with data that is old enough, and how many items of each have data; some of it may be kept.

    Raises:
        ConfigurationError: there is no batch of the type that was named.
    """
    with transaction(connection) as cursor:
        if request.batch_type is not None:
            cursor.execute(_PURGE["known_types"])
            known = [name for (name,) in cursor.fetchall()]
            if request.batch_type not in known:
                there_are = ", ".join(known) or "none at all"
                raise ConfigurationError(f"there is no batch of type {request.batch_type!r}; there are {there_are}")
        cursor.execute(_PURGE["old_batches"], {"older_than": request.older_than, "batch_type": request.batch_type})
        return [(int(batch_id), int(items)) for batch_id, items in cursor.fetchall()]


def purge(connection: Connection, request: PurgeRequest, on_progress: PurgeProgress | None) -> Purge:
    """See `BatchManager.purge`."""
    batches = [batch_id for batch_id, _ in old_batches(connection, request)]
    # Lines of all batches first: one whose items have lost their data is not looked at again after an interruption.
    for batch_id in batches:
        _purge_lines(connection, batch_id, request)
    purged: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    for batch_id in batches:
        for page in _purge_items(connection, batch_id, request):
            purged.update(page.purged)
            kept[batch_id] += page.kept
            if on_progress is not None:
                on_progress(page.looked_at)
        if purged[batch_id]:
            _note_purged(connection, batch_id, request, purged[batch_id], kept[batch_id])
    return Purge(len(batches), purged.total(), kept.total())


def _purge_lines(connection: Connection, batch_id: int, request: PurgeRequest) -> None:
    """Take the texts out of what the audit log says of items whose data is to go."""
    after = 0
    while True:
        with transaction(connection) as cursor:
            cursor.execute(_ERASE["lock_lineages"], {"batches": [batch_id]})
            cursor.execute(_PURGE["next_lines"], {"batch_id": batch_id, "after": after, "limit": _SLICE})
            page = cursor.fetchall()
            if not page:
                return
            chains = _chains(cursor, batch_id, {number for _, number in page}, request)
            kept = {item.item_number for item in chains if item.is_kept and item.batch_id == batch_id}
            lines = [line_id for line_id, number in page if number not in kept]
            cursor.execute(_ERASE["erase_log_lines"], {"ids": lines})
        after = page[-1][0]


class _Page(NamedTuple):
    """What became of some items of a batch, and of those that share their data."""

    looked_at: int
    purged: Mapping[int, int]
    """By batch."""
    kept: int


def _purge_items(connection: Connection, batch_id: int, request: PurgeRequest) -> Iterator[_Page]:
    """Take data out, a slice at a time: out of a whole chain of repeats or out of none of it."""
    after = 0
    while True:
        with transaction(connection) as cursor:
            # Nobody takes items of the lineage into a reprocess batch while it is decided which of them are wanted.
            cursor.execute(_ERASE["lock_lineages"], {"batches": [batch_id]})
            cursor.execute(_PURGE["next_items"], {"batch_id": batch_id, "after": after, "limit": _SLICE})
            page = [number for (number,) in cursor.fetchall()]
            if not page:
                return
            chains = _chains(cursor, batch_id, set(page), request)
            unwanted = [item for item in chains if not item.is_kept and not item.is_erased]
            purged = Counter(item.batch_id for item in unwanted)
            if unwanted:
                parameters = {
                    "batches": [item.batch_id for item in unwanted],
                    "items": [item.item_number for item in unwanted],
                    "keep_row_keys": True,
                }
                cursor.execute(_ERASE["erase_items"], parameters)
                cursor.execute(_ERASE["erase_attempts"], parameters)
                cursor.execute(_ERASE["uncount"], {"batches": list(purged)})
                for of_batch, items in purged.items():
                    cursor.execute(_ERASE["count_items"], {"batch_id": of_batch, "items": items})
        after = page[-1]
        elsewhere = purged.total() - purged[batch_id]
        yield _Page(len(page) + elsewhere, purged, len(page) - purged[batch_id])


class _ItemOfChain(NamedTuple):
    batch_id: int
    item_number: int
    is_erased: bool
    is_kept: bool


def _chains(cursor: Any, batch_id: int, numbers: Collection[int], request: PurgeRequest) -> list[_ItemOfChain]:
    cursor.execute(
        _PURGE["chains"],
        {
            "batch_id": batch_id,
            "numbers": sorted(numbers),
            "older_than": request.older_than,
            "outstanding_too": request.outstanding_too,
        },
    )
    return [_ItemOfChain(*row) for row in cursor.fetchall()]


def _note_purged(connection: Connection, batch_id: int, request: PurgeRequest, items: int, kept_items: int) -> None:
    details = {
        "items": items,
        "kept_items": kept_items,
        "older_than_days": round(request.older_than / timedelta(days=1), 3),
        "outstanding_too": request.outstanding_too,
        "requested_by": request.requested_by,
    }
    with transaction(connection) as cursor:
        count_batch(cursor, batch_id)
        cursor.execute(
            _WORK["insert_log"],
            {
                "batch_id": batch_id,
                "run_id": None,
                "level": "info",
                "message": f"{DATA_ERASED}: it was old",
                "details": Json(details),
            },
        )
