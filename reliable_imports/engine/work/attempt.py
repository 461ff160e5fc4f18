"""What became of one item, and what is written down of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple

import msgspec

from reliable_imports.engine.isolation.session import ItemScope
from reliable_imports.items.failure import Failure
from reliable_imports.items.json_write import TooLarge, dumps_item
from reliable_imports.models import ImportBatchItem
from reliable_imports.processor.context import ItemNotes
from reliable_imports.statuses import Outcome, Stage

_MAX_PRINTED = 2_000


class StoredItem(NamedTuple):
    """An item as a claim reads it.

    Attributes:
        attempt: the number of the attempt that is about to be made.
        tries_last: it has waited for others, and none of them was completed since.
        duplicate_of: another item of the batch with the same natural key, which wins or (`fails`) makes this one fail.
    """

    item_number: int
    text: str | None
    raw: bytes | None
    read_problem: str | None
    read_problem_kind: str | None
    line: int | None
    offset: int | None
    earlier_attempts: int
    origin_batch_id: int | None
    origin_item_number: int | None
    attempt: int
    duplicate_of: int | None
    fails: bool | None
    tries_last: bool = False


class Attempt(msgspec.Struct, eq=False):
    """What became of one item; a failed write can still turn a completed one into a failed one."""

    item: ImportBatchItem
    stored: StoredItem
    outcome: Outcome
    scope: ItemScope
    notes: ItemNotes
    result: str | None = None
    skip_reason: str | None = None
    failure: Failure | None = None
    retry_pause: timedelta | None = None
    """The failure is transient: the item is tried again within the run, after this long."""
    environmental: bool = False
    """The failure says more about the world than about the item: an outage, a missing right, a missing table."""
    waits_for_others: bool = False
    """A deferred constraint was not met: the item is tried again when the others of its batch have been."""
    earlier_tries: Sequence[Failure] = ()

    @property
    def number(self) -> int:
        """Of this attempt at the item, across all reprocessing."""
        return self.stored.attempt + len(self.earlier_tries)

    @property
    def is_final(self) -> bool:
        return self.retry_pause is None and not self.waits_for_others


def completed_columns(attempts: Sequence[Attempt]) -> dict[str, str]:
    """What `record_chunk` is told of completed items: three arrays, the first two as the server writes them, the last
    with a line for each item, empty for NULL. No JSON text has a line break or is empty."""
    return {
        "numbers": f"{{{','.join([str(each.stored.item_number) for each in attempts])}}}",
        "tries": f"{{{','.join([str(each.stored.attempt + len(each.earlier_tries)) for each in attempts])}}}",
        "results": "\n".join([each.result or "" for each in attempts]),
    }


def skip_record(attempt: Attempt) -> dict[str, Any]:
    """The row of import_attempts for a skipped item."""
    return {
        "item_number": attempt.stored.item_number,
        "attempt": attempt.number,
        "skip_reason": clean_text(attempt.skip_reason or ""),
    }


def failure_records(
    attempt: Attempt, retry_after: Callable[[Failure, int], timedelta | None]
) -> Iterator[dict[str, Any]]:
    """The rows of import_attempts for the failed tries at one item: those followed by another, then the last."""
    number = attempt.item.attempt
    for failure in attempt.earlier_tries:
        yield _failure_record(attempt, number, failure, is_final=False, retry_after=None)
        number += 1
    if attempt.failure is not None:
        wait = None
        if attempt.is_final:
            # Tries within one batch count as one: else a few deadlocks would use up what is left for later runs.
            wait = retry_after(attempt.failure, attempt.stored.earlier_attempts + 1)
        yield _failure_record(attempt, number, attempt.failure, is_final=attempt.is_final, retry_after=wait)


def _failure_record(
    attempt: Attempt, number: int, failure: Failure, *, is_final: bool, retry_after: timedelta | None
) -> dict[str, Any]:
    return {
        "item_number": attempt.item.item_number,
        "attempt": number,
        "is_final": is_final,
        "stage": failure.stage.value,
        "error_type": failure.error_type,
        "sqlstate": failure.sqlstate,
        "constraint_name": failure.constraint,
        "field": failure.field and clean_text(failure.field),
        "message": failure.message,
        "detail": failure.detail,
        "missing_key": failure.missing_key,
        "traceback": failure.traceback,
        "reason": failure.reason,
        "reasons": failure.reasons,
        "faults": [
            {"reason": each.reason, "field": each.field, "rule": each.rule, "value": each.value}
            for each in failure.faults
        ],
        "retryable": failure.retryable,
        "retry_after": None if retry_after is None else f"{retry_after.total_seconds()} seconds",
    }


def log_json(attempt: Attempt) -> Iterator[str]:
    """The rows of import_logs for one item, as JSON texts: what it said, and that it failed or was skipped."""
    lines = [_line_json(line.level, line.message, line.details) for line in attempt.notes.logs]
    failure = attempt.failure
    if failure is not None and attempt.is_final:
        lines.append(_failure_json(failure.title, failure.reason, failure.stage))
    elif failure is not None and attempt.waits_for_others:
        waiting = {"reason": failure.reason, "stage": failure.stage.value}
        lines.append(_line_json("info", f"waits for other items: {failure.title}", waiting))
    elif failure is not None and attempt.retry_pause is not None:
        details = {
            "reason": failure.reason,
            "stage": failure.stage.value,
            "pause_seconds": round(attempt.retry_pause.total_seconds(), 3),
        }
        lines.append(_line_json("warning", f"tried again: {failure.title}", details))
    elif attempt.skip_reason is not None:
        lines.append(_line_json("info", f"skipped: {attempt.skip_reason}", {}))
    for line in lines:
        yield f'{{"item_number":{attempt.item.item_number},{line}'


@lru_cache(maxsize=256)
def _failure_json(title: str, reason: str, stage: Stage) -> str:
    """Remembered, for thousands of items fail in one way."""
    return _line_json("error", title, {"reason": reason, "stage": stage.value})


def _line_json(level: str, message: str, details: Mapping[str, Any]) -> str:
    """A row of import_logs as JSON, from after its item number."""
    text = encode_basestring(clean_text(message))
    return f'"level":"{level}","message":{text},"details":{details_json(details) or "null"}}}'


def clean_text(text: str) -> str:
    """What PostgreSQL can store of any text."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def details_json(details: Mapping[str, Any]) -> str | None:
    """Details as jsonb takes them; those that JSON cannot hold, or that are too large, are kept as they print, cut."""
    if not details:
        return None
    try:
        text = dumps_item(details).text
    except TooLarge:
        text = None
    return text if text is not None else json.dumps({"details": ascii(details)[:_MAX_PRINTED]})
