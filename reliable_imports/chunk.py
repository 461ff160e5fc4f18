"""One transaction's worth of items: claimed, tried one by one, recorded, committed."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.attempt import Attempt
from reliable_imports.chunk_session import ChunkSession, ChunkSpoiled, ItemScope, WriteError
from reliable_imports.context import ImportContext, ItemNotes, LogLine, SkipItem, logger
from reliable_imports.errors import NewerData
from reliable_imports.failure import Failure, exception_failure, read_failure, rejection, server_failure
from reliable_imports.faults import is_item_fault
from reliable_imports.json_text import loads
from reliable_imports.models import Batch, ImportBatchItem
from reliable_imports.processor import BaseProcessor
from reliable_imports.queries import load
from reliable_imports.results import dumps_result
from reliable_imports.statuses import Outcome, Stage

_WORK = load("work.sql")

MAX_ITEMS = 50
"""Items in a transaction: each may be a subtransaction, and past 64 of those every other session slows down."""

MAX_SECONDS = 1.0
"""After this long a chunk is committed with the items it has, so that slow items are committed one by one."""


@dataclass(frozen=True, slots=True)
class StoredItem:
    """A row of claim_chunk."""

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


class Chunk:
    """Tries items with the processor, each isolated from the others. Knows nothing of claiming and recording."""

    def __init__(
        self,
        connection: Connection,
        processor: BaseProcessor,
        batch: Batch,
        run_id: int,
        *,
        settle: str | None,
        careful: bool,
        found: dict[tuple[Any, ...], Any],
    ) -> None:
        self.attempts: list[Attempt] = []
        self.changed_session = False
        """An item or a hook may have left something behind in the session."""
        self._connection = connection
        self._session = ChunkSession(connection, settle=settle, careful=careful)
        self._processor = processor
        self._batch = batch
        self._run_id = run_id
        self._found = found
        self._parse = _parser(processor)
        self._user_file = _file_of(type(processor))
        self._began = time.monotonic()

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit: too long at work, or an item left something behind in the session."""
        return time.monotonic() - self._began > MAX_SECONDS or self.changed_session

    def add(self, stored: StoredItem, *, verdict: Failure | None = None) -> None:
        """Try an item; with a *verdict*, book that failure without trying it again.

        Raises:
            ChunkSpoiled: nothing of this chunk can be kept, and its items must be tried again one by one.
            psycopg2.Error: the database's own trouble, or that of two transactions meeting; nothing is booked.
        """
        item = ImportBatchItem(
            batch_id=self._batch.id,
            item_number=stored.item_number,
            source_data=None,
            line=stored.line,
            offset=stored.offset,
            attempt=stored.earlier_attempts + 1,
        )
        if verdict is not None:
            self._book_failure(item, ItemScope(), ItemNotes(), verdict)
        elif stored.read_problem is not None:
            kind = stored.read_problem_kind or "unreadable"
            self._book_failure(
                item, ItemScope(), ItemNotes(), read_failure(self._batch.batch_type, kind, stored.read_problem)
            )
        else:
            self._try(item, stored)
        self.changed_session = self.changed_session or self.attempts[-1].scope.changed_session

    def finish(self) -> None:
        """Send the declared writes, and book as failed the items whose writes were refused."""
        self._session.finish()
        by_scope = {id(attempt.scope): index for index, attempt in enumerate(self.attempts)}
        for error in self._session.write_errors:
            index = by_scope[id(error.scope)]
            attempt = self.attempts[index]
            self.attempts[index] = replace(
                attempt,
                outcome=Outcome.FAILED,
                result=None,
                failure=self._refused_write(error, attempt.item.source_data),
            )
            self._call_error_hook(self.attempts[index])
        self._session.finish()

    def run_hook(self, hook: Callable[[ImportContext], object]) -> list[LogLine]:
        """Run a hook of the whole batch on this transaction; its errors come through as they are."""
        scope = ItemScope()
        ctx = self._context(scope, None, is_hook=True)
        try:
            hook(ctx)
            self._complete_now(scope)
        finally:
            notes = ctx._end()
        self._session.finish()
        return notes.logs

    def _try(self, item: ImportBatchItem, stored: StoredItem) -> None:
        scope = ItemScope()
        ctx = self._context(scope, item.item_number)
        stage = Stage.READ
        try:
            item = replace(item, source_data=self._parse(stored))
            stage = Stage.VALIDATE
            accepted = self._processor.validate_item(item, ctx)
            if accepted:
                stage = Stage.PROCESS
                result = dumps_result(self._processor.process_item(item, ctx))
                stage = Stage.WRITE
                self._session.raise_if_not_the_items(scope)
                notes = ctx._end()
                self._guard_newer(stored, scope, notes)
                self._session.complete(scope)
            else:
                self._session.raise_if_not_the_items(scope)
        except SkipItem as skip:
            self._session.raise_if_not_the_items(scope)
            self._session.undo(scope)
            notes = ctx._end()
            self.attempts.append(Attempt(item, Outcome.SKIPPED, scope, notes, skip_reason=str(skip.reason)))
            return
        except BaseException as error:  # the one place where user code's errors are caught
            if isinstance(error, ChunkSpoiled) or not is_item_fault(error):
                raise
            self._session.raise_if_not_the_items(scope)
            notes = ctx._end()
            self._session.undo(scope)
            self._book_failure(item, scope, notes, self._failure(stage, error, item))
            return
        notes = ctx._end()
        if accepted:
            self._found.update(notes.lookups)
            self.attempts.append(Attempt(item, Outcome.COMPLETED, scope, notes, result=result))
        else:
            self._session.undo(scope)
            self._book_failure(item, scope, notes, rejection(self._batch.batch_type))

    def _failure(self, stage: Stage, error: BaseException, item: ImportBatchItem) -> Failure:
        return exception_failure(
            self._batch.batch_type,
            stage,
            error,
            source_data=item.source_data,
            user_file=self._user_file,
            retryable=isinstance(error, self._processor.transient_errors),
        )

    def _refused_write(self, error: WriteError, source_data: object) -> Failure:
        return server_failure(
            self._batch.batch_type,
            Stage.WRITE,
            sqlstate=error.sqlstate,
            message=error.message,
            detail=error.detail,
            table=error.table,
            column=error.column,
            constraint=error.constraint,
            source_data=source_data,
        )

    def _book_failure(self, item: ImportBatchItem, scope: ItemScope, notes: ItemNotes, failure: Failure) -> None:
        attempt = Attempt(item, Outcome.FAILED, scope, notes, failure=failure)
        self.attempts.append(attempt)
        self._call_error_hook(attempt)

    def _call_error_hook(self, attempt: Attempt) -> None:
        if type(self._processor).on_item_error is BaseProcessor.on_item_error:
            return
        assert attempt.failure is not None
        scope = ItemScope()
        ctx = self._context(scope, attempt.item.item_number, is_hook=True)
        try:
            self._processor.on_item_error(attempt.item, attempt.failure, ctx)
            self._session.raise_if_not_the_items(scope)
            self._complete_now(scope)
        except BaseException as error:  # a hook that fails must not hide the failure that it was told of
            if isinstance(error, ChunkSpoiled) or not is_item_fault(error):
                raise
            self._session.raise_if_not_the_items(scope)
            self._session.undo(scope)
            facts = {"batch_id": attempt.item.batch_id, "item_number": attempt.item.item_number}
            logger.error("on_item_error failed", extra={**facts, "error_type": type(error).__name__})
            attempt.notes.logs.append(LogLine("error", f"on_item_error failed: {type(error).__name__}", {}))
        finally:
            attempt.notes.logs.extend(ctx._end().logs)

    def _complete_now(self, scope: ItemScope) -> None:
        """Complete what a hook did, its declared writes included: nobody would look at their errors later."""
        self._session.write_now(scope)
        self._session.complete(scope)
        self.changed_session = self.changed_session or scope.changed_session

    def _guard_newer(self, stored: StoredItem, scope: ItemScope, notes: ItemNotes) -> None:
        """Keep an item that is repeated from overwriting what one that was delivered later has completed.

        Raises:
            SkipItem: the item writes nothing else, so nothing of it is lost.
            NewerData: it writes more than that; somebody has to decide.
        """
        if stored.origin_batch_id is None or self._batch.overwrite_newer or notes.natural_key is None:
            return
        # Written first: then the row is locked, and whatever was there before has been committed and can be seen.
        self._session.write_now(scope)
        cursor = self._session.query(
            _WORK["find_newer"],
            {
                "natural_key": notes.natural_key,
                "batch_type": self._batch.batch_type,
                "origin_batch_id": stored.origin_batch_id,
                "origin_item_number": stored.origin_item_number,
            },
        )
        newer = cursor.fetchone()
        if newer is None:
            return
        if notes.writes == 1:
            raise SkipItem(f"item {newer[1]} of batch {newer[0]} is newer and has completed the same key")
        raise NewerData(batch_id=newer[0], item_number=newer[1])

    def _context(self, scope: ItemScope, item_number: int | None, *, is_hook: bool = False) -> ImportContext:
        return ImportContext(
            self._session,
            scope,
            batch_id=self._batch.id,
            batch_type=self._batch.batch_type,
            run_id=self._run_id,
            item_number=item_number,
            found=self._found,
            is_hook=is_hook,
        )


def _parser(processor: BaseProcessor) -> Callable[[StoredItem], Any]:
    tokens = processor.null_tokens
    decimals = processor.decimals

    def parse(stored: StoredItem) -> Any:
        value = loads(stored.text if stored.text is not None else bytes(stored.raw or b""), decimals=decimals)
        if tokens and isinstance(value, dict):
            return {name: None if type(cell) is str and cell in tokens else cell for name, cell in value.items()}
        return value

    return parse


def _file_of(processor: type) -> str | None:
    try:
        return inspect.getsourcefile(processor)
    except TypeError:  # defined where there is no file, as in an interactive session
        return None
