"""One transaction's worth of items, tried one after the other, each isolated from the others."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from reliable_imports.engine.isolation.chunk_writes import ChunkWrites
from reliable_imports.engine.isolation.item_writes import ItemWrites
from reliable_imports.engine.isolation.transaction import ChunkSpoiled, ChunkTooLarge
from reliable_imports.engine.isolation.write_error import WriteError
from reliable_imports.engine.process.call_result import CallResult
from reliable_imports.engine.process.observer import Observer
from reliable_imports.engine.work.attempt import Attempt, Retry, StoredItem
from reliable_imports.engine.work.diagnosis import Diagnosis
from reliable_imports.engine.work.row_notes import tell_of_rows
from reliable_imports.engine.work.tolerance import is_environmental
from reliable_imports.engine.work.user_code import UserCode
from reliable_imports.errors import DuplicateKey
from reliable_imports.items.failure import Failure, exception_failure, read_failure
from reliable_imports.log import logger
from reliable_imports.models import Batch
from reliable_imports.postgres.error_sorting import is_item_fault, is_refusal_of_a_row
from reliable_imports.processor.context import ContextState, ImportContext, LogLine, Setting, SkipItem
from reliable_imports.statuses import Outcome, Stage
from reliable_imports.writes.origin import Origin

MAX_SECONDS = 1.0
"""After this long a chunk is committed with the items it has, so that slow items are committed one by one."""

_AS_CONNECTED = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; "
"""Undoes what items have set, for what is recorded of them: limits, roles, whether the commit waits for the disk."""

_MAX_PAUSE = timedelta(seconds=60)
_NOT_ONE_ITEMS = (ChunkSpoiled, ChunkTooLarge)


class Chunk:
    """Tries items with the processor and keeps their attempts. Knows nothing of claiming and recording.

    Attributes:
        attempts: one for each item that was tried, in their order.
        writes: what the items have written.
        changed_session: an item or a hook may have left something behind in the session.
        begun_at: when its first item was tried, by the monotonic clock.
    """

    def __init__(self, code: UserCode, batch: Batch, setting: Setting, writes: ChunkWrites, observer: Observer) -> None:
        self.attempts: list[Attempt] = []
        self.writes = writes
        self.changed_session = False
        self._code = code
        self._diagnosis = Diagnosis(code, batch.batch_type, writes)
        self._batch = batch
        self._setting = setting
        self._observer = observer
        self.begun_at = time.monotonic()
        self._are_environmental: dict[str, bool] = {}

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit: too long at work, enough subtransactions, or a session that was changed."""
        return self.changed_session or time.monotonic() > self.begun_at + MAX_SECONDS or self.writes.is_full

    @property
    def only_declares(self) -> bool:
        """Whether the database was not asked for anything by the items: their writes wait until the chunk ends."""
        return not self.changed_session and not self.writes.savepoints.items and not self.writes.savepoints.is_open

    # Items

    def carry_on(self, carried: Sequence[Attempt]) -> None:
        """Begin with items that were tried in an earlier chunk, which had no room for their writes."""
        for attempt in carried:
            attempt.writes.chunk = self.writes
            self.attempts.append(attempt)
            if attempt.writes.declared:
                self.writes.declared.queue(attempt.writes)

    def try_item(self, stored: StoredItem, prepared: CallResult | None) -> None:
        """Let the processor work on an item, and keep what became of it.

        Raises:
            ChunkSpoiled, ChunkTooLarge: nothing of this chunk can be kept, and its items must be tried again.
            psycopg2.Error: the database's own trouble, or that of two transactions meeting; nothing is booked.
            BaseException: what stops the run, and is no item's fault.
        """
        writes = ItemWrites(chunk=self.writes, origin=self._origin_of(stored))
        state = ContextState(self._setting, writes, stored.item_number)
        attempt = Attempt(stored, writes, logs=state.logs)
        try:
            ended = self._code.process(attempt, state, prepared)
        except SkipItem as skip:
            ended = skip
        except BaseException as error:  # the one place where the errors of an item's code are caught
            self._code.end_if_forked()
            state.end()
            # Under the name that Python forgets: its traceback leads here, and another one would keep it, and with it
            # the chunk, until the garbage is collected.
            error = self._code.named(error)
            if isinstance(error, _NOT_ONE_ITEMS) or not is_item_fault(error):
                raise
            writes.raise_if_not_the_items()
            writes.undo()
            if writes.waits_for_others and not stored.tries_last:
                attempt.retry = Retry(waits_for_others=True)
            self._fail(attempt, self._diagnosis.of_exception(attempt, error), error)
            if writes.error is not None:
                writes.error.__traceback__ = None  # it leads back to these writes
            return
        state.end()
        if ended is None:
            state.keep_lookups()
            self._keep(attempt)
            return
        writes.raise_if_not_the_items()
        writes.undo()
        if isinstance(ended, SkipItem):
            attempt.skip(str(ended.reason))
            self._keep(attempt)
        else:
            self._fail(attempt, ended)

    def book_known(self, stored: StoredItem) -> None:
        """Keep what became of an item that the processor never sees: it could not be read, or is a duplicate."""
        attempt = Attempt(stored, ItemWrites(chunk=self.writes))
        if stored.read_problem is not None:
            kind = stored.read_problem_kind or "unreadable"
            self._fail(attempt, read_failure(self._batch.batch_type, kind, stored.read_problem))
        elif stored.duplicate_of is not None and stored.duplicate_fails:
            error = DuplicateKey(stored.duplicate_of)
            self._fail(attempt, exception_failure(self._batch.batch_type, Stage.VALIDATE, error))
        else:
            attempt.skip(f"item {stored.duplicate_of} of this batch has the same natural key")
            self._keep(attempt)

    def book_verdict(
        self, stored: StoredItem, verdict: Failure, *, is_environmental: bool | None, calls_hook: bool
    ) -> None:
        """Book a failure that is known already, without trying the item again.

        Args:
            is_environmental: None: as the failure tells.
            calls_hook: False where `on_item_error` may have cost a process or a connection.
        """
        attempt = Attempt(stored, ItemWrites(chunk=self.writes))
        self._fail(attempt, verdict, calls_hook=calls_hook)
        if is_environmental is not None:
            attempt.is_environmental = is_environmental

    def write(self) -> list[Attempt]:
        """Send the declared writes, and book as failed the items whose writes were refused.

        Returns the last attempts, if there was no room for their writes: they are no longer part of this chunk. What is
        pending in the transaction afterwards must be sent before COMMIT.
        """
        carried = self._without_room(self.writes.finish())
        if errors := self.writes.declared.take_errors():
            self._book_refused_writes(errors)
            self.writes.finish()
        for attempt in self.attempts:
            if attempt.writes.notes and attempt.outcome is Outcome.COMPLETED:
                tell_of_rows(attempt)
        if self.changed_session:
            self.writes.transaction.pending += _AS_CONNECTED
        return carried

    def run_batch_hook(self, hook: Callable[[ImportContext], object]) -> list[LogLine]:
        """Run a hook of the whole batch on this transaction and return what it logged; its errors come through."""
        writes = ItemWrites(chunk=self.writes)
        state = ContextState(self._setting, writes, None, is_hook=True)
        try:
            hook(ImportContext(state))
            self._complete_now(writes)
        finally:
            logs = state.end()
        self.writes.finish()
        self.writes.transaction.send_for_all()
        return logs

    # Outcomes

    def _origin_of(self, stored: StoredItem) -> Origin | None:
        if stored.origin_batch_id is None or self._batch.overwrite_newer:
            return None
        assert stored.origin_item_number is not None
        return Origin(stored.origin_batch_id, stored.origin_item_number)

    def _keep(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        if attempt.writes.changed_session:
            self.changed_session = True

    def _fail(
        self, attempt: Attempt, failure: Failure, error: BaseException | None = None, *, calls_hook: bool = True
    ) -> None:
        processor = self._code.processor
        is_transient = error is not None and isinstance(error, processor.transient_errors)
        attempt.fail(failure, is_environmental=is_transient or is_environmental(failure, error))
        tries = attempt.stored.attempt - attempt.stored.earlier_attempts
        if attempt.retry is None and is_transient and tries < processor.max_tries:
            # Full jitter: items that failed together do not come back together.
            longest = min(_MAX_PAUSE, processor.retry_pause * float(2 ** (tries - 1)))
            attempt.retry = Retry(pause=longest * random.uniform(0.5, 1))
        self._keep(attempt)
        if attempt.is_final and calls_hook:
            self._call_error_hook(attempt)

    def _without_room(self, unsent: Sequence[object]) -> list[Attempt]:
        """Take the attempts out whose writes found no room: those from the first unsent one on."""
        if not unsent:
            return []
        cut = next(index for index, each in enumerate(self.attempts) if each.writes is unsent[0])
        carried = self.attempts[cut:]
        del self.attempts[cut:]
        return carried

    def _book_refused_writes(self, errors: Sequence[WriteError]) -> None:
        error_of = {error.item: error for error in errors}
        refused = [(attempt, error_of[attempt.writes]) for attempt in self.attempts if attempt.writes in error_of]
        assert len(refused) == len(errors), "each is of another item of this chunk"
        failures = self._diagnosis.of_refused_writes(refused)
        for (attempt, error), failure in zip(refused, failures, strict=True):
            if error.waits_for_others and not attempt.stored.tries_last:
                attempt.retry = Retry(waits_for_others=True)
                attempt.fail(failure, is_environmental=False)
                continue
            attempt.fail(failure, is_environmental=self._is_environmental(failure, error))
            if self._code.has_error_hook and self.writes.is_full:
                raise ChunkTooLarge  # the hooks may write, too
            self._call_error_hook(attempt)

    def _is_environmental(self, failure: Failure, error: WriteError) -> bool:
        """Whether a refused write says more about the world; of each reason the first one is looked at closely."""
        if not (error.is_of_the_table or is_environmental(failure, None)):
            return False
        if failure.reason not in self._are_environmental:
            refusal = self.writes.declared.refuse_again(error.item)
            self._are_environmental[failure.reason] = refusal is not None and not is_refusal_of_a_row(refusal)
        return self._are_environmental[failure.reason]

    # Hooks

    def _call_error_hook(self, attempt: Attempt) -> None:
        if not self._code.has_error_hook:
            return
        number = attempt.stored.item_number
        writes = ItemWrites(chunk=self.writes)
        state = ContextState(self._setting, writes, number, is_hook=True)
        self._observer.trying(number)  # the hook has as long as an item
        try:
            self._code.tell_of_failure(attempt, state)
            writes.raise_if_not_the_items()
            self._complete_now(writes)
        except BaseException as error:  # a hook that fails must not hide the failure that it was told of
            error = self._code.named(error)
            if isinstance(error, _NOT_ONE_ITEMS) or not is_item_fault(error):
                raise
            writes.raise_if_not_the_items()
            writes.undo()
            facts = {"batch_id": self._batch.id, "item_number": number, "error_type": type(error).__name__}
            logger.error("on_item_error failed", extra=facts)
            attempt.logs.append(LogLine("error", f"on_item_error failed: {type(error).__name__}"))
        finally:
            attempt.logs.extend(state.end())

    def _complete_now(self, writes: ItemWrites) -> None:
        """Complete what a hook did, its declared writes included: nobody would look at their errors later."""
        writes.write_now()
        writes.complete()
        self.changed_session = self.changed_session or writes.changed_session
