"""The words for where things are and how they ended, and the moves that are allowed between them.

The tables' CHECKs name the same values, and the queries make the same moves; tests compare them.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Word(str, Enum):
    """A string with a closed set of values; prints as the bare word, also on Python 3.10."""

    def __str__(self) -> str:
        return str(self.value)


DATA_ERASED = "data erased"
"""What stands where something of an item stood that was erased. The triggers of the tables know it."""


class BatchStatus(Word):
    """Where a batch is; `BATCH_MOVES` says where it may go from there."""

    PENDING = "pending"
    PROCESSING = "processing"
    PAUSED = "paused"
    COMPLETED = "completed"
    COMPLETED_WITH_FAILURES = "completed_with_failures"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a batch stays there for good."""
        return not BATCH_MOVES[self]


class Move(NamedTuple):
    """One move of something, and what the move rests on.

    Attributes:
        start: where it is before; None if it is made by the move.
        end: where it is afterwards; None if it is gone.
        query: the query or SQL function that makes the move; None if nothing has to be written for it.
        by: who makes it, and when.
        otherwise: what happens if nobody does.
    """

    start: str | None
    end: str | None
    query: str | None
    by: str
    otherwise: str


_UNTIL_A_RUN = "It waits; the sensor of waiting batches starts a run where Dagster watches."
_STAYS_OPEN = "It stays processing, and the next run that comes closes it."
_GOES_ON = "It goes on to its end."

MOVES_OF_A_BATCH = (
    Move("pending", "processing", "start_batch", "The first run, before its first claim.", _UNTIL_A_RUN),
    Move(
        "pending", "completed", "skip_batch", "Whoever makes a repeat batch of what is given up, with the batch.",
        "There is no batch.",
    ),
    Move("pending", "paused", "pause_batch", "A person.", _UNTIL_A_RUN),
    Move("pending", "cancelled", "cancel_batch", "A person; its items are outstanding.", _UNTIL_A_RUN),
    Move("processing", "completed", "close_batch", "The run that finds it done: nothing has failed.", _STAYS_OPEN),
    Move(
        "processing", "completed_with_failures", "close_batch",
        "The run that finds it done: some items have failed, and others completed.", _STAYS_OPEN,
    ),
    Move("processing", "failed", "close_batch", "The run that finds it done: none has completed.", _STAYS_OPEN),
    Move("processing", "paused", "pause_batch", "A person, a tolerance or the circuit breaker.", _GOES_ON),
    Move("processing", "cancelled", "cancel_batch", "A person; chunks under way are still committed.", _GOES_ON),
    Move(
        "paused", "processing", "start_batch", "Whoever processes it next, after the cause is mended.",
        "It stays paused: nothing resumes by itself what somebody or something has stopped.",
    ),
    Move("paused", "cancelled", "cancel_batch", "A person.", "It stays paused."),
)  # fmt: skip

MOVES_OF_A_RUN = (
    Move(None, "running", "start_run", "Whoever processes a batch, before its first claim.", "There is no run."),
    Move(None, "finished", "skip_run", "Whoever makes a repeat batch of what is given up.", "There is no batch."),
    Move(
        "running", "finished", "end_run", "The run, when nothing is left to do or its batch was stopped.",
        "It counts as lost when its heartbeat is two minutes old; what it had claimed is free before that.",
    ),
    Move("running", "interrupted", "end_run", "The run, told to stop or without its database.", "It counts as lost."),
    Move(
        "running", "interrupted", "release_run", "The orchestrator, which knows that the process is gone.",
        "It counts as lost when its heartbeat is two minutes old.",
    ),
    Move(
        "running", "lost", None, "Nobody: its session has ended, or its heartbeat is old.",
        "It is running, and others leave its range to it for now.",
    ),
)  # fmt: skip

MOVES_OF_A_RANGE = (
    Move(None, "open", "make_ranges", "Whoever creates the batch, in the same transaction.", "There is no batch."),
    Move(None, "done", "skip_ranges", "Whoever makes a repeat batch of what is given up.", "There is no batch."),
    Move(
        "open", "held", "claim_chunk_v1", "A worker, by the lock of its transaction on the row.",
        "It stays open, and with it the batch.",
    ),
    Move(
        "held", "open", "record_chunk_v1", "The worker, with the outcomes of a chunk, when items are left.",
        "The server undoes the chunk and lets go of the lock when the transaction ends, even by a crash.",
    ),
    Move("held", "done", "record_chunk_v1", "The worker, with the outcomes of the last chunk.", "It is open again."),
    Move(
        "open", "done", "postpone_item_v1", "The worker whose item, the last one of the range, waits for the others.",
        "It stays open, and the item is tried in its turn.",
    ),
    Move(
        "open", "given_up", "close_cancelled_ranges", "Whoever reprocesses the items of a cancelled batch.",
        "It stays open, and nobody claims it.",
    ),
)  # fmt: skip

MOVES_OF_A_SUSPECT = (
    Move(
        None, "suspect", "suspect", "The parent or the worker that has seen a process die in the range.",
        "What the dead run has published makes the range suspect all the same.",
    ),
    Move(
        "suspect", None, "clear_range", "The worker that has tried all items which a dead one can have had in hand.",
        "As many are tried one by one again, which is slow and does no harm.",
    ),
    Move("suspect", None, "clear_retries", "Likewise, for items that are tried again.", "Likewise."),
    Move(
        "suspect", "suspect", "postpone_suspect", "The worker that meets an item with which two workers were lost.",
        "It would be tried, and take the next worker along.",
    ),
    Move(
        "suspect", None, "clear_all", "Whoever closes or cancels the batch.",
        "Nothing: nobody looks at the suspects of a batch that has ended.",
    ),
)  # fmt: skip

BATCH_MOVES: dict[BatchStatus, frozenset[BatchStatus]] = {
    status: frozenset(BatchStatus(move.end) for move in MOVES_OF_A_BATCH if move.start == status)
    for status in BatchStatus
}
"""Where a batch may go from each status. From a final one it goes nowhere: what failed is repeated by another batch."""


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


class TryOutcome(Word):
    """What a run would have made of an item that was only tried."""

    CREATED = "created"
    """It would complete, and make a row that is not there."""
    CHANGED = "changed"
    """It would complete, and change rows that are there."""
    UNCHANGED = "unchanged"
    """It would complete, and everything would stand as it does."""
    COMPLETED = "completed"
    """It would complete, by statements of its own: what those make of rows is not known."""
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
