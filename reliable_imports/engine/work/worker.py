"""Works a batch on one connection: claim a chunk, try its items, record and commit; until nothing is left to claim."""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.engine.isolation.session import (
    LARGEST_GROUP,
    MAX_SUBTRANSACTIONS,
    ChunkSpoiled,
    ChunkTooLarge,
    ItemScope,
)
from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.work.attempt import Attempt, StoredItem
from reliable_imports.engine.work.audit_log import Trail
from reliable_imports.engine.work.chunk import Chunk, parser
from reliable_imports.engine.work.claims import MAX_ITEMS, Claim, Claims
from reliable_imports.engine.work.preparation import Prepared, Preparer
from reliable_imports.engine.work.recorder import Recorder
from reliable_imports.engine.work.tolerance import CircuitBreaker, excess, is_environmental
from reliable_imports.errors import ContextMisuse, UnusableTarget
from reliable_imports.items.failure import Failure, exception_failure
from reliable_imports.models import Batch, ImportBatchItem
from reliable_imports.postgres.connect import discard_session, roll_back, transaction
from reliable_imports.postgres.error_sorting import (
    QUERY_CANCELED,
    Fault,
    fault_of,
    is_condition,
    is_refusal_of_a_row,
    may_pass,
)
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.facts import facts_of
from reliable_imports.statuses import Stage
from reliable_imports.writes.plans import Plans

_WORK = load("work.sql")

MAX_TRIES = 5
"""Tries at an item that meets other transactions (deadlock, serialization failure, lock time-out), in one run."""

MAX_LONE_LOSSES = 5
"""Connections that an item may cost while it is tried alone, before it is set aside."""

MAX_TROUBLED = 3
"""Items in a row that may meet trouble of the server, a full disk, say, while each is tried alone."""

_MAX_PREPARED = 50
_SMALL_CHUNK = 25
_SOME_REFUSALS = 0.03
_FEW_REFUSALS = 0.0016
"""Of all declared writes: with more, most chunks hold one, and trying them as one statement first is in vain."""

_MAX_REMEMBERED = 100_000
_MAX_TIMED_RETRIES = 10_000
_RETRIES_APART_SECONDS = 0.2


class Ending(Enum):
    """Why a worker has stopped working."""

    NOTHING_LEFT = "nothing left"
    STOPPED = "stopped"
    """By a signal."""


class MustPause(Exception):
    """The batch cannot go on now, through no fault of its items; what was undone stays pending."""


@dataclass(slots=True)
class Doubt:
    """What is known of an item whose chunk had to be undone."""

    tries: list[Failure] = field(default_factory=list)
    losses: int = 0
    verdict: Failure | None = None
    is_harmful: bool = False
    """Trying the item cost a process or a connection."""
    is_environmental: bool | None = None
    """Whether the verdict says more about the world than about the item; None: as its error tells."""
    written_before: int | None = None
    """How many items this worker had written when the item met trouble of the server, tried alone."""


class Worker:
    """Tries items and records them. What is told of items (doubts, verdicts) outlives a lost connection."""

    def __init__(
        self,
        batch: Batch,
        processor: BaseProcessor,
        run_id: int,
        *,
        settle: str | None,
        stop: StopSignal,
        on_chunk: Callable[[], None] = lambda: None,
        on_item: Callable[[int], None] | None = None,
        on_tried: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            settle: SQL that checks deferred constraints at once; None in a database without any.
            on_chunk: called after every commit.
            on_item: told the number of each item before its code runs.
            on_tried: called when the code of a chunk's items has ended.
        """
        self.doubts: dict[int, Doubt] = {}
        self._batch = batch
        self._processor = processor
        self._run_id = run_id
        self._trail = Trail(batch.id, run_id)
        self._settle = settle
        self._stop = stop
        self._on_chunk = on_chunk
        self._on_item = on_item
        self._on_tried = on_tried
        self._recorder = Recorder(batch, processor, run_id)
        self._breaker = CircuitBreaker(processor)
        self._preparer = Preparer(processor, is_stopped=lambda: stop.received is not None)
        self._prepares = self._preparer.is_wanted
        self._claims = Claims(batch, processor, run_id, prepares=self._prepares)
        self._tolerates_all = processor.max_failed_items is None and processor.max_failed_share is None
        self._connection: Connection
        self._found: dict[tuple[Any, ...], Any] = {}
        self._plans = Plans()
        self._in_hand = 0
        self._carried: list[Attempt] = []
        self._prepared: dict[int, Prepared] = {}
        self._trying: list[StoredItem] = []
        self._careful_items = 0
        self._small_chunks = 0
        self._written = 0
        self._troubled: list[int] = []
        self._refusals = 0.0
        self._undone = 0.0
        self._mixes = False
        self._retries_due: list[float] = []
        self._retries_looked_at = 0.0

    def attach(self, connection: Connection) -> None:
        """Work on *connection* from now on; whatever was under way on another one has been undone."""
        self._connection = connection
        self._claims.attach(connection)
        self._forget()

    def in_child(
        self,
        stop: StopSignal,
        on_chunk: Callable[[], None],
        on_item: Callable[[int], None],
        on_tried: Callable[[], None],
    ) -> Worker:
        """The same worker in a child process: it knows what is known of the items, and reports to others."""
        worker = Worker(
            self._batch,
            self._processor,
            self._run_id,
            settle=self._settle,
            stop=stop,
            on_chunk=on_chunk,
            on_item=on_item,
            on_tried=on_tried,
        )
        worker.doubts = self.doubts
        worker.left.update(self.left)
        return worker

    @property
    def left(self) -> set[int]:
        """Suspect ranges that are left to another worker, which looks for the killer; 0 for items to be tried again."""
        return self._claims.left

    def check_targets(self) -> None:
        """Look at the tables that the processor says it writes to, before any item is tried.

        Raises MustPause: one of them cannot be written to; no item could be imported.
        """
        requests = facts_of(type(self._processor)).write_requests()
        if not requests:
            return
        with transaction(self._connection):
            session = self._chunk(careful=True).session
            for request in requests:
                try:
                    session.plan(ItemScope(), request)
                except UnusableTarget as error:
                    raise MustPause(f"{type(self._processor).__qualname__} cannot write: {error}") from None

    def work(self) -> Ending:
        """Work until nothing is left to claim, or until told to stop.

        Raises:
            Suspected: the next range must be worked by `work_alone`.
            MustPause: the batch is to be paused.
            psycopg2.Error: the connection was lost, or the server has trouble of its own.
        """
        while self._stop.received is None:
            if self._is_retry_due():
                self._work_due_retries()
            if self._work_chunk(self._claims.next_range):
                self._check_tolerance()
            elif not self._work_due_retries() and (0 in self.left or not self._wait_for_retries()):
                return Ending.NOTHING_LEFT
        return Ending.STOPPED

    def work_alone(self, range_number: int, until: int | None = None) -> Ending:
        """Work the items of one range (0: those that wait for another try), each in a transaction of its own.

        Args:
            until: the last item that is to be tried so; None for all.
        """
        while self._stop.received is None:
            self._careful_items = 1
            claims = self._claims
            claims.go_alone(range_number, until)
            if not self._work_chunk(claims.one_retry if range_number == 0 else claims.of_range(range_number, until)):
                return Ending.NOTHING_LEFT
            self._check_tolerance()
        return Ending.STOPPED

    def lost_connection(self) -> None:
        """Called when the connection broke: the chunk that was under way is tried again item by item."""
        if self._careful_items and len(self._trying) == 1:
            number = self._trying[0].item_number
            doubt = self.doubts.setdefault(number, Doubt())
            doubt.losses += 1
            if doubt.losses >= MAX_LONE_LOSSES and doubt.verdict is None:
                error = ContextMisuse(f"the connection was lost {doubt.losses} times while this item alone was tried")
                doubt.verdict = exception_failure(self._batch.batch_type, Stage.PROCESS, error, retryable=True)
                doubt.is_harmful = True
        elif self._trying:
            self._careful_items = len(self._trying)

    def close(self) -> None:
        """Give back what was kept open for the items."""
        self._preparer.close()

    @property
    def in_hand(self) -> tuple[int, list[int]]:
        """The range that was claimed last, and the items that were tried of it; an old session may still hold them."""
        return self._in_hand, [item.item_number for item in self._trying]

    # One chunk

    def _work_chunk(self, claim_items: Callable[[Any, int], Claim | None]) -> bool:
        """Claim, try, record and commit one chunk; False if there was nothing to claim."""
        careful = self._careful_items > 0
        limit = 1 if careful else self._chunk_size()
        self._trying = []
        cursor = self._connection.cursor()
        try:
            claim = claim_items(cursor, limit)
            if claim is None:
                roll_back(self._connection)
                return False
            self._in_hand = claim.range_number
            if not claim.is_announced:
                self._claims.announce(cursor, claim)
                return True
            if self._prepares and not self._has_prepared(claim.items):
                self._claims.announce(cursor, claim)
                self._prepare(claim.items)
                return True
            chunk, carried = self._try(claim, limit, careful)
            if cause := self._breaker.observe(chunk.attempts):
                raise MustPause(cause)
            self._recorder.commit(cursor, claim.transaction_id, claim.range_number, claim.first_item, chunk.attempts)
        except (ChunkSpoiled, ChunkTooLarge, psycopg2.Error) as error:
            self._doubt(error, careful)
            return True
        except BaseException:
            roll_back(self._connection)
            self._forget()
            raise
        self._committed(claim, chunk, carried)
        return True

    def _try(self, claim: Claim, limit: int, careful: bool) -> tuple[Chunk, list[Attempt]]:
        chunk = self._chunk(careful=careful)
        items = claim.items
        if self._carried and items[0].item_number != self._carried[0].stored.item_number:
            self._carried = []  # another worker took the range meanwhile, or these are retries
        if self._carried:
            chunk.go_on(self._carried)
            items = items[len(self._carried) :]
            self._trying = [attempt.stored for attempt in self._carried]
        for item in items[: max(0, limit - len(self._trying))]:
            prepared = None
            if self._prepares and (prepared := self._prepared.get(item.item_number)) is None:
                break
            self._trying.append(item)
            doubt = self.doubts.get(item.item_number) if self.doubts else None
            if doubt is None:
                chunk.add(item, prepared=prepared)
            else:
                chunk.add(item, verdict=doubt.verdict, is_harmful=doubt.is_harmful, prepared=prepared)
                if doubt.is_environmental is not None:
                    chunk.attempts[-1].environmental = doubt.is_environmental
            if self._stop.received is not None:
                self._raise_if_cancelled(chunk.attempts[-1])
                break
            if chunk.is_full:
                break
        self._on_tried()
        carried = chunk.finish()
        self._on_tried()  # again: hooks of refused writes were timed
        if self.doubts:
            for attempt in chunk.attempts:
                doubt = self.doubts.get(attempt.item.item_number)
                if doubt is not None:
                    attempt.earlier_tries = doubt.tries
        return chunk, carried

    def _raise_if_cancelled(self, attempt: Attempt) -> None:
        """The statement was cancelled because we must stop: no item's fault."""
        error = attempt.scope.error
        if error is not None and error.pgcode == QUERY_CANCELED:
            raise ChunkSpoiled

    def _committed(self, claim: Claim, chunk: Chunk, carried: list[Attempt]) -> None:
        self._carried = carried
        self._trying = []
        self._claims.went_on(claim, len(chunk.attempts))
        for known in (self.doubts, self._prepared):
            if known:
                for attempt in chunk.attempts:
                    known.pop(attempt.item.item_number, None)
        self._careful_items = max(0, self._careful_items - 1)
        self._small_chunks = max(0, self._small_chunks - 1)
        for pause in chunk.retry_pauses[: _MAX_TIMED_RETRIES - len(self._retries_due)]:
            heapq.heappush(self._retries_due, time.monotonic() + pause)
        session = chunk.session
        written = session.declared_entries - len(session.write_errors) + session.own_items - session.own_undone
        if written > 0:
            self._written += written
            self._troubled.clear()
        if session.declared_entries:
            share = len(session.write_errors) / session.declared_entries
            self._refusals += 0.3 * (share - self._refusals)
        if session.own_items:
            self._undone += 0.3 * (session.own_undone / session.own_items - self._undone)
        self._mixes = bool(session.own_items and session.declared_entries)
        if chunk.changed_session:
            discard_session(self._connection)
            self._plans.forget()
        if len(self._found) > _MAX_REMEMBERED:
            self._found.clear()
        self._on_chunk()

    def _doubt(self, error: Exception, careful: bool) -> None:
        """Decide how to go on after a chunk was undone; raise if the error is nobody's but the database's.

        An error that one item brings about again, alone and on a server that answers, is that item's, whatever its
        class says. Where the server speaks of itself, other items have to fare better before that is believed.
        """
        fault = Fault.ITEM
        if isinstance(error, psycopg2.Error):
            fault = fault_of(error, self._connection)
        self._forget()
        is_nameless = fault is Fault.INFRASTRUCTURE and getattr(error, "pgcode", None) is None
        if self._connection.closed or is_nameless or not self._trying:
            roll_back(self._connection)
            raise error
        discard_session(self._connection)
        if self._stop.received is not None:
            return
        is_shared = fault is Fault.TRANSACTION or getattr(error, "pgcode", None) == QUERY_CANCELED
        if (
            isinstance(error, ChunkTooLarge)
            or (is_shared and len(self._trying) > MAX_SUBTRANSACTIONS)
            or (isinstance(error, psycopg2.Error) and not is_shared and len(self._trying) > _SMALL_CHUNK)
        ):
            # Hundreds of items one by one would be dear; first in smaller chunks.
            self._small_chunks = MAX_ITEMS // _SMALL_CHUNK
            return
        if not careful:
            self._careful_items = len(self._trying)
            return
        doubt = self.doubts.setdefault(self._trying[0].item_number, Doubt())
        if doubt.verdict is not None:
            if doubt.is_harmful:
                raise error  # not even the failure can be recorded
            doubt.is_harmful = True  # its hook may be the cause
            return
        if isinstance(error, ChunkSpoiled):
            error = ContextMisuse("the item left the transaction that it was given, so nothing of it could be kept")
        retryable = isinstance(error, psycopg2.Error) and may_pass(error)
        failure = exception_failure(self._batch.batch_type, Stage.WRITE, error, retryable=retryable)
        if fault is Fault.INFRASTRUCTURE and is_condition(error) and not self._is_known_to_be_alone(doubt, error):
            self._put_behind(failure)
            return
        if fault is Fault.TRANSACTION and len(doubt.tries) + 1 < MAX_TRIES:
            doubt.tries.append(failure)
            # Jitter, so that two workers that met do not meet again.
            time.sleep(random.uniform(0, 0.02 * 2 ** len(doubt.tries)))
        else:
            doubt.verdict = failure
            doubt.is_environmental = is_environmental(failure, error)

    def _is_known_to_be_alone(self, doubt: Doubt, error: Exception) -> bool:
        """Whether the trouble of the server that an item has met is the item's: others were written since, or a trigger
        has only said so, and there is no other item to ask."""
        if doubt.written_before is None:
            doubt.written_before = self._written
            return False
        is_last = self._troubled == [self._trying[0].item_number] * (MAX_TROUBLED - 1)
        return self._written > doubt.written_before or (is_last and is_refusal_of_a_row(error))

    def _put_behind(self, failure: Failure) -> None:
        """Try other items first, and this one again when they are done; raise if several have met the same trouble."""
        item_number = self._trying[0].item_number
        self._troubled.append(item_number)
        if len(self._troubled) >= MAX_TROUBLED:
            items = ", ".join(map(str, dict.fromkeys(self._troubled)))
            self._troubled.clear()
            raise MustPause(f"the database has trouble of its own: {failure.title}; met by items tried alone: {items}")
        item = {"batch_id": self._batch.id, "range_number": self._in_hand, "item_number": item_number}
        with transaction(self._connection) as cursor:
            cursor.execute(_WORK["put_behind" if self._in_hand else "put_behind_retries"], item)
            details = {"item_number": item_number, "error": failure.title}
            self._trail.say(cursor, "warning", "item put off until the others are done", details)
        self._careful_items -= 1

    def _forget(self) -> None:
        """What undone items had looked up, or were the first to fail for, may never have existed."""
        self._found.clear()
        self._plans.forget()
        self._recorder.forget()
        self._breaker.forget()
        self._carried = []
        self._claims.forget()

    def _chunk(self, *, careful: bool) -> Chunk:
        return Chunk(
            self._connection,
            self._processor,
            self._batch,
            self._run_id,
            settle=self._settle,
            careful=careful,
            tries_columns=self._refusals < _FEW_REFUSALS,
            tries_groups=self._refusals < _SOME_REFUSALS,
            own_together=_group_size(self._undone),
            found=self._found,
            plans=self._plans,
            on_item=self._on_item,
        )

    def _chunk_size(self) -> int:
        if self._small_chunks:
            return _SMALL_CHUNK
        if self._mixes:
            return MAX_SUBTRANSACTIONS
        return MAX_ITEMS

    def run_hook(self, hook: Callable[[Any], object]) -> list[Any]:
        """Run a hook of the whole batch in a transaction of its own; return what it logged."""
        with transaction(self._connection) as cursor:
            cursor.execute(self._claims.settings)
            logs = self._chunk(careful=True).run_hook(hook)
        discard_session(self._connection)
        return logs

    def _work_due_retries(self) -> bool:
        """Whether there were any."""
        found = False
        while self._stop.received is None and self._work_chunk(self._claims.due_retries):
            self._check_tolerance()
            found = True
        return found

    def _is_retry_due(self) -> bool:
        """Whether to look for retries before the next range: now and then, while ones of our own are due."""
        now = time.monotonic()
        due = self._retries_due
        if not due or due[0] > now or now - self._retries_looked_at < _RETRIES_APART_SECONDS:
            return False
        self._retries_looked_at = now
        while due and due[0] <= now:
            heapq.heappop(due)
        return True

    def _wait_for_retries(self) -> bool:
        """Sleep until an item may be tried again, or a second; False if there is none that nobody else is at."""
        with self._connection.cursor() as cursor:
            cursor.execute(_WORK["next_retry"], {"batch_id": self._batch.id})
            row = cursor.fetchone()
            seconds = None if row is None else row[0]
        if seconds is None:
            return False
        # Not longer than a second: the batch may be paused, or a range come free, meanwhile.
        until = time.monotonic() + min(seconds, 1.0)
        while self._stop.received is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        return True

    # Preparing

    def _has_prepared(self, items: Sequence[StoredItem]) -> bool:
        return bool(items) and items[0].item_number in self._prepared

    def _prepare(self, items: Sequence[StoredItem]) -> None:
        parse = parser(self._processor)
        wanted = []
        self._prepared = {}
        for stored in items[: 1 if self._careful_items else _MAX_PREPARED]:
            doubt = self.doubts.get(stored.item_number)
            if stored.read_problem is not None or stored.duplicate_of is not None or (doubt and doubt.verdict):
                self._prepared[stored.item_number] = Prepared(None, None)  # its outcome is known already
                continue
            try:
                data = parse(stored)
            except Exception:  # told when the item is tried
                data = None
            wanted.append(
                ImportBatchItem(self._batch.id, stored.item_number, data, stored.line, stored.offset, stored.attempt)
            )
        if not wanted:
            return
        on_item = self._on_item or (lambda number: None)
        if self._careful_items:
            on_item(wanted[0].item_number)
            outcomes = self._preparer.prepare(wanted, tick=lambda: None)
        else:
            # Which of them keeps the process from doing anything else nobody can tell; only that one does.
            outcomes = self._preparer.prepare(wanted, tick=lambda: on_item(0))
        self._on_tried()
        if outcomes is not None:
            self._prepared.update(zip((item.item_number for item in wanted), outcomes, strict=True))

    def _check_tolerance(self) -> None:
        if self._tolerates_all:
            return
        with self._connection.cursor() as cursor:
            cursor.execute(_WORK["count_against_tolerance"], {"batch_id": self._batch.id})
            ((failed, ended),) = cursor.fetchall()
        if cause := excess(self._processor, failed, ended):
            raise MustPause(cause)


def _group_size(undone: float) -> int:
    """How many items with statements of their own share a savepoint: the more are undone, the fewer, for each of those
    repeats half of its group.

    A subtransaction costs a fiftieth of a commit, about as much as two statements; so `failures * size ** 2 / 2 = 2`.
    """
    return LARGEST_GROUP if undone < 0.0016 else max(1, round(2 / math.sqrt(undone)))
