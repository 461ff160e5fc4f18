"""Items whose chunk had to be undone: how carefully they are tried again, and when one of them is to blame.

An error that names no item undoes its chunk, and the chunk's items are tried again one by one. What an item brings
about again, alone and on a server that answers, is its own, whatever the class of the error says. Where the server
speaks of itself, such as of a full disk, other items have to fare better before that is believed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import psycopg2

from reliable_imports.engine.isolation.transaction import MAX_SUBTRANSACTIONS, ChunkSpoiled, ChunkTooLarge
from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.engine.work.claims import MAX_ITEMS
from reliable_imports.engine.work.tolerance import MustPause, is_environmental
from reliable_imports.errors import ContextMisuse
from reliable_imports.items.code.team import TeamCode
from reliable_imports.items.failure import Failure, exception_failure
from reliable_imports.postgres.error_sorting import (
    QUERY_CANCELED,
    Fault,
    is_condition,
    is_refusal_of_a_row,
    may_pass,
)
from reliable_imports.statuses import Stage

MAX_TRIES = 5
"""Tries at an item that meets other transactions (deadlock, serialization failure, lock time-out), in one run."""

MAX_LONE_LOSSES = 5
"""Connections that an item may cost while it is tried alone, before it is set aside."""

MAX_TROUBLED = 3
"""Items in a row that may meet trouble of the server, a full disk, say, while each is tried alone."""

_SMALL_CHUNK = 25


class Next(Enum):
    """What follows from a chunk that was undone."""

    TRY_AGAIN = "try again"
    """As `Doubts.chunk_limit` and `Doubts.is_one_by_one` say."""
    POSTPONE = "postpone"
    """The item that was tried alone is tried again when the others are done."""
    GIVE_UP = "give up"
    """Not even the item's failure could be recorded."""


@dataclass(slots=True)
class Doubt:
    """What is known of one item whose chunk was undone.

    Attributes:
        tries: how it failed alone, and was tried again.
        losses: connections that it cost alone.
        verdict: it is failed with this, and not tried again.
        is_harmful: trying it cost a process or a connection.
        is_environmental: whether the verdict says more about the world than about the item; None: as its error tells.
        written_before: how many items this worker had written when the item met trouble of the server alone.
    """

    tries: list[Failure] = field(default_factory=list)
    losses: int = 0
    verdict: Failure | None = None
    is_harmful: bool = False
    is_environmental: bool | None = None
    written_before: int | None = None


class Doubts:
    """The doubts of one worker. They outlive a lost connection, and a child process starts with its parent's.

    Attributes:
        one_by_one: how many of the next items are tried alone, each in a transaction of its own.
        left_to_others: suspect ranges, or RETRIES, in which another worker looks for the item that kills.
    """

    def __init__(self, batch_type: str, team: TeamCode) -> None:
        """
        Args:
            team: which code is that of the processor's team.
        """
        self.one_by_one = 0
        self.left_to_others: set[int] = set()
        self._batch_type = batch_type
        self._team = team
        self._of: dict[int, Doubt] = {}
        self._small_chunks = 0
        self._written = 0
        self._troubled: list[int] = []

    @property
    def is_one_by_one(self) -> bool:
        return self.one_by_one > 0

    @property
    def are_none(self) -> bool:
        """Whether there is no reason to be careful."""
        return not (self._of or self.one_by_one or self._small_chunks)

    @property
    def chunk_limit(self) -> int:
        """How many items the next chunk may have."""
        if self.one_by_one:
            return 1
        return _SMALL_CHUNK if self._small_chunks else MAX_ITEMS

    def of(self, item_number: int) -> Doubt | None:
        return self._of.get(item_number) if self._of else None

    def convict(self, item_number: int, error: Exception, *, retryable: bool = False) -> None:
        """The item has cost a process or a connection for the last time: fail it without trying it again."""
        doubt = self._doubt(item_number)
        doubt.verdict = exception_failure(self._batch_type, Stage.PROCESS, error, team=self._team, retryable=retryable)
        doubt.is_harmful = True

    def tell_earlier_tries(self, attempts: Sequence[Attempt]) -> None:
        """Add to each attempt the failures of the tries before it."""
        if self._of:
            for attempt in attempts:
                doubt = self._of.get(attempt.stored.item_number)
                if doubt is not None:
                    attempt.earlier_tries = doubt.tries

    # What becomes of chunks

    def committed(self, attempts: Sequence[Attempt], written: int) -> None:
        """A chunk was committed, in which *written* items have written something."""
        if self._of:
            for attempt in attempts:
                self._of.pop(attempt.stored.item_number, None)
        self.one_by_one = max(0, self.one_by_one - 1)
        self._small_chunks = max(0, self._small_chunks - 1)
        if written > 0:
            self._written += written
            self._troubled.clear()

    def lost_connection(self, trying: Sequence[int]) -> None:
        """The connection broke while these items were tried: they are tried again one by one."""
        if self.one_by_one and len(trying) == 1:
            doubt = self._doubt(trying[0])
            doubt.losses += 1
            if doubt.losses >= MAX_LONE_LOSSES and doubt.verdict is None:
                error = ContextMisuse(f"the connection was lost {doubt.losses} times while this item alone was tried")
                self.convict(trying[0], error, retryable=True)
        elif trying:
            self.one_by_one = len(trying)

    def undone(self, error: Exception, fault: Fault, trying: Sequence[int]) -> Next:
        """The chunk with these items was undone because of *error*: decide how they are tried again."""
        if self._is_for_smaller_chunks(error, fault, len(trying)):
            # Hundreds of items one by one would be dear.
            self._small_chunks = MAX_ITEMS // _SMALL_CHUNK
            return Next.TRY_AGAIN
        if not self.one_by_one:
            self.one_by_one = len(trying)
            return Next.TRY_AGAIN
        item_number = trying[0]
        doubt = self._doubt(item_number)
        if doubt.verdict is not None:
            if doubt.is_harmful:
                return Next.GIVE_UP
            doubt.is_harmful = True  # its hook may be the cause
            return Next.TRY_AGAIN
        if fault is Fault.INFRASTRUCTURE and is_condition(error) and not self._is_the_items(item_number, doubt, error):
            return Next.POSTPONE
        self._judge(doubt, error, fault)
        return Next.TRY_AGAIN

    def postpone(self, item_number: int, error: Exception) -> Failure:
        """The item has met trouble of the server; return what it was.

        Raises:
            MustPause: several items in a row have met such trouble.
        """
        failure = self._failure(error)
        self._troubled.append(item_number)
        if len(self._troubled) >= MAX_TROUBLED:
            items = ", ".join(map(str, dict.fromkeys(self._troubled)))
            self._troubled.clear()
            raise MustPause(f"the database has trouble of its own: {failure.title}; met by items tried alone: {items}")
        return failure

    def _doubt(self, item_number: int) -> Doubt:
        return self._of.setdefault(item_number, Doubt())

    def _is_for_smaller_chunks(self, error: Exception, fault: Fault, tried: int) -> bool:
        if isinstance(error, ChunkTooLarge):
            return True
        if not isinstance(error, psycopg2.Error):
            return False
        # One that other transactions or a time limit can cause says little about the items.
        is_shared = fault is Fault.TRANSACTION or error.pgcode == QUERY_CANCELED
        return tried > (MAX_SUBTRANSACTIONS if is_shared else _SMALL_CHUNK)

    def _is_the_items(self, item_number: int, doubt: Doubt, error: Exception) -> bool:
        """Whether the trouble of the server that an item has met is the item's: others were written since, or a trigger
        has only said so, and there is no other item to ask."""
        if doubt.written_before is None:
            doubt.written_before = self._written
            return False
        is_last = self._troubled == [item_number] * (MAX_TROUBLED - 1)
        return self._written > doubt.written_before or (is_last and is_refusal_of_a_row(error))

    def _judge(self, doubt: Doubt, error: Exception, fault: Fault) -> None:
        failure = self._failure(error)
        if fault is Fault.TRANSACTION and len(doubt.tries) + 1 < MAX_TRIES:
            doubt.tries.append(failure)
            # Jitter, so that two workers that met do not meet again.
            time.sleep(random.uniform(0, 0.02 * 2 ** len(doubt.tries)))
        else:
            doubt.verdict = failure
            doubt.is_environmental = is_environmental(failure, error)

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, ChunkSpoiled):
            error = ContextMisuse("the item left the transaction that it was given, so nothing of it could be kept")
        retryable = isinstance(error, psycopg2.Error) and may_pass(error)
        return exception_failure(self._batch_type, Stage.WRITE, error, team=self._team, retryable=retryable)
