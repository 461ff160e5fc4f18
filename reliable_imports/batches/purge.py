"""Taking the data of old batches out of the tables: counts, reasons and what the audit log says of batches stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from psycopg2.extras import Json

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
        kept_items: items that keep theirs, for they are outstanding, or being repeated.
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
    """The batches with data that is old enough, and how many items of each have data; some of it may be kept."""
    with transaction(connection) as cursor:
        cursor.execute(_PURGE["old_batches"], {"older_than": request.older_than, "batch_type": request.batch_type})
        return [(int(batch_id), int(items)) for batch_id, items in cursor.fetchall()]


def purge(connection: Connection, request: PurgeRequest, on_progress: PurgeProgress | None) -> Purge:
    """See `BatchManager.purge`."""
    found = old_batches(connection, request)
    items = kept = 0
    for batch_id, _ in found:
        purged_here, kept_here = _purge_batch(connection, batch_id, request, on_progress)
        items += purged_here
        kept += kept_here
    return Purge(len(found), items, kept)


def _purge_batch(
    connection: Connection, batch_id: int, request: PurgeRequest, on_progress: PurgeProgress | None
) -> tuple[int, int]:
    # Lines first: a batch whose items have lost their data is not looked at again after an interruption.
    _in_slices(connection, batch_id, request, "next_lines", None)
    purged, kept = _in_slices(connection, batch_id, request, "next_items", on_progress)
    if purged:
        details = {
            "items": purged,
            "kept_items": kept,
            "older_than_days": round(request.older_than / timedelta(days=1), 3),
            "outstanding_too": request.outstanding_too,
            "requested_by": request.requested_by,
        }
        with transaction(connection) as cursor:
            cursor.execute(_WORK["count_batch"], {"batch_id": batch_id})
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
    return purged, kept


def _in_slices(
    connection: Connection,
    batch_id: int,
    request: PurgeRequest,
    query: Literal["next_lines", "next_items"],
    on_progress: PurgeProgress | None,
) -> tuple[int, int]:
    after = purged = kept = 0
    while True:
        with transaction(connection) as cursor:
            # Nobody takes items of the lineage into a reprocess batch while it is decided which of them are wanted.
            cursor.execute(_ERASE["lock_lineages"], {"batches": [batch_id]})
            cursor.execute(_PURGE[query], {"batch_id": batch_id, "after": after, "limit": _SLICE})
            page = cursor.fetchall()
            if not page:
                return purged, kept
            wanted = _wanted(cursor, batch_id, sorted({number for _, number in page}), request)
            unwanted = [key for key, number in page if number not in wanted]
            if unwanted and query == "next_lines":
                cursor.execute(_ERASE["erase_log_lines"], {"ids": unwanted})
            elif unwanted:
                parameters = {"batches": [batch_id] * len(unwanted), "items": unwanted, "keep_row_keys": True}
                cursor.execute(_ERASE["erase_items"], parameters)
                cursor.execute(_ERASE["erase_attempts"], parameters)
                cursor.execute(_ERASE["uncount"], {"batches": [batch_id]})
                cursor.execute(_ERASE["count_items"], {"batch_id": batch_id, "items": len(unwanted)})
        after = page[-1][0]
        purged += len(unwanted)
        kept += len(page) - len(unwanted)
        if on_progress is not None:
            on_progress(len(page))


def _wanted(cursor: Any, batch_id: int, numbers: list[int], request: PurgeRequest) -> set[int]:
    cursor.execute(_PURGE["wanted_items"], {"batch_id": batch_id, "numbers": numbers})
    return {number for number, is_awaited in cursor.fetchall() if is_awaited or not request.outstanding_too}
