"""The loop of a worker: claim, prepare, try, write, record, go on; until nothing is left to claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any

import psycopg2

from reliable_imports.engine.isolation.transaction import ChunkSpoiled, ChunkTooLarge, raise_if_not_ours
from reliable_imports.engine.process.observer import Observer
from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.work.attempt import Attempt, StoredItem
from reliable_imports.engine.work.audit_log import AuditLog
from reliable_imports.engine.work.chunk import Chunk
from reliable_imports.engine.work.chunks import Chunks
from reliable_imports.engine.work.claims import RETRIES, Claim, Claims, ReadAhead, Suspected
from reliable_imports.engine.work.doubts import Doubts, Next
from reliable_imports.engine.work.in_flight import Ahead, InFlight
from reliable_imports.engine.work.preparation import PreparedItems
from reliable_imports.engine.work.recorder import CompletedItems, Recorder
from reliable_imports.engine.work.retries import Retries
from reliable_imports.engine.work.tolerance import Tolerance
from reliable_imports.engine.work.user_code import UserCode
from reliable_imports.models import Batch
from reliable_imports.postgres.connect import Connection, discard_session, roll_back, transaction
from reliable_imports.postgres.error_sorting import QUERY_CANCELED, Fault, fault_of
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.context import ImportContext, LogLine

ClaimItems = Callable[[Any], "Claim | Suspected | None"]
"""Claims items on a cursor, in the transaction that it begins."""


class Ending(Enum):
    """Why a worker has stopped working."""

    NOTHING_LEFT = "nothing left"
    STOPPED = "stopped"
    """By a signal."""


class Step(Enum):
    """What one round of the loop came to."""

    COMMITTED = "committed"
    """A chunk was tried, recorded and committed."""
    PUBLISHED = "published"
    """The run has said that it will take a range; the next round takes it."""
    PREPARED = "prepared"
    """The next items of a range were prepared; the next round tries them."""
    UNDONE = "undone"
    """A chunk was undone, and its items are tried again, more carefully."""
    NOTHING_FREE = "nothing free"
    """There was nothing to claim."""


class Worker:
    """Works a batch on one connection, which is another one after a loss.

    Attributes:
        doubts: what is known of items whose chunks were undone.
        range_in_hand: the range that was claimed last.
        trying: the numbers of the items of it whose outcomes are not committed yet. A session that was lost may still
            hold them.
    """

    def __init__(
        self,
        connection: Connection,
        stop: StopSignal,
        observer: Observer,
        *,
        batch: Batch,
        processor: BaseProcessor,
        audit_log: AuditLog,
        doubts: Doubts,
        check_deferred_sql: str | None,
    ) -> None:
        """
        Args:
            check_deferred_sql: checks deferred constraints at once; None in a database without any.
        """
        code = UserCode(processor, batch.id, batch.batch_type)
        self.doubts = doubts
        self.range_in_hand = RETRIES
        self.trying: list[int] = []
        self._connection = connection
        self._stop = stop
        self._observer = observer
        self._chunks = Chunks(code, batch, audit_log.run_id, observer, check_deferred_sql=check_deferred_sql)
        self._prepared = PreparedItems(code, batch.id, doubts, stop, observer)
        self._claims = Claims(
            connection,
            processor,
            audit_log,
            prepares=self._prepared.are_wanted,
            left_to_others=doubts.left_to_others,
        )
        self._recorder = Recorder(batch, processor, audit_log.run_id)
        self._retries = Retries()
        self._tolerance = Tolerance(processor, batch.id)
        self._carried: list[Attempt] = []
        self._in_flight: InFlight | None = None
        self._landed: InFlight | None = None
        self._may_try_ahead = not (
            self._prepared.are_wanted or code.has_error_hook or processor.item_timeout is not None
        )

    # The loop

    def work(self) -> Ending | Suspected:
        """Work until nothing is left to claim, until told to stop, or until the next range is suspect.

        Raises:
            MustPause: the batch is to be paused.
            psycopg2.Error: the connection was lost, or the server has trouble of its own.
        """
        while self._stop.received is None:
            # In the loop and not in a method: a frame less in each traceback of an item's code.
            step = self._work_due_retries() if self._retries.are_due() else Step.NOTHING_FREE
            if not isinstance(step, Suspected):
                ahead = self._try_ahead()
                step = ahead if isinstance(ahead, Step) else self._work_chunk(self._claims.next_range, ahead)
            if step is Step.NOTHING_FREE:
                step = self._work_due_retries()
            if isinstance(step, Suspected):
                return step
            if step is Step.NOTHING_FREE and not self._wait_for_retries():
                return Ending.NOTHING_LEFT
        self._land()
        return Ending.STOPPED

    def work_alone(self, range_number: int, until: int | None = None) -> Ending:
        """Work the items of one range, or RETRIES, each in a transaction of its own. Raises as `work`.

        Args:
            until: the last item that is to be tried so; None for all.
        """
        claims = self._claims
        claim_items: ClaimItems = partial(claims.range_alone, range_number=range_number, until=until)
        if range_number == RETRIES:
            claim_items = partial(claims.retry_alone, stop=self._stop)
        while self._stop.received is None:
            self.doubts.one_by_one = 1
            claims.note_lone_item(range_number, until)
            if self._work_chunk(claim_items) is Step.NOTHING_FREE and self._stop.received is None:
                return Ending.NOTHING_LEFT
        return Ending.STOPPED

    def _work_chunk(self, claim_items: ClaimItems, ahead: Ahead | None = None) -> Step | Suspected:
        """Claim, prepare, try, write, record, go on.

        Args:
            ahead: items that were tried already, if the claim begins with them.
        """
        assert self._in_flight is None, "a connection does one thing at a time"
        self.trying = []
        cursor = self._connection.cursor()
        try:
            claim = claim_items(cursor) if ahead is None or ahead.claim is None else ahead.claim
            if not isinstance(claim, Claim):
                return self._without_claim(claim)
            self.range_in_hand = claim.range_number
            if not claim.is_published:
                return self._publish(cursor, claim)
            if not self._prepared.has_first_of(claim.items):
                return self._prepare(cursor, claim)
            chunk = self._chunk_of(claim, ahead)
            self._try(chunk, self._untried(chunk, claim), self.trying)
            finish = partial(self._finish, cursor, claim, chunk, None if ahead is None else ahead.completed)
            behind = self._behind(cursor, claim, chunk)
            if behind.items:
                self._in_flight = InFlight(self._connection, chunk, behind, finish)
                return Step.COMMITTED
            carried = finish()
        except (ChunkSpoiled, ChunkTooLarge, psycopg2.Error) as error:
            return self._undo(error)
        except BaseException:
            self._break_off()
            raise
        return self._go_on(chunk, carried)

    # What overlaps

    def _try_ahead(self) -> Ahead | Step | None:
        """Try the next items while a chunk is in flight, and then wait for that. UNDONE: for the one or the others.

        Returns None if nothing was in flight.
        """
        if self._in_flight is None:
            return None
        ahead = Ahead(*self._in_flight.behind)
        ahead.chunk = self._chunks.new(self._connection, one_by_one=False, begin=partial(self._begin_ahead, ahead))
        try:
            self._try(ahead.chunk, ahead.items, ahead.trying)
            self._landed = None  # the server is at work, so there is time to free what the last chunk holds
            if ahead.claim is None:
                self._give_way()
                ahead.chunk.writes.declared.prepare()
                self._give_way()
                ahead.completed = self._recorder.prepare(ahead.chunk.attempts)
        except (ChunkSpoiled, ChunkTooLarge, psycopg2.Error) as error:
            return self._undo_ahead(ahead, error)
        except BaseException:
            self._break_off()
            raise
        if ahead.is_lost:  # and the item's code took no notice
            return self._undo_ahead(ahead, ChunkSpoiled())
        if ahead.claim is None and self._land() is Step.UNDONE:
            return Step.UNDONE
        self._come_after_carried(ahead)
        return ahead

    def _behind(self, cursor: Any, claim: Claim, chunk: Chunk) -> ReadAhead:
        """The items that come next, if they can be tried while the chunk is finished."""
        if claim.range_number == RETRIES or not self._may_try_ahead:
            return ReadAhead()
        if not chunk.only_declares or not self.doubts.are_none:
            return ReadAhead()
        if left := claim.items[len(chunk.attempts) :]:
            return ReadAhead(claim.range_number, left)
        return self._claims.range_after(cursor, claim)

    def _begin_ahead(self, ahead: Ahead) -> None:
        """Begin the transaction of items that were tried ahead, for one of them needs the database now.

        Raises:
            ChunkSpoiled: the chunk before was undone, or somebody else has the items.
        """
        try:
            claim = self._claim_ahead() if self._land() is Step.COMMITTED else None
        except Exception as error:
            ahead.is_lost, ahead.error = True, error  # not the item's
            raise ChunkSpoiled from error
        if not isinstance(claim, Claim) or not ahead.is_begun_by(claim):
            ahead.is_lost = True
            self._come_after_carried(ahead)
            roll_back(self._connection)
            raise ChunkSpoiled
        ahead.claim = claim
        self.range_in_hand, self.trying = ahead.range_number, ahead.trying
        self._observer.trying(ahead.trying[-1])  # its time begins anew

    def _come_after_carried(self, ahead: Ahead) -> None:
        """If attempts at earlier items have found no room, those at the next items of their range are carried on behind
        them; those at items of the next range are lost."""
        if self._carried and ahead.range_number == self.range_in_hand:
            self._carried += ahead.chunk.attempts

    def _claim_ahead(self) -> Claim | Suspected | None:
        try:
            return self._claims.next_range(self._connection.cursor())
        except psycopg2.Error as error:
            self._undo(error)
            return None

    def _undo_ahead(self, ahead: Ahead, error: ChunkSpoiled | ChunkTooLarge | psycopg2.Error) -> Step:
        """After an error in items that were tried ahead, find out how to go on."""
        if ahead.error is not None:
            raise ahead.error
        if ahead.is_lost:
            return Step.UNDONE
        if ahead.claim is None:
            if self._land() is Step.UNDONE:
                return Step.UNDONE
            self.range_in_hand, self.trying = ahead.range_number, ahead.trying
        return self._undo(error)

    def _land(self) -> Step:
        """Wait for the chunk that is in flight, if there is one, and go on from it."""
        landing, self._in_flight = self._in_flight, None
        if landing is None:
            return Step.COMMITTED
        try:
            carried = landing.land()
        except (ChunkSpoiled, ChunkTooLarge, psycopg2.Error) as error:
            return self._undo(error)
        except BaseException:
            self._in_flight = landing
            self._break_off()
            raise
        self._landed = landing
        return self._go_on(landing.chunk, carried)

    def _give_way(self) -> None:
        if self._in_flight is not None:
            self._in_flight.give_way()

    def _break_off(self) -> None:
        """Undo whatever is under way."""
        if self._in_flight is not None:
            self._in_flight.abandon()
            self._in_flight = None
        roll_back(self._connection)
        self._forget()

    # The steps of a round

    @property
    def _chunk_limit(self) -> int:
        return min(self.doubts.chunk_limit, self._chunks.pace.chunk_limit)

    def _without_claim(self, claim: Suspected | None) -> Step | Suspected:
        roll_back(self._connection)
        if claim is None:
            return Step.NOTHING_FREE
        self._forget()
        return claim

    def _publish(self, cursor: Any, claim: Claim) -> Step:
        self._claims.publish_range(cursor, claim)
        return Step.PUBLISHED

    def _prepare(self, cursor: Any, claim: Claim) -> Step:
        """Let go of the range while its items are prepared: no transaction waits for a network."""
        self._claims.publish_range(cursor, claim)
        self._prepared.prepare(claim.items)
        return Step.PREPARED

    def _chunk_of(self, claim: Claim, ahead: Ahead | None) -> Chunk:
        """The chunk for what was claimed: the one that was tried ahead, if it has the first of the items."""
        if ahead is not None and ahead.is_begun_by(claim):
            ahead.chunk.writes.transaction.note_begun()  # by the claim
            self.trying = ahead.trying
            return ahead.chunk
        return self._chunks.new(self._connection, one_by_one=self.doubts.is_one_by_one)

    def _try(self, chunk: Chunk, items: Sequence[StoredItem], trying: list[int]) -> None:
        """Try items until the chunk is full.

        Args:
            trying: the numbers of its items; those that are tried are added.
        """
        for stored in items[: max(0, self._chunk_limit - len(trying))]:
            if trying and (self._stop.received is not None or chunk.is_full):
                break
            prepared = self._prepared.of(stored.item_number)
            if prepared is None:
                break
            self._give_way()
            trying.append(stored.item_number)
            self._observer.trying(stored.item_number)
            doubt = self.doubts.of(stored.item_number)
            if doubt is not None and doubt.verdict is not None:
                chunk.book_verdict(
                    stored, doubt.verdict, is_environmental=doubt.is_environmental, calls_hook=not doubt.is_harmful
                )
            elif stored.is_for_the_processor:
                chunk.try_item(stored, prepared)
            else:
                chunk.book_known(stored)
            if self._stop.received is not None:
                _raise_if_cancelled(chunk.attempts[-1])

    def _untried(self, chunk: Chunk, claim: Claim) -> Sequence[StoredItem]:
        """The items of the claim without those that were tried already, which the chunk begins with."""
        carried, self._carried = self._carried, []
        # Another worker may have taken the range meanwhile, or these may be retries.
        if carried and not chunk.attempts and claim.items[0].item_number == carried[0].stored.item_number:
            chunk.carry_on(carried)
            self.trying = [attempt.stored.item_number for attempt in carried]
        return claim.items[len(chunk.attempts) :]

    def _finish(self, cursor: Any, claim: Claim, chunk: Chunk, expected: CompletedItems | None) -> list[Attempt]:
        """Write, record and commit; return the attempts that found no room, for the next chunk."""
        carried = self._write(chunk)
        self._record(cursor, claim, chunk, expected)
        self._claims.advance(claim, len(chunk.attempts))
        return carried

    def _write(self, chunk: Chunk) -> list[Attempt]:
        """Send the declared writes; return the attempts that found no room, for the next chunk."""
        self._observer.tried()
        carried = chunk.write()
        self._observer.tried()  # again: hooks of refused writes were timed
        return carried

    def _record(self, cursor: Any, claim: Claim, chunk: Chunk, expected: CompletedItems | None) -> None:
        self.doubts.tell_earlier_tries(chunk.attempts)
        self._tolerance.observe(chunk.attempts)
        try:
            self._recorder.commit(
                cursor, claim, chunk.attempts, chunk.begun_at, expected, chunk.writes.transaction.take_pending()
            )
        except psycopg2.Error as error:
            raise_if_not_ours(error)
            raise

    def _go_on(self, chunk: Chunk, carried: list[Attempt]) -> Step:
        self.trying = []
        self._carried = carried
        self.doubts.committed(chunk.attempts, chunk.writes.written_items)
        self._prepared.committed(chunk.attempts)
        self._retries.committed(chunk.attempts)
        self._chunks.committed(chunk, self._connection)
        self._observer.committed()
        self._tolerance.check(self._connection)
        return Step.COMMITTED

    def _undo(self, error: ChunkSpoiled | ChunkTooLarge | psycopg2.Error) -> Step:
        """After a chunk that cannot be kept, find out how to go on; an error that is only the database's is raised."""
        fault = fault_of(error, self._connection) if isinstance(error, psycopg2.Error) else Fault.ITEM
        self._forget()
        is_nameless = fault is Fault.INFRASTRUCTURE and getattr(error, "pgcode", None) is None
        if self._connection.closed or is_nameless or not self.trying:
            roll_back(self._connection)
            if self._stop.received is not None and getattr(error, "pgcode", None) == QUERY_CANCELED:
                return Step.UNDONE  # it was waiting for items that somebody else holds
            raise error
        discard_session(self._connection)
        if self._stop.received is None:
            match self.doubts.undone(error, fault, self.trying):
                case Next.GIVE_UP:
                    raise error
                case Next.POSTPONE:
                    failure = self.doubts.postpone(self.trying[0], error)
                    self._claims.postpone(self.range_in_hand, self.trying[0], failure)
                    self.doubts.one_by_one -= 1
                case Next.TRY_AGAIN:
                    pass
        return Step.UNDONE

    # Retries

    def _work_due_retries(self) -> Step | Suspected:
        """Work all items that wait for another try and are due; COMMITTED if there were any."""
        if self._land() is Step.UNDONE:
            return Step.UNDONE
        result = Step.NOTHING_FREE
        while self._stop.received is None:
            step = self._work_chunk(partial(self._claims.due_retries, limit=self._chunk_limit))
            if isinstance(step, Suspected):
                return step
            if step is Step.NOTHING_FREE:
                break
            result = Step.COMMITTED
        return result

    def _wait_for_retries(self) -> bool:
        """Whether there are any that are not left to another worker."""
        return RETRIES not in self.doubts.left_to_others and self._retries.wait(self._claims, self._stop)

    # For whoever runs the worker

    def attach(self, connection: Connection) -> None:
        """Work on *connection* from now on; whatever was under way on another one has been undone."""
        self._connection = connection
        self._claims.attach(connection)
        self._forget()

    def check_targets(self) -> None:
        """Look at the tables that the processor says it writes to, before any item is tried.

        Raises:
            MustPause: one of them cannot be written to, so no item could be imported.
        """
        self._chunks.check_targets(self._connection)

    def run_batch_hook(self, hook: Callable[[ImportContext], object]) -> list[LogLine]:
        """Run a hook of the whole batch in a transaction of its own; return what it logged."""
        settings = self._claims.settings
        with transaction(self._connection) as cursor:
            cursor.execute(settings)
            logs = self._chunks.new(self._connection, one_by_one=True).run_batch_hook(hook)
        discard_session(self._connection)
        return logs

    def close(self) -> None:
        """Give back what was kept open for the items."""
        self._prepared.close()

    def _forget(self) -> None:
        """What undone items had looked up, or were the first to fail for, may never have existed."""
        self._carried = []
        self._chunks.forget()
        self._recorder.forget()
        self._tolerance.forget()
        self._claims.forget()


def _raise_if_cancelled(attempt: Attempt) -> None:
    """The statement was cancelled because the run must stop: no item's fault."""
    error = attempt.writes.error
    if error is not None and error.pgcode == QUERY_CANCELED:
        raise ChunkSpoiled
