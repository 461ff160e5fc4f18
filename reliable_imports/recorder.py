"""Writes down what a chunk did, in the chunk's own transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg2
from psycopg2.extras import Json

from reliable_imports import copy_text
from reliable_imports.attempt import Attempt, attempt_columns, log_columns
from reliable_imports.failure import Failure
from reliable_imports.models import Batch
from reliable_imports.processor import BaseProcessor
from reliable_imports.queries import load
from reliable_imports.statuses import Outcome

_WORK = load("work.sql")
_MAX_DOUBLINGS = 16


class Recorder:
    def __init__(self, batch: Batch, processor: BaseProcessor, run_id: int) -> None:
        self._batch = batch
        self._processor = processor
        self._run_id = run_id
        self._known_reasons: set[str] = set()

    def forget(self) -> None:
        """Called when a chunk was undone: what it recorded is not there."""
        self._known_reasons.clear()

    def record(self, cursor: Any, range_number: int, first_item: int, attempts: list[Attempt]) -> None:
        """Append the attempts and their logs, advance the range, and renew the run's heartbeat."""
        self._record_reasons(cursor, attempts)
        attempt_rows = [row for each in attempts for row in attempt_columns(each, self._run_id, self._retry_after)]
        _copy(cursor, _WORK["copy_attempts"], attempt_rows)
        _copy(cursor, _WORK["copy_logs"], [row for each in attempts for row in log_columns(each, self._run_id)])
        outcomes = [attempt.outcome for attempt in attempts]
        counts = {
            "completed": outcomes.count(Outcome.COMPLETED),
            "failed": outcomes.count(Outcome.FAILED),
            "skipped": outcomes.count(Outcome.SKIPPED),
        }
        next_item = attempts[-1].item.item_number + 1
        place = {"batch_id": self._batch.id, "range_number": range_number}
        cursor.execute(_WORK["advance_range"], {**place, **counts, "first_item": first_item, "next_item": next_item})
        if cursor.rowcount != 1:
            raise AssertionError(f"range {range_number} of batch {self._batch.id} moved under a lock")
        cursor.execute(_WORK["beat"], {**place, **counts, "run_id": self._run_id})

    def _record_reasons(self, cursor: Any, attempts: list[Attempt]) -> None:
        failures = [attempt.failure for attempt in attempts if attempt.failure is not None]
        failures += [failure for attempt in attempts for failure in attempt.earlier_tries]
        new = {each.reason: each for each in failures if each.reason not in self._known_reasons}
        if not new:
            return
        facts = [
            {
                "fingerprint": each.reason,
                "stage": each.stage.value,
                "error_type": each.error_type,
                "sqlstate": each.sqlstate,
                "constraint_name": each.constraint,
                "field": each.field,
                "title": each.title,
            }
            for each in new.values()
        ]
        cursor.execute(_WORK["know_reasons"], {"batch_type": self._batch.batch_type, "reasons": Json(facts)})
        self._known_reasons.update(new)

    def _retry_after(self, failure: Failure, attempt: int) -> timedelta | None:
        if not failure.retryable or attempt >= self._processor.max_attempts:
            return None
        return self._processor.retry_backoff * float(2 ** min(attempt - 1, _MAX_DOUBLINGS))


def _copy(cursor: Any, statement: str, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    reader = copy_text.LineReader(copy_text.line(*row) for row in rows)
    try:
        cursor.copy_expert(statement, reader)
    except psycopg2.Error:
        if reader.error is not None:  # such as an interrupt, which must stop the run and not blame the items
            raise reader.error from None
        raise
    if cursor.rowcount != len(rows):
        raise AssertionError(f"sent {len(rows)} rows, but the server stored {cursor.rowcount}")
