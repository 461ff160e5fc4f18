"""How a batch and a run end: closed, paused, or left to others. Each is one step, and safe to repeat."""

from __future__ import annotations

from reliable_imports.batches.counts import count_batch
from reliable_imports.batches.read import get_batch
from reliable_imports.engine.work.audit_log import AuditLog, clean_text
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import BatchStatus, RunOutcome

_SUSPECTS = load("suspects.sql")
_WORK = load("work.sql")


def pause_batch(connection: Connection, audit_log: AuditLog, reason: str) -> None:
    with transaction(connection) as cursor:
        cursor.execute(_WORK["pause_batch"], {"batch_id": audit_log.batch_id, "reason": clean_text(reason)})
        if cursor.fetchone() is not None:
            audit_log.say(cursor, "error", "batch paused", {"reason": reason})


def close_batch(connection: Connection, audit_log: AuditLog) -> bool:
    """Close the batch; False if a range is open. Two workers that finish together wait for each other here."""
    with transaction(connection) as cursor:
        cursor.execute(_WORK["lock_batch"], {"batch_id": audit_log.batch_id})
        cursor.execute(_WORK["close_batch"], {"batch_id": audit_log.batch_id})
        closed = cursor.fetchone()
        if closed is None:
            return False
        status, total, is_counted, is_repeat = closed
        if not is_counted:
            count_batch(cursor, audit_log.batch_id, may_repeat=is_repeat)
        if is_repeat:  # which is always counted
            cursor.execute(_WORK["continue_reasons"], {"batch_id": audit_log.batch_id})
        cursor.execute(_SUSPECTS["clear_all"], {"batch_id": audit_log.batch_id})
        level = "info" if total and status == BatchStatus.COMPLETED else "warning"
        message = "batch closed" if total else "batch closed without items"
        audit_log.say(cursor, level, message, {"status": status})
    return True


def has_free_range(connection: Connection, batch_id: int) -> bool:
    """Whether a range came free since the last claim: its worker may have died meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(_WORK["has_free_range"], {"batch_id": batch_id})
        return cursor.fetchone() is not None


def outcome_of_run(connection: Connection, batch_id: int) -> tuple[RunOutcome, str | None]:
    """How a run ends that has nothing left to do, and why, if the batch is not done with it."""
    batch = get_batch(connection, batch_id)
    if batch.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED):
        return RunOutcome.INTERRUPTED, f"the batch is {batch.status}"
    return RunOutcome.FINISHED, None


def end_run(connection: Connection, audit_log: AuditLog, outcome: RunOutcome, error: str | None) -> None:
    with transaction(connection) as cursor:
        cursor.execute(
            _WORK["end_run"],
            {"run_id": audit_log.run_id, "outcome": outcome.value, "error": error and clean_text(error)},
        )
        level = "info" if outcome is RunOutcome.FINISHED else "warning"
        audit_log.say(cursor, level, f"run {outcome}", {"error": error} if error else {})
