"""What became of one item, and what is written down of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from json.encoder import encode_basestring
from typing import Any, NamedTuple

import msgspec

from reliable_imports.engine.isolation.item_writes import ItemWrites
from reliable_imports.items.failure import Failure
from reliable_imports.items.json_write import TooLarge, dumps_item
from reliable_imports.items.redaction import without_secrets
from reliable_imports.models import ImportBatchItem
from reliable_imports.processor.context import LogLine
from reliable_imports.processor.result import dumps_result
from reliable_imports.statuses import Outcome, Stage

_MAX_PRINTED = 2_000


class StoredItem(NamedTuple):
    """An item as a claim reads it.

    Attributes:
        attempt: the number of the attempt that is about to be made.
        duplicate_of: another item of the batch with the same natural key, which wins; or, where `duplicate_fails`,
            makes this one fail.
        tries_last: the item has waited for others, and none of those was completed since.
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
    duplicate_fails: bool | None
    tries_last: bool = False

    @property
    def is_for_the_processor(self) -> bool:
        """Whether the processor sees it; what becomes of any other item is known beforehand."""
        return self.read_problem is None and self.duplicate_of is None

    def given(self, batch_id: int, source_data: Any = None, prepared: Any = None) -> ImportBatchItem:
        """The item as the processor gets it."""
        return ImportBatchItem(batch_id, self.item_number, source_data, self.line, self.offset, self.attempt, prepared)


class Prepared(NamedTuple):
    """What `prepare_item` gave for one item, or what it raised."""

    value: Any
    error: BaseException | None


class Retry(NamedTuple):
    """The item is tried again within the run.

    Attributes:
        pause: not before this long.
        waits_for_others: a deferred constraint was not met, and another item of the batch may bring what it needs.
    """

    pause: timedelta = timedelta(0)
    waits_for_others: bool = False


class Attempt(msgspec.Struct, eq=False):
    """What became of one item; a failed write can still turn a completed one into a failed one."""

    stored: StoredItem
    writes: ItemWrites
    item: ImportBatchItem | None = None
    """As the processor gets it; None until it was read."""
    outcome: Outcome = Outcome.COMPLETED
    stage: Stage = Stage.READ
    """How far the item has come."""
    result: str | None = None
    skip_reason: str | None = None
    failure: Failure | None = None
    is_environmental: bool = False
    """The failure says more about the world than about the item: an outage, a missing right, a missing table."""
    retry: Retry | None = None
    earlier_tries: Sequence[Failure] = ()
    """Failures in this run before this attempt, whose chunks were undone."""
    logs: list[LogLine] = []  # a new list for each
    natural_key: int | None = None
    """The natural key that the processor declares, hashed."""

    @property
    def source_data(self) -> Any:
        """As the processor gets it; None until it was read."""
        return None if self.item is None else self.item.source_data

    @property
    def number(self) -> int:
        """Of this attempt at the item, across all reprocessing."""
        return self.stored.attempt + len(self.earlier_tries)

    @property
    def is_final(self) -> bool:
        return self.retry is None

    @property
    def is_eventful(self) -> bool:
        """Whether there is more to say of it than that it was completed; most often there is not."""
        return self.outcome is not Outcome.COMPLETED or bool(self.logs) or bool(self.earlier_tries)

    def skip(self, reason: str) -> None:
        self.outcome, self.result, self.skip_reason = Outcome.SKIPPED, None, reason

    def fail(self, failure: Failure, *, is_environmental: bool) -> None:
        self.outcome, self.result, self.failure = Outcome.FAILED, None, failure
        self.is_environmental = is_environmental

    def hide(self, sensitive: frozenset[str]) -> None:
        """Take out of what is written down of the attempt what the item's sensitive fields hold; logs have none."""
        data = self.source_data
        hidden = partial(without_secrets, source_data=data, sensitive=sensitive)
        if self.result is not None:
            self.result = dumps_result(hidden(json.loads(self.result)))
        self.skip_reason = hidden(self.skip_reason)
        if self.failure is not None:
            self.failure = self.failure.without_values_of(sensitive, data)
        self.earlier_tries = [each.without_values_of(sensitive, data) for each in self.earlier_tries]


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


def retry_record(attempt: Attempt) -> dict[str, Any]:
    """The row of import_retries for an item that is tried again."""
    assert attempt.retry is not None
    return {
        "item_number": attempt.stored.item_number,
        "next_attempt": attempt.number + 1,
        "pause": f"{attempt.retry.pause.total_seconds()} seconds",
        "waits_for_others": attempt.retry.waits_for_others,
    }


def failure_records(
    attempt: Attempt, retry_after: Callable[[Failure, int], timedelta | None]
) -> Iterator[dict[str, Any]]:
    """The rows of import_attempts for the failed tries at one item: those followed by another, then the last."""
    number = attempt.stored.attempt
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
        "item_number": attempt.stored.item_number,
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
    """The rows of import_logs for one item, as JSON texts: what was said of it, and that it waits for another try.

    That it failed or was skipped, and why, is in its attempt.
    """
    lines = [_line_json(line.level, line.message, line.details) for line in attempt.logs]
    failure, retry = attempt.failure, attempt.retry
    if failure is not None and retry is not None:
        details: dict[str, Any] = {"reason": failure.reason, "stage": failure.stage.value}
        if retry.waits_for_others:
            lines.append(_line_json("info", f"waits for other items: {failure.title}", details))
        else:
            details["pause_seconds"] = round(retry.pause.total_seconds(), 3)
            lines.append(_line_json("warning", f"tried again: {failure.title}", details))
    for line in lines:
        yield f'{{"item_number":{attempt.stored.item_number},{line}'


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
