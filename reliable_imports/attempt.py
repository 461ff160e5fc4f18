"""What became of one item, and the rows that say so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from reliable_imports.chunk_session import ItemScope
from reliable_imports.context import ItemNotes, LogLine
from reliable_imports.failure import Failure
from reliable_imports.json_text import dumps_item
from reliable_imports.models import ImportBatchItem
from reliable_imports.statuses import Outcome

_MAX_PRINTED = 2_000


@dataclass(slots=True)
class Attempt:
    """What became of one item; a failed write can still turn a completed one into a failed one."""

    item: ImportBatchItem
    outcome: Outcome
    scope: ItemScope
    notes: ItemNotes
    result: str | None = None
    skip_reason: str | None = None
    failure: Failure | None = None
    earlier_tries: list[Failure] = field(default_factory=list)


def attempt_columns(
    attempt: Attempt, run_id: int, retry_after: Callable[[Failure, int], timedelta | None]
) -> list[tuple[Any, ...]]:
    """The rows of import_attempts for one item: the tries that were followed by another, then the last."""
    rows = []
    number = attempt.item.attempt
    for failure in attempt.earlier_tries:
        rows.append(_failed_columns(attempt, number, run_id, failure, is_final=False, retry_after=None))
        number += 1
    if attempt.failure is not None:
        # Tries within one run count as one: else a few deadlocks would use up what is left for later runs.
        wait = retry_after(attempt.failure, attempt.item.attempt)
        rows.append(_failed_columns(attempt, number, run_id, attempt.failure, is_final=True, retry_after=wait))
    else:
        item = attempt.item
        rows.append(
            (item.batch_id, item.item_number, number, run_id, attempt.outcome.value, True, _natural_key(attempt))
            + (attempt.result, attempt.skip_reason and clean_text(attempt.skip_reason))
            + (None,) * 11
        )
    return rows


def _failed_columns(
    attempt: Attempt, number: int, run_id: int, failure: Failure, *, is_final: bool, retry_after: timedelta | None
) -> tuple[Any, ...]:
    item = attempt.item
    return (
        item.batch_id, item.item_number, number, run_id, Outcome.FAILED.value, is_final, _natural_key(attempt),
        None, None, failure.stage.value, failure.error_type, failure.sqlstate, failure.constraint, failure.field,
        failure.message, failure.detail, failure.traceback, failure.reason, failure.retryable,
        None if retry_after is None else f"{retry_after.total_seconds()} seconds",
    )  # fmt: skip


def _natural_key(attempt: Attempt) -> str | None:
    return attempt.notes.natural_key and clean_text(attempt.notes.natural_key)


def log_columns(attempt: Attempt, run_id: int) -> list[tuple[Any, ...]]:
    """The rows of import_logs for one item: what it said, and that it failed or was skipped."""
    item = attempt.item
    lines = list(attempt.notes.logs)
    if attempt.failure is not None:
        failure = attempt.failure
        lines.append(LogLine("error", failure.title, {"reason": failure.reason, "stage": failure.stage.value}))
    elif attempt.skip_reason is not None:
        lines.append(LogLine("info", f"skipped: {attempt.skip_reason}", {}))
    return [
        (item.batch_id, item.item_number, run_id, line.level, clean_text(line.message), details_json(line.details))
        for line in lines
    ]


def clean_text(text: str) -> str:
    """What PostgreSQL can store of any text."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def details_json(details: Mapping[str, Any]) -> str | None:
    """Details as jsonb takes them; those that JSON cannot hold are kept as they print."""
    if not details:
        return None
    text = dumps_item(details).text
    return text if text is not None else json.dumps({"details": ascii(details)[:_MAX_PRINTED]})
