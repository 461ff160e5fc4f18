"""Writes down what a chunk did, in the chunk's own transaction and in one call of the server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from reliable_imports.engine.attempt import Attempt, ended_json, failure_records, log_json
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

    def commit(
        self, cursor: Any, transaction_id: int, range_number: int, first_item: int | None, attempts: Sequence[Attempt]
    ) -> None:
        """Append attempts and logs, move the range and the run on, and commit, all in one message to the server.

        Args:
            first_item: where the range stood; None for items whose range has moved on (retries).
        """
        final = [attempt for attempt in attempts if attempt.is_final]
        outcomes = [attempt.outcome for attempt in final]
        chunk: dict[str, Any] = {
            "batch_id": self._batch.id,
            "run_id": self._run_id,
            "transaction_id": transaction_id,
            "range_number": range_number,
            "completed": outcomes.count(Outcome.COMPLETED),
            "failed": outcomes.count(Outcome.FAILED),
            "skipped": outcomes.count(Outcome.SKIPPED),
        }
        if first_item is None:
            chunk["retried"] = [attempt.item.item_number for attempt in attempts]
        else:
            chunk["first_item"] = first_item
            chunk["next_item"] = attempts[-1].item.item_number + 1
        if failures := [row for attempt in attempts for row in failure_records(attempt, self._retry_after)]:
            chunk["failures"] = failures
        if reasons := self._new_reasons(attempts):
            chunk["reasons"] = reasons
        retries = [_retry(attempt) for attempt in attempts if attempt.retry_pause is not None]
        if retries:
            chunk["retries"] = retries
        text = json.dumps(chunk)[:-1]
        text += f',"ended":[{",".join(ended_json(each) for each in attempts if each.failure is None)}]'
        if logs := [line for attempt in attempts for line in log_json(attempt)]:
            text += f',"logs":[{",".join(logs)}]'
        cursor.execute(_WORK["record_chunk"] + "; COMMIT", {"chunk": text + "}"})

    def _new_reasons(self, attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
        failures = [attempt.failure for attempt in attempts if attempt.failure is not None]
        failures += [failure for attempt in attempts for failure in attempt.earlier_tries]
        new = {each.reason: each for each in failures if each.reason not in self._known_reasons}
        self._known_reasons.update(new)
        return [
            {
                "fingerprint": each.reason,
                "batch_type": self._batch.batch_type,
                "stage": each.stage.value,
                "error_type": each.error_type,
                "sqlstate": each.sqlstate,
                "constraint_name": each.constraint,
                "field": each.field,
                "title": each.title,
            }
            for each in new.values()
        ]

    def _retry_after(self, failure: Failure, attempt: int) -> timedelta | None:
        if not failure.retryable or attempt >= self._processor.max_attempts:
            return None
        return self._processor.retry_backoff * float(2 ** min(attempt - 1, _MAX_DOUBLINGS))


def _retry(attempt: Attempt) -> dict[str, Any]:
    assert attempt.retry_pause is not None
    return {
        "item_number": attempt.item.item_number,
        "next_attempt": attempt.item.attempt + len(attempt.earlier_tries) + 1,
        "pause": f"{attempt.retry_pause.total_seconds()} seconds",
    }
