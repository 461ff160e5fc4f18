"""Pausing and cancelling a batch from outside: its workers stop after the chunk that they are at."""

from __future__ import annotations

from psycopg2.extras import Json

from reliable_imports.errors import BatchFinished, UnknownBatch
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import BatchStatus

_SUSPECTS = load("suspects.sql")
_WORK = load("work.sql")


def pause_batch(connection: Connection, batch_id: int, reason: str | None) -> None:
    """See `BatchManager.pause_batch`."""
    _move(connection, batch_id, BatchStatus.PAUSED, reason or "by request")


def cancel_batch(connection: Connection, batch_id: int, reason: str | None) -> None:
    """See `BatchManager.cancel_batch`."""
    _move(connection, batch_id, BatchStatus.CANCELLED, reason)


def _move(connection: Connection, batch_id: int, status: BatchStatus, reason: str | None) -> None:
    query = "pause_batch" if status is BatchStatus.PAUSED else "cancel_batch"
    with transaction(connection) as cursor:
        cursor.execute(_WORK["lock_batch"], {"batch_id": batch_id})
        found = cursor.fetchone()
        if found is None:
            raise UnknownBatch(batch_id)
        if found[0] == status:
            return
        cursor.execute(_WORK[query], {"batch_id": batch_id, "reason": reason})
        if cursor.fetchone() is None:
            raise BatchFinished(batch_id, found[0], status.value)
        if status is BatchStatus.CANCELLED:
            cursor.execute(_SUSPECTS["clear_all"], {"batch_id": batch_id})
        details = {} if reason is None else {"reason": reason}
        cursor.execute(
            _WORK["insert_log"],
            {
                "batch_id": batch_id,
                "run_id": None,
                "level": "warning",
                "message": f"batch {status}",
                "details": Json(details),
            },
        )
