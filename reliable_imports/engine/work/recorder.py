"""Writes down what a chunk did, in the chunk's own transaction and in one call of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import compress
from typing import Any, NamedTuple

import msgspec

from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.engine.work.audit_log import clean_text, log_json
from reliable_imports.engine.work.claims import RETRIES, Claim, without_statement_limit
from reliable_imports.items.failure import Failure
from reliable_imports.items.fingerprint import FINGERPRINT_VERSION
from reliable_imports.models import Batch, Fault
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.code_version import code_version
from reliable_imports.processor.facts import facts_of
from reliable_imports.statuses import Outcome, Stage
from reliable_imports.writes.identifiers import array_text
from reliable_imports.writes.key import Key
from reliable_imports.writes.plan import Write
from reliable_imports.writes.row_texts import Expressions, Texts

_WORK = load("work.sql")
_encode = msgspec.json.Encoder().encode
_MAX_DOUBLINGS = 16
_WITHOUT_WAITING = "SET LOCAL synchronous_commit = off; "

_MAX_UNFLUSHED_SECONDS = 1.0
"""How long commits go on before one waits until the disk has it: so much work a crash of the server undoes."""

_LONG_CHUNK_SECONDS = 0.2
"""After so long a chunk the commit waits in any case: its items may have told somebody else."""


class _FailureKind(NamedTuple):
    """All that is recorded of a failure but what is its item's own. Most failures of a chunk are of a few kinds.

    Attributes:
        wait: until the item may be reprocessed without anybody's help; None if it may not.
    """

    is_final: bool
    stage: Stage
    error_type: str
    sqlstate: str | None
    constraint: str | None
    field: str | None
    message: str
    detail: str | None
    missing_fields: tuple[str, ...] | None
    traceback: str | None
    reasons: tuple[str, ...]
    retryable: bool
    wait: timedelta | None

    @classmethod
    def of(cls, failure: Failure, *, is_final: bool, wait: timedelta | None) -> _FailureKind:
        return cls(
            is_final,
            failure.stage,
            failure.error_type,
            failure.sqlstate,
            failure.constraint,
            failure.field,
            failure.message,
            failure.detail,
            failure.missing_fields,
            failure.traceback,
            failure.reasons,
            failure.retryable,
            wait,
        )


class Recorder:
    def __init__(self, batch: Batch, processor: BaseProcessor, run_id: int) -> None:
        self._batch = batch
        self._processor = processor
        self._run_id = run_id
        self._known_reasons: set[str] = set()
        self._code_version = code_version(type(processor))
        self._sensitive = facts_of(processor).sensitive_names()
        self._without_limit = without_statement_limit(processor)
        self._flushed_at = time.monotonic()

    def forget(self) -> None:
        """Called when a chunk was undone: what it recorded is not there."""
        self._known_reasons.clear()

    def commit(
        self,
        cursor: Any,
        claim: Claim,
        attempts: Sequence[Attempt],
        begun_at: float,
        expected: CompletedItems | None = None,
        pending: str = "",
    ) -> None:
        """Append attempts and logs, move the range and the run on, and commit, all in one message to the server.

        While commits follow each other closely, few of them wait for the disk. The disk has them in their order, and
        whatever ends the run or its batch waits for all of them.

        Args:
            begun_at: when the first of them was tried, by the monotonic clock.
            expected: what was prepared before the attempts were written.
            pending: SQL that goes first; see `ChunkTransaction`.
        """
        if self._sensitive:
            for attempt in attempts:
                if attempt.is_eventful or attempt.result is not None:
                    attempt.hide(self._sensitive)
        completed = _completed(attempts)
        expected = CompletedItems(completed) if expected is None else expected.after_writing(completed)
        parameters = {
            "batch_id": self._batch.id,
            "run_id": self._run_id,
            "transaction_id": claim.transaction_id,
            "range_number": claim.range_number,
            "first_item": claim.next_item,
            "next_item": attempts[-1].stored.item_number + 1,
            "retried": _numbers(attempts) if claim.range_number == RETRIES else None,
            "completed": len(completed),
            **expected.columns,
            "left_out": array_text(expected.left_out) if expected.left_out else None,
            **self._records([attempt for attempt in attempts if attempt.is_eventful]),
        }
        # Put together, and not put in: a text of an item may look like a parameter, or like the place of the keys.
        before, after = _WORK["record_chunk"].split("{keys}")
        statement = cursor.mogrify(before, parameters).decode() + expected.keys_of_completed() + after
        now = time.monotonic()
        waits = now - self._flushed_at > _MAX_UNFLUSHED_SECONDS or now - begun_at > _LONG_CHUNK_SECONDS
        cursor.execute(f"{pending}{self._without_limit}{statement}; {'' if waits else _WITHOUT_WAITING}COMMIT")
        if waits:
            self._flushed_at = time.monotonic()

    def prepare(self, attempts: Sequence[Attempt]) -> CompletedItems | None:
        """What will be told of attempts if their declared writes are taken; None if values have to be hidden first."""
        return None if self._sensitive else CompletedItems(_completed(attempts), are_written=False)

    def _records(self, eventful: Sequence[Attempt]) -> dict[str, Any]:
        """What `record_chunk` is told of all that has more to say than that it was completed."""
        skipped = [attempt for attempt in eventful if attempt.outcome is Outcome.SKIPPED]
        failed = [attempt for attempt in eventful if attempt.outcome is Outcome.FAILED and attempt.is_final]
        retried = [attempt for attempt in eventful if not attempt.is_final]
        kinds: dict[_FailureKind, int] = {}
        failures = [row for attempt in eventful for row in _failure_records(attempt, kinds, self._retry_after)]
        logs = [line for attempt in eventful for line in log_json(attempt)]
        return {
            "failed": len(failed),
            "skipped": len(skipped),
            "skips": _json(list(map(_skip_record, skipped))),
            "failures": _json(failures),
            "failure_kinds": _json([_kind_record(number, kind, self._code_version) for kind, number in kinds.items()]),
            "reasons": _json(self._new_reasons(eventful)),
            "retries": _json(list(map(_retry_record, retried))),
            "logs": f"[{','.join(logs)}]" if logs else None,
        }

    def _new_reasons(self, attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
        failures = [attempt.failure for attempt in attempts if attempt.failure is not None]
        failures += [failure for attempt in attempts for failure in attempt.earlier_tries]
        known = self._known_reasons
        new: dict[str, tuple[Failure, Fault]] = {}
        for failure in failures:
            for fault in failure.faults:
                if fault.reason not in known:
                    new.setdefault(fault.reason, (failure, fault))
        known.update(new)
        return [
            {
                "fingerprint": fault.reason,
                "version": FINGERPRINT_VERSION,
                "batch_type": self._batch.batch_type,
                "stage": each.stage.value,
                "error_type": each.error_type,
                "sqlstate": each.sqlstate,
                "constraint_name": each.constraint,
                "field": fault.field,
                "rule": fault.rule,
                "title": fault.title,
            }
            for each, fault in new.values()
        ]

    def _retry_after(self, failure: Failure, attempt: int) -> timedelta | None:
        if not failure.retryable or attempt >= self._processor.max_attempts:
            return None
        return self._processor.retry_backoff * float(2 ** min(attempt - 1, _MAX_DOUBLINGS))


class CompletedItems:
    """What `record_chunk` is told of the items that have completed, or are expected to.

    Attributes:
        columns: three arrays, the first two as the server writes them, the last with a line for each item, empty for
            NULL. No JSON text has a line break or is empty.
        left_out: the numbers of items that were expected to complete and have not; nothing is recorded of them here.
    """

    def __init__(self, completed: Sequence[Attempt], *, are_written: bool = True) -> None:
        """
        Args:
            are_written: what the items have declared was sent; if not, all of it is expected to be taken as it is.
        """
        self._attempts = completed
        self._written = [
            attempt.writes.written if are_written else attempt.writes.written + tuple(attempt.writes.declared)
            for attempt in completed
        ]
        self._results, self._earlier_tries = _results_and_earlier_tries(completed)
        self.columns = {
            "numbers": array_text([attempt.stored.item_number for attempt in completed]),
            "tries": array_text([attempt.number for attempt in completed]),
            "results": "\n".join([result or "" for result in self._results]),
        }
        self.left_out: Sequence[int] = ()
        self._keys = _keys_written(completed, self._written)

    def after_writing(self, completed: Sequence[Attempt]) -> CompletedItems:
        """The same without those that have not completed; made anew if something else became of one than expected."""
        stay = [attempt.outcome is Outcome.COMPLETED for attempt in self._attempts]
        results, earlier_tries = _results_and_earlier_tries(completed)
        is_as_expected = (
            completed == list(compress(self._attempts, stay))
            and [attempt.writes.written for attempt in completed] == list(compress(self._written, stay))
            and results == list(compress(self._results, stay))
            and earlier_tries == list(compress(self._earlier_tries, stay))
        )
        if not is_as_expected:
            return CompletedItems(completed)
        self.left_out = [each.stored.item_number for each, stays in zip(self._attempts, stay, strict=True) if not stays]
        return self

    def keys_of_completed(self) -> str:
        """A SELECT of item_number and row_key for each row that those have written who are not left out."""
        if not self._keys:
            return _WORK["no_keys"]
        if not self.left_out:
            return self._keys
        # A key may be no value of its column's type, which is why its item has failed. The planner moves the condition
        # to where the texts come from, so such a key is not read.
        of_completed = f"item_number <> ALL ('{array_text(self.left_out)}'::bigint[])"
        return f"SELECT item_number, row_key FROM ({self._keys}) AS expected WHERE {of_completed}"


def _keys_written(completed: Sequence[Attempt], written: Sequence[Sequence[Write]]) -> str:
    """A SELECT of item_number and row_key for each row that the items have written; empty if they wrote none."""
    by_kind: dict[tuple[Key, Expressions], tuple[list[int], list[Texts]]] = {}
    hashed: list[tuple[int, int]] = []
    for attempt, writes in zip(completed, written, strict=True):
        number = attempt.stored.item_number
        for write in writes:
            if write.key is not None:
                row_key = write.plan.key
                kind = (row_key, row_key.expressions_of(write.expressions) if write.expressions else ())
                if kind not in by_kind:
                    by_kind[kind] = ([], [])
                numbers, keys = by_kind[kind]
                numbers.append(number)
                keys.append(write.key)
        if attempt.writes.row_keys:
            hashed += [(number, key) for key in attempt.writes.row_keys]
        if attempt.natural_key is not None:
            hashed.append((number, attempt.natural_key))
    queries = [key.hashes_of_keys(shared, numbers, keys) for (key, shared), (numbers, keys) in by_kind.items()]
    if hashed:
        items, row_keys = zip(*hashed, strict=True)
        queries.append(
            f"SELECT pg_catalog.unnest('{array_text(items)}'::bigint[]) AS item_number, "
            f"pg_catalog.unnest('{array_text(row_keys)}'::bigint[]) AS row_key"
        )
    return " UNION ALL ".join(queries)


def _results_and_earlier_tries(attempts: Sequence[Attempt]) -> tuple[list[str | None], list[Sequence[Failure]]]:
    return [each.result for each in attempts], [each.earlier_tries for each in attempts]


def _completed(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if attempt.outcome is Outcome.COMPLETED]


def _numbers(attempts: Sequence[Attempt]) -> list[int]:
    return [attempt.stored.item_number for attempt in attempts]


def _skip_record(attempt: Attempt) -> dict[str, Any]:
    """The row of import_attempts for a skipped item."""
    return {
        "item_number": attempt.stored.item_number,
        "attempt": attempt.number,
        "skip_reason": clean_text(attempt.skip_reason or ""),
    }


def _retry_record(attempt: Attempt) -> dict[str, Any]:
    """The row of import_retries for an item that is tried again."""
    assert attempt.retry is not None
    return {
        "item_number": attempt.stored.item_number,
        "next_attempt": attempt.number + 1,
        "pause": f"{attempt.retry.pause.total_seconds()} seconds",
        "waits_for_others": attempt.retry.waits_for_others,
    }


def _failure_records(
    attempt: Attempt,
    kinds: dict[_FailureKind, int],
    retry_after: Callable[[Failure, int], timedelta | None],
) -> Iterator[dict[str, Any]]:
    """The rows of import_attempts for the failed tries at one item: those followed by another, then the last.

    Without what each has in common with others of its kind; new kinds are added to *kinds*.
    """
    number = attempt.stored.attempt
    for failure in attempt.earlier_tries:
        yield _failure_record(attempt, number, failure, kinds, _FailureKind.of(failure, is_final=False, wait=None))
        number += 1
    if attempt.failure is not None:
        wait = None
        if attempt.is_final:
            # Tries within one batch count as one: else a few deadlocks would use up what is left for later runs.
            wait = retry_after(attempt.failure, attempt.stored.earlier_attempts + 1)
        kind = _FailureKind.of(attempt.failure, is_final=attempt.is_final, wait=wait)
        yield _failure_record(attempt, number, attempt.failure, kinds, kind)


def _failure_record(
    attempt: Attempt, number: int, failure: Failure, kinds: dict[_FailureKind, int], kind: _FailureKind
) -> dict[str, Any]:
    return {
        "kind": kinds.setdefault(kind, len(kinds)),
        "item_number": attempt.stored.item_number,
        "attempt": number,
        "missing_key": failure.missing_key,
        "faults": [
            {"reason": each.reason, "field": each.field, "rule": each.rule, "value": each.value}
            for each in failure.faults
        ],
    }


def _kind_record(number: int, kind: _FailureKind, code_version: str | None) -> dict[str, Any]:
    """The columns of import_attempts that are the same for all failures of a kind."""
    return {
        "number": number,
        "is_final": kind.is_final,
        "stage": kind.stage.value,
        "error_type": kind.error_type,
        "sqlstate": kind.sqlstate,
        "constraint_name": kind.constraint,
        "field": kind.field and clean_text(kind.field),
        "message": kind.message,
        "detail": kind.detail,
        "missing_fields": kind.missing_fields,
        "traceback": kind.traceback,
        "reasons": kind.reasons,
        "code_version": code_version,
        "retryable": kind.retryable,
        "retry_after": None if kind.wait is None else f"{kind.wait.total_seconds()} seconds",
    }


def _json(rows: Sequence[dict[str, Any]]) -> str | None:
    return _encode(rows).decode() if rows else None
