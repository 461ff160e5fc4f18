"""A try: items are worked as in a run, chunk by chunk, and everything they did is rolled back.

The chunks, their savepoints and the declared writes are those of a run; nothing is claimed, and outcomes are kept in
memory. Chunks follow one another in one transaction, so that an item finds the rows of earlier ones. A try that takes
longer than two seconds is rolled back every two seconds, so that it does not keep others from the rows that it has
locked, and from then on also whenever it has as many subtransactions as a run has in a chunk, because more of them slow
other sessions down. The next items do not find those rows then.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psycopg2

from reliable_imports.batches.staging import Staged, StagedItem
from reliable_imports.engine.begin import find_check_deferred_sql
from reliable_imports.engine.isolation.row_images import RowImage
from reliable_imports.engine.isolation.transaction import MAX_SUBTRANSACTIONS, ChunkSpoiled, ChunkTooLarge
from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.work.attempt import Attempt, StoredItem
from reliable_imports.engine.work.chunk import Chunk
from reliable_imports.engine.work.chunks import Chunks
from reliable_imports.engine.work.claims import transaction_settings
from reliable_imports.engine.work.doubts import Doubts, Next
from reliable_imports.engine.work.preparation import PreparedItems
from reliable_imports.engine.work.tolerance import MustPause
from reliable_imports.engine.work.user_code import UserCode
from reliable_imports.errors import TryEnded
from reliable_imports.models import Batch
from reliable_imports.postgres.connect import BEGIN, Connection, connect, discard_session, roll_back
from reliable_imports.postgres.error_sorting import Fault, fault_of
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.facts import facts_of
from reliable_imports.statuses import Outcome, TryOutcome
from reliable_imports.tried import TriedItem, TriedRow, TryReport

_TRYING = load("trying.sql")

_LONGEST_SECONDS = 2.0
_MOST_SUBTRANSACTIONS = MAX_SUBTRANSACTIONS // 2
"""With more, the next chunk would have little room."""

_NO_RUN = 0

_Keep = Callable[[Attempt, Sequence[RowImage], bool], None]
"""Called with the last attempt at each item, what it has written, and whether rows of earlier items were gone."""


def try_staged(dsn: str, staged: Staged, processor: BaseProcessor, *, may_set_up: bool) -> TryReport:
    """Try items in the calling thread.

    Args:
        may_set_up: the processor's `setup_sql` is part of the try, where it would change something.

    Raises:
        TryEnded: the database has trouble of its own, or `setup_sql` cannot be run.
    """
    of_number = {item.stored.item_number: item for item in staged.items}
    tried: dict[int, TriedItem] = {}
    sensitive = facts_of(processor).sensitive_names()

    def keep(attempt: Attempt, images: Sequence[RowImage], lacks_rows: bool) -> None:
        number = attempt.stored.item_number
        tried[number] = _tried(of_number[number], attempt, images, lacks_rows, sensitive)

    stop = StopSignal()
    try:
        with stop, connect(dsn) as connection:
            stop.connection = connection
            a_try = _Try(connection, staged.batch, processor, stop, keep, may_set_up=may_set_up)
            try:
                a_try.run([item.stored for item in staged.items])
            except MustPause as cause:
                raise TryEnded(str(cause)) from None
            finally:
                a_try.close()
    finally:
        stop.obey()
    # Some were put behind the others.
    items = [tried[number] for number in of_number if number in tried]
    return TryReport(staged.batch.batch_type, staged.total_items, items, tuple(staged.warnings))


def _tried(
    item: StagedItem, attempt: Attempt, images: Sequence[RowImage], lacks_rows: bool, sensitive: frozenset[str]
) -> TriedItem:
    failure = attempt.failure
    rows = [] if attempt.outcome is not Outcome.COMPLETED else _rows(images)
    return TriedItem(
        item_number=item.item_number or item.stored.item_number,
        batch_id=item.batch_id,
        outcome=_outcome(attempt, images, rows),
        reason=None if failure is None else failure.reason,
        words=attempt.skip_reason if failure is None else failure.title,
        rows=rows,
        result=None if attempt.result is None else json.loads(attempt.result),
        failed_before=item.failed_before,
        may_lack_rows=lacks_rows and failure is not None and failure.wants_row,
        faults=() if failure is None else failure.without_values_of(sensitive, attempt.source_data).faults,
    )


def _outcome(attempt: Attempt, images: Sequence[RowImage], rows: Sequence[TriedRow]) -> TryOutcome:
    match attempt.outcome:
        case Outcome.FAILED:
            return TryOutcome.FAILED
        case Outcome.SKIPPED:
            return TryOutcome.SKIPPED
    if any(row.before is None for row in rows):
        return TryOutcome.CREATED
    if any(row.changes for row in rows):
        return TryOutcome.CHANGED
    if attempt.writes.ran_statements or not all(image.is_known for image in images):
        return TryOutcome.COMPLETED
    return TryOutcome.UNCHANGED


def _rows(images: Sequence[RowImage]) -> list[TriedRow]:
    """Each row once, as it was before the item and is after it."""
    first: dict[object, RowImage] = {}
    for image in images:
        if image.is_known:
            key = object() if image.write.key is None else (image.write.plan.target.oid, image.write.key)
            first[key] = image._replace(before=first[key].before if key in first else image.before)
    return [TriedRow(image.write.plan.request.table, image.before, image.after) for image in first.values()]


class _Try:
    def __init__(
        self,
        connection: Connection,
        batch: Batch,
        processor: BaseProcessor,
        stop: StopSignal,
        keep: _Keep,
        *,
        may_set_up: bool,
    ) -> None:
        self._connection = connection
        self._batch = batch
        self._processor = processor
        self._stop = stop
        self._keep_attempt = keep
        self._setup = _needed_setup(connection, processor) if may_set_up else None
        self._settings = transaction_settings(connection, processor)
        with connection.cursor() as cursor:
            self._check_deferred_sql = find_check_deferred_sql(cursor)
        code = UserCode(processor, batch.id, batch.batch_type)
        # Whoever is told of failures, a person perhaps, is not to be told of those of a try.
        code.has_error_hook = False
        self._doubts = Doubts(batch.batch_type, code.team)
        self._chunks = Chunks(
            code, batch, _NO_RUN, _Nobody(), check_deferred_sql=self._check_deferred_sql, keeps_images=True
        )
        self._prepared = PreparedItems(code, batch.id, self._doubts, stop, _Nobody())
        self._began: float | None = None
        self._transactions = 0
        self._room_taken = 0
        self._queue: deque[StoredItem] = deque()
        self._again: list[StoredItem] = []
        self._completed = 0

    def run(self, items: Sequence[StoredItem]) -> None:
        self._queue.extend(items)
        while self._queue or self._again:
            while self._queue:
                if self._stop.received is not None:
                    return
                self._try_chunk()
            self._queue_again()
        self._roll_back()

    def close(self) -> None:
        roll_back(self._connection)
        self._prepared.close()

    # One chunk

    def _try_chunk(self) -> None:
        limit = min(self._doubts.chunk_limit, self._chunks.pace.chunk_limit)
        if not self._prepared.has_first_of([self._queue[0]]):
            self._roll_back()  # no transaction waits for a network
            self._prepared.prepare([self._queue[place] for place in range(min(limit, len(self._queue)))])
            return
        trying: list[int] = []
        try:
            self._begin_chunk()
            chunk = self._chunks.new(self._connection, one_by_one=self._doubts.is_one_by_one)
            chunk.writes.transaction.subtransactions = self._room_taken
            self._try(chunk, limit, trying)
            chunk.write()
            chunk.writes.transaction.send_for_all()
            self._check_deferred()
        except (ChunkSpoiled, ChunkTooLarge, psycopg2.Error) as error:
            self._undo(error, trying)
        else:
            self._keep(chunk)

    def _begin_chunk(self) -> None:
        if self._began is not None and (
            self._room_taken > _MOST_SUBTRANSACTIONS or time.monotonic() - self._began > _LONGEST_SECONDS
        ):
            self._roll_back()
        with self._connection.cursor() as cursor:
            if self._began is None:
                self._began = time.monotonic()
                self._transactions += 1
                self._room_taken = 0
                cursor.execute(f"{BEGIN}; {self._settings}")
                if self._setup is not None:
                    cursor.execute(self._setup)
                if type(self._processor).on_batch_start is not BaseProcessor.on_batch_start:
                    hooked = self._chunks.new(self._connection, one_by_one=True)
                    hooked.run_batch_hook(lambda ctx: self._processor.on_batch_start(self._batch, ctx))
            cursor.execute("SAVEPOINT tried_chunk")

    def _try(self, chunk: Chunk, limit: int, trying: list[int]) -> None:
        for stored in list(self._queue)[:limit] if limit < len(self._queue) else list(self._queue):
            prepared = self._prepared.of(stored.item_number)
            if prepared is None:
                break
            trying.append(stored.item_number)
            doubt = self._doubts.of(stored.item_number)
            if doubt is not None and doubt.verdict is not None:
                chunk.book_verdict(stored, doubt.verdict, is_environmental=doubt.is_environmental, calls_hook=False)
            elif stored.is_for_the_processor:
                chunk.try_item(stored, prepared)
            else:
                chunk.book_known(stored)
            if chunk.is_full or self._stop.received is not None:
                break

    def _check_deferred(self) -> None:
        """What a COMMIT would check."""
        if self._check_deferred_sql is not None:
            with self._connection.cursor() as cursor:
                cursor.execute(self._check_deferred_sql)

    def _keep(self, chunk: Chunk) -> None:
        """Take note of what became of a chunk, and let the next one find its rows."""
        with self._connection.cursor() as cursor:
            cursor.execute("RELEASE SAVEPOINT tried_chunk")
        self._room_taken = chunk.writes.transaction.subtransactions + 1 if self._transactions > 1 else 0
        for attempt in chunk.attempts:
            self._queue.popleft()
            if attempt.retry is not None:
                self._again.append(self._for_another_try(attempt.stored))
                continue
            self._completed += attempt.outcome is Outcome.COMPLETED
            images = chunk.writes.images
            self._keep_attempt(attempt, images.of(attempt.writes) if images else (), self._transactions > 1)
        self._doubts.committed(chunk.attempts, chunk.writes.written_items)
        self._prepared.committed(chunk.attempts)
        if chunk.changed_session:
            self._roll_back()
        self._chunks.committed(chunk, self._connection)

    def _undo(self, error: ChunkSpoiled | ChunkTooLarge | psycopg2.Error, trying: list[int]) -> None:
        fault = fault_of(error, self._connection) if isinstance(error, psycopg2.Error) else Fault.ITEM
        is_nameless = fault is Fault.INFRASTRUCTURE and getattr(error, "pgcode", None) is None
        if self._connection.closed or is_nameless or not trying:
            raise error
        had_less_room = self._room_taken > 0
        self._undo_chunk()
        if isinstance(error, ChunkTooLarge) and had_less_room:
            self._roll_back()
            return
        if self._stop.received is None:
            match self._doubts.undone(error, fault, trying):
                case Next.GIVE_UP:
                    raise error
                case Next.POSTPONE:
                    self._doubts.postpone(trying[0], error)
                    self._queue.append(self._queue.popleft())
                    self._doubts.one_by_one -= 1
                case Next.TRY_AGAIN:
                    pass

    def _undo_chunk(self) -> None:
        self._chunks.forget()
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("ROLLBACK TO SAVEPOINT tried_chunk; RELEASE SAVEPOINT tried_chunk")
        except psycopg2.Error:  # it was ended by user code, or with the connection
            if self._connection.closed:
                raise
            self._roll_back()
            discard_session(self._connection)

    def _roll_back(self) -> None:
        """Give others what was locked; what was looked up in rows of the try is not there any more."""
        if self._began is not None:
            roll_back(self._connection)
            self._began = None
            self._chunks.forget()

    def _for_another_try(self, stored: StoredItem) -> StoredItem:
        """The item as a run claims it then: it comes after later ones, and is guarded as one that is repeated."""
        return msgspec.structs.replace(
            stored,
            attempt=stored.attempt + 1,
            origin_batch_id=stored.origin_batch_id or self._batch.id,
            origin_item_number=stored.origin_item_number or stored.item_number,
        )

    def _queue_again(self) -> None:
        """Try those again that wait for others, or met what may pass; for the last time if no other was completed."""
        is_last = self._completed == 0
        self._completed = 0
        self._queue.extend(msgspec.structs.replace(stored, tries_last=is_last) for stored in reversed(self._again))
        self._again.clear()


class _Nobody:
    """Observes nothing."""

    def trying(self, item_number: int | None) -> None:
        pass

    def tried(self) -> None:
        pass

    def committed(self) -> None:
        pass


def _needed_setup(connection: Connection, processor: BaseProcessor) -> str | None:
    """The processor's `setup_sql`, if it would change something: then it is part of each transaction."""
    if processor.setup_sql is None:
        return None
    try:
        script = Path(processor.setup_sql).read_text(encoding="utf-8")
        with connection.cursor() as cursor:
            cursor.execute(BEGIN)
            cursor.execute(script)
            cursor.execute(_TRYING["nothing_is_written"])
            (is_needless,) = cursor.fetchone()  # type: ignore[misc]
    except (OSError, UnicodeDecodeError, psycopg2.Error) as error:
        problem = str(error).partition("\n")[0]
        raise TryEnded(f"the set-up of the target tables, {processor.setup_sql}, failed: {problem}") from error
    finally:
        roll_back(connection)
    discard_session(connection)
    return None if is_needless else script
