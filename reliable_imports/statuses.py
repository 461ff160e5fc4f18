"""The words for where things are and how they ended, and the moves that are allowed between them.

The tables' CHECKs name the same values; a test compares both.
"""

from __future__ import annotations

from enum import Enum


class Word(str, Enum):
    """A string with a closed set of values; prints as the bare word, also on Python 3.10."""

    def __str__(self) -> str:
        return str(self.value)


class BatchStatus(Word):
    PENDING = "pending"
    PROCESSING = "processing"
    PAUSED = "paused"
    COMPLETED = "completed"
    COMPLETED_WITH_FAILURES = "completed_with_failures"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return not BATCH_MOVES[self]


BATCH_MOVES: dict[BatchStatus, frozenset[BatchStatus]] = {
    # A run has begun to work the batch. It stays `processing` when the run dies, free for the next one.
    BatchStatus.PENDING: frozenset({BatchStatus.PROCESSING, BatchStatus.PAUSED, BatchStatus.CANCELLED}),
    # No range is open any more: the counts decide which of the first three it is.
    BatchStatus.PROCESSING: frozenset(
        {
            BatchStatus.COMPLETED,
            BatchStatus.COMPLETED_WITH_FAILURES,
            BatchStatus.FAILED,
            BatchStatus.PAUSED,
            BatchStatus.CANCELLED,
        },
    ),
    # Somebody, a tolerance or the circuit breaker stopped it; whoever processes it next resumes it.
    BatchStatus.PAUSED: frozenset({BatchStatus.PROCESSING, BatchStatus.CANCELLED}),
    # Final: what failed is repeated by a batch of its own, linked to this one.
    BatchStatus.COMPLETED: frozenset(),
    BatchStatus.COMPLETED_WITH_FAILURES: frozenset(),
    BatchStatus.FAILED: frozenset(),
    # Final too: a person's word that the rest is not wanted. What was pending counts as outstanding.
    BatchStatus.CANCELLED: frozenset(),
}


class ItemStatus(Word):
    """Derived, never stored: from the item's final attempt, else from whether a live run holds its range."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"


class Outcome(Word):
    """How an attempt at one item ended."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"


class Stage(Word):
    """Where in an item's life a failure arose."""

    READ = "read"
    VALIDATE = "validate"
    PREPARE = "prepare"
    PROCESS = "process"
    WRITE = "write"


class ReasonState(Word):
    """Where a cause of failures is now. Computed, never stored.

    Attributes:
        OPEN: something that failed for it is outstanding, or is being repeated.
        BACK: likewise, after all that had failed for it was repaired, and under code that had not failed before.
        IGNORED: likewise, and a person has said to leave it.
        CLOSED: nothing is outstanding.
    """

    OPEN = "open"
    BACK = "back"
    IGNORED = "ignored"
    CLOSED = "closed"


class Runner(Word):
    """Who executes a run."""

    PYTHON = "python"
    CLI = "cli"
    DAGSTER = "dagster"


class RunMode(Word):
    """Why a run works its batch: first time, first time of a reprocess batch, or again after another run."""

    IMPORT = "import"
    REPROCESS = "reprocess"
    RESUME = "resume"


class RunOutcome(Word):
    """How a run ended; a run that was killed has none and is recognised by its old heartbeat."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
