"""One transaction's worth of items, tried one by one, each isolated from the others."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.engine.isolation.session import (
    ChunkSession,
    ChunkSpoiled,
    ChunkTooLarge,
    ItemScope,
    LeftRow,
    WriteError,
)
from reliable_imports.engine.process.time_limit import TimedOut, time_limit
from reliable_imports.engine.work.attempt import Attempt, StoredItem
from reliable_imports.engine.work.preparation import Prepared
from reliable_imports.engine.work.tolerance import is_environmental
from reliable_imports.errors import ContextMisuse, DuplicateKey, ItemTimeout
from reliable_imports.items.code_places import team_code
from reliable_imports.items.failure import (
    Failure,
    Named,
    Refused,
    exception_failure,
    read_failure,
    rejection,
    server_failure,
)
from reliable_imports.items.json_read import loads, with_floats
from reliable_imports.items.rejection import why_rejected
from reliable_imports.models import Batch, ImportBatchItem
from reliable_imports.postgres.error_sorting import is_item_fault, is_refusal_of_a_row
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.context import ImportContext, ItemNotes, LogLine, Setting, SkipItem, logger
from reliable_imports.processor.facts import facts_of
from reliable_imports.processor.result import dumps_result
from reliable_imports.statuses import Outcome, Stage
from reliable_imports.writes.plan import Origin, Write
from reliable_imports.writes.plans import Plans
from reliable_imports.writes.refusals import (
    cells_of,
    is_raised_by_code,
    named_of,
    names_no_column,
    refusals,
    refusals_query,
)

_WRITES = load("writes.sql")

MAX_SECONDS = 1.0
"""After this long a chunk is committed with the items it has, so that slow items are committed one by one."""

_NO_NUMBERS_WITHIN = frozenset({str, int, bool, type(None)})
_MAX_PAUSE = timedelta(seconds=60)
_NOT_ONE_ITEMS = (ChunkSpoiled, ChunkTooLarge)


class _Rejected(BaseException):
    """`validate_item` said no; its class, where it did so by None."""

    def __init__(self, returned_none_from: str | None) -> None:
        self.returned_none_from = returned_none_from


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
        tries_columns: bool,
        tries_groups: bool,
        own_together: int,
        found: dict[tuple[Any, ...], Any],
        plans: Plans,
        on_item: Callable[[int], None] | None = None,
    ) -> None:
        """
        Args:
            plans: what is known of the tables that are written to.
            on_item: told the number of each item before its code runs.
        """
        self.attempts: list[Attempt] = []
        self.retry_pauses: list[float] = []
        """Seconds until items that met a transient error may be tried again."""
        self.changed_session = False
        """An item or a hook may have left something behind in the session."""
        self.session = ChunkSession(
            connection,
            settle=settle,
            careful=careful,
            is_timed=processor.item_timeout is not None or processor.statement_timeout is not None,
            tries_columns=tries_columns,
            tries_groups=tries_groups,
            own_together=own_together,
            plans=plans,
        )
        self._processor = processor
        self._batch = batch
        self._process_id = os.getpid()
        self._setting = Setting(
            self.session, batch.id, batch.batch_type, run_id, found, threading.get_ident(), self._process_id
        )
        self._on_item = on_item
        self._parse = parser(processor)
        self._key_fields = tuple(processor.natural_key)
        self._validates = type(processor).validate_item is not BaseProcessor.validate_item
        self._plans = plans
        self._sensitive = facts_of(type(processor)).sensitive_names()
        self._team = team_code(type(processor))
        self._has_time_limit = processor.item_timeout is not None
        self._is_validating = False
        self._unread = ImportBatchItem(batch.id, 0, None)
        self._until = time.monotonic() + MAX_SECONDS
        self._environmental: dict[str, bool] = {}

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit: too long at work, enough subtransactions, or a session that was changed."""
        return self.changed_session or time.monotonic() > self._until or self.session.is_full

    def go_on(self, carried: Sequence[Attempt]) -> None:
        """Begin with items that were tried in an earlier chunk, which had no room for their writes."""
        for attempt in carried:
            self.attempts.append(attempt)
            if attempt.scope.declared:
                self.session.wait_again(attempt.scope)

    def add(
        self,
        stored: StoredItem,
        *,
        verdict: Failure | None = None,
        is_harmful: bool = False,
        prepared: Prepared | None = None,
    ) -> None:
        """Try an item; with a *verdict*, book that failure without trying it again.

        Args:
            is_harmful: trying the item cost a process or a connection, and its `on_item_error` may have been the cause:
                that is not called again.

        Raises:
            ChunkSpoiled, ChunkTooLarge: nothing of this chunk can be kept, and its items must be tried again.
            psycopg2.Error: the database's own trouble, or that of two transactions meeting; nothing is booked.
        """
        if self._on_item is not None:
            self._on_item(stored.item_number)
        if verdict is None and stored.read_problem is None and stored.duplicate_of is None:
            self._try(stored, prepared)
        elif verdict is not None:
            attempt = Attempt(self._item(stored), stored, Outcome.FAILED, ItemScope(), ItemNotes())
            self._book_failure(attempt, verdict, call_hook=not is_harmful)
        elif stored.read_problem is not None:
            kind = stored.read_problem_kind or "unreadable"
            failure = read_failure(self._batch.batch_type, kind, stored.read_problem)
            self._book_failure(Attempt(self._item(stored), stored, Outcome.FAILED, ItemScope(), ItemNotes()), failure)
        elif stored.duplicate_of is not None:
            self._book_duplicate(stored, stored.duplicate_of)
        if self.attempts[-1].scope.changed_session:
            self.changed_session = True

    def finish(self) -> list[Attempt]:
        """Send the declared writes, and book as failed the items whose writes were refused.

        Returns the last attempts, if there was no room for their writes: they are no longer part of this chunk.
        """
        unsent = self.session.finish()
        carried: list[Attempt] = []
        if unsent:
            cut = next(index for index, each in enumerate(self.attempts) if each.scope is unsent[0])
            carried = self.attempts[cut:]
            del self.attempts[cut:]
        if self.session.write_errors:
            by_scope = {id(attempt.scope): attempt for attempt in self.attempts}
            errors = self.session.write_errors
            asked = [
                each.scope.declared
                if _asks(each.sqlstate, each.table, each.column, each.constraint, each.context)
                else ()
                for each in errors
            ]
            refused = self._refused(asked)
            for place, error in enumerate(errors):
                attempt = by_scope[id(error.scope)]
                attempt.outcome = Outcome.FAILED
                attempt.result = None
                data = attempt.item.source_data
                failure = self._refused_write(error, data, refused.get(place, ()))
                attempt.failure = failure.without_values_of(self._sensitive, data)
                if error.is_not_yet and not attempt.stored.tries_last:
                    attempt.waits_for_others = True
                    continue
                attempt.environmental = self._is_environmental(attempt.failure, error)
                if self.session.is_full:
                    raise ChunkTooLarge  # the hooks may write, too
                self._call_error_hook(attempt)
            self.session.finish()
        for attempt in self.attempts:
            if attempt.scope.moved and attempt.outcome is Outcome.COMPLETED:
                _tell_of_moved(attempt)
            if attempt.scope.left and attempt.outcome is Outcome.COMPLETED:
                _tell_of_left(attempt)
        return carried

    def run_hook(self, hook: Callable[[ImportContext], object]) -> list[LogLine]:
        """Run a hook of the whole batch on this transaction; its errors come through as they are."""
        scope = ItemScope()
        ctx = ImportContext(self._setting, scope, None, is_hook=True)
        try:
            hook(ctx)
            self._complete_now(scope)
        finally:
            notes = ctx._end()
        self.session.finish()
        return notes.logs

    def _item(self, stored: StoredItem, source_data: Any = None, prepared: Any = None) -> ImportBatchItem:
        return ImportBatchItem(
            self._batch.id, stored.item_number, source_data, stored.line, stored.offset, stored.attempt, prepared
        )

    def _try(self, stored: StoredItem, prepared: Prepared | None) -> None:
        scope = ItemScope()
        if stored.origin_batch_id is not None and not self._batch.overwrite_newer:
            assert stored.origin_item_number is not None
            scope.origin = Origin(stored.origin_batch_id, stored.origin_item_number)
        ctx = ImportContext(self._setting, scope, stored.item_number)
        session = self.session
        self._is_validating = False
        notes = ctx._notes
        attempt = Attempt(self._unread, stored, Outcome.COMPLETED, scope, notes)
        stage = Stage.READ
        try:
            data = self._parse(stored)
            attempt.item = item = self._item(stored, data, None if prepared is None else prepared.value)
            if self._key_fields:
                notes.natural_key = self._declared_key(data)
            if prepared is not None and prepared.error is not None:
                stage = Stage.PREPARE
                raise prepared.error
            stage = Stage.PROCESS
            process = self._call_in_time if self._has_time_limit else self._call
            returned = process(item, ctx)
            self._end_if_forked()
            attempt.result = dumps_result(returned)
            stage = Stage.WRITE
            session.raise_if_not_the_items(scope)
            ctx._end()
            if scope.origin is not None:  # repeated, by another batch or within its own
                self._guard_newer(scope, notes)
            session.complete(scope)
        except SkipItem as skip:
            session.raise_if_not_the_items(scope)
            ctx._end()
            session.undo(scope)
            attempt.outcome, attempt.result, attempt.skip_reason = Outcome.SKIPPED, None, str(skip.reason)
        except _Rejected as no:
            session.raise_if_not_the_items(scope)
            ctx._end()
            session.undo(scope)
            self._book_failure(attempt, self._rejection(no, attempt.item))
            return
        except BaseException as error:  # the one place where user code's errors are caught
            self._end_if_forked()
            if stage is Stage.PROCESS and self._is_validating:
                stage = Stage.VALIDATE
            ctx._end()
            if attempt.item is self._unread:
                attempt.item = self._item(stored)
            if isinstance(error, TimedOut):
                error = self._timeout().with_traceback(error.__traceback__)
            if isinstance(error, _NOT_ONE_ITEMS) or not is_item_fault(error):
                raise
            session.raise_if_not_the_items(scope)
            session.undo(scope)
            attempt.result = None
            attempt.waits_for_others = scope.is_not_yet and not stored.tries_last
            self._book_failure(attempt, self._failure(stage, error, attempt.item, scope), error)
            return
        if notes.lookups and attempt.outcome is Outcome.COMPLETED:
            self._setting.found.update(notes.lookups)
        self.attempts.append(attempt)

    def _end_if_forked(self) -> None:
        """A process that an item has forked, and in which it came back, is not to work the batch a second time."""
        if os.getpid() != self._process_id:
            sys.stderr.write("an item came back in a process that it had forked; end it by os._exit\n")
            os._exit(1)

    def _call(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
        if self._validates:
            self._is_validating = True
            accepted = self._processor.validate_item(item, ctx)
            if not accepted:
                raise _Rejected(None if accepted is not None else type(self._processor).__qualname__)
            if accepted is not True and inspect.isawaitable(accepted):
                raise ContextMisuse("validate_item returned something to await, which is no answer")
            self._is_validating = False
        return self._processor.process_item(item, ctx)

    def _call_in_time(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
        assert self._processor.item_timeout is not None
        with time_limit(self._processor.item_timeout):
            return self._call(item, ctx)

    def _timeout(self) -> ItemTimeout:
        assert self._processor.item_timeout is not None
        return ItemTimeout(
            f"the item took longer than item_timeout, {self._processor.item_timeout.total_seconds():g} seconds"
        )

    def _declared_key(self, data: Any) -> int | None:
        values = [data.get(field) for field in self._key_fields] if isinstance(data, dict) else []
        if not values or any(value is None for value in values):
            return None
        return hash_of_values(self._batch.batch_type, values)

    def _failure(self, stage: Stage, error: BaseException, item: ImportBatchItem, scope: ItemScope) -> Failure:
        named = None
        refused: Sequence[Refused] = ()
        if isinstance(error, psycopg2.Error) and error.pgcode:
            diag = error.diag
            named = self._named(diag.schema_name, diag.table_name, diag.constraint_name) or _target_of(scope.refused)
            if scope.refused and _asks(
                error.pgcode, diag.table_name, diag.column_name, diag.constraint_name, diag.context
            ):
                refused = self._refused([scope.refused]).get(0, ())
        return exception_failure(
            self._batch.batch_type,
            stage,
            error,
            source_data=item.source_data,
            team=self._team,
            named=named,
            refused=refused,
            is_declared=bool(scope.refused),
            retryable=isinstance(error, self._processor.transient_errors),
        )

    def _rejection(self, no: _Rejected, item: ImportBatchItem) -> Failure:
        rejected = why_rejected(inspect.unwrap(type(self._processor).validate_item), item)
        if no.returned_none_from is not None:
            name = f"{no.returned_none_from}.validate_item"
            words = f"{name} returned None, which rejects the item; is a `return` missing?"
            rejected = rejected._replace(words=words)
        return rejection(self._batch.batch_type, rejected, item.source_data)

    def _refused_write(self, error: WriteError, source_data: object, refused: Sequence[Refused]) -> Failure:
        return server_failure(
            self._batch.batch_type,
            Stage.WRITE,
            sqlstate=error.sqlstate,
            message=error.message,
            detail=error.detail,
            table=error.table or None,
            column=error.column or None,
            constraint=error.constraint or None,
            context=error.context,
            named=self._named(error.schema, error.table, error.constraint) or _target_of(error.scope.declared),
            refused=refused,
            source_data=source_data,
        )

    def _named(self, schema: str | None, table: str | None, constraint: str | None) -> Named | None:
        """What a table and a constraint are called for all partitions alike; asked once for each."""
        if not schema or not table:
            return None
        known = self._plans.names
        facts = (schema, table, constraint or None)
        if facts not in known:
            asked = {"schema": schema, "table": table, "constraint": constraint or None}
            rows = self.session.ask(self.session.mogrify(_WRITES["root_names"], asked))
            known[facts] = named_of(rows[0] if rows else None, table, constraint or None)
        return known[facts]

    def _refused(self, writes: Sequence[Sequence[Write]]) -> Mapping[int, Sequence[Refused]]:
        """Of items whose writes were refused, by place: the columns that refuse their values."""
        cells = [cell for place, each in enumerate(writes) for cell in cells_of(place, each)]
        if not cells:
            return {}
        rows = self.session.ask(refusals_query(cells, self.session.connection.server_version))
        return refusals(cells, rows[0][0] if rows else None)

    def _is_environmental(self, failure: Failure, error: WriteError) -> bool:
        """Whether a refused write says more about the world; of each reason the first one is looked at closely."""
        if not (error.is_of_the_table or is_environmental(failure, None)):
            return False
        if failure.reason not in self._environmental:
            refusal = self.session.refuse_again(error.scope)
            self._environmental[failure.reason] = refusal is not None and not is_refusal_of_a_row(refusal)
        return self._environmental[failure.reason]

    def _book_duplicate(self, stored: StoredItem, duplicate_of: int) -> None:
        attempt = Attempt(self._item(stored), stored, Outcome.SKIPPED, ItemScope(), ItemNotes())
        if stored.fails:
            attempt.outcome = Outcome.FAILED
            error = DuplicateKey(duplicate_of)
            self._book_failure(attempt, exception_failure(self._batch.batch_type, Stage.VALIDATE, error))
        else:
            attempt.skip_reason = f"item {duplicate_of} of this batch has the same natural key"
            self.attempts.append(attempt)

    def _book_failure(
        self, attempt: Attempt, failure: Failure, error: BaseException | None = None, *, call_hook: bool = True
    ) -> None:
        attempt.outcome = Outcome.FAILED
        attempt.failure = failure = failure.without_values_of(self._sensitive, attempt.item.source_data)
        transient = error is not None and isinstance(error, self._processor.transient_errors)
        attempt.environmental = transient or is_environmental(failure, error)
        tries = attempt.stored.attempt - attempt.stored.earlier_attempts
        if attempt.waits_for_others:
            self.attempts.append(attempt)
            return
        if transient and tries < self._processor.max_tries:
            # Full jitter: items that failed together do not come back together.
            longest = min(_MAX_PAUSE, self._processor.retry_pause * float(2 ** (tries - 1)))
            attempt.retry_pause = longest * random.uniform(0.5, 1)
            self.retry_pauses.append(attempt.retry_pause.total_seconds())
        self.attempts.append(attempt)
        if attempt.is_final and call_hook:
            self._call_error_hook(attempt)

    def _call_error_hook(self, attempt: Attempt) -> None:
        if type(self._processor).on_item_error is BaseProcessor.on_item_error:
            return
        assert attempt.failure is not None
        scope = ItemScope()
        ctx = ImportContext(self._setting, scope, attempt.item.item_number, is_hook=True)
        limit = self._processor.item_timeout
        if self._on_item is not None:
            self._on_item(attempt.item.item_number)  # the hook has as long as an item
        try:
            with nullcontext() if limit is None else time_limit(limit):
                self._processor.on_item_error(attempt.item, attempt.failure, ctx)
            self.session.raise_if_not_the_items(scope)
            self._complete_now(scope)
        except BaseException as error:  # a hook that fails must not hide the failure that it was told of
            if isinstance(error, TimedOut):
                error = self._timeout()
            if isinstance(error, _NOT_ONE_ITEMS) or not is_item_fault(error):
                raise
            self.session.raise_if_not_the_items(scope)
            self.session.undo(scope)
            facts = {"batch_id": attempt.item.batch_id, "item_number": attempt.item.item_number}
            logger.error("on_item_error failed", extra={**facts, "error_type": type(error).__name__})
            attempt.notes.logs.append(LogLine("error", f"on_item_error failed: {type(error).__name__}", {}))
        finally:
            attempt.notes.logs.extend(ctx._end().logs)

    def _complete_now(self, scope: ItemScope) -> None:
        """Complete what a hook did, its declared writes included: nobody would look at their errors later."""
        self.session.write_now(scope)
        self.session.complete(scope)
        self.changed_session = self.changed_session or scope.changed_session

    def _guard_newer(self, scope: ItemScope, notes: ItemNotes) -> None:
        """Leave an item out whose declared natural key a later-delivered one has completed: its own statements, which
        nobody else can guard, would overwrite what that one wrote.

        Raises SkipItem: such an item is left out.
        """
        if notes.natural_key is None:
            return
        assert scope.origin is not None
        # Written first: then the rows are locked, and whatever was there before has been committed and can be seen.
        self.session.write_now(scope)
        cursor = self.session.query(
            scope,
            _WRITES["find_newer"],
            {
                "row_key": notes.natural_key,
                "origin_batch_id": scope.origin.batch_id,
                "origin_item_number": scope.origin.item_number,
            },
        )
        newer = cursor.fetchone()
        if newer is not None:
            raise SkipItem(f"item {newer[1]} of batch {newer[0]} is newer and has completed the same natural key")


def _asks(sqlstate: str, table: str | None, column: str | None, constraint: str | None, context: str | None) -> bool:
    """Whether to ask which column an error is about."""
    return names_no_column(sqlstate, table or None, column or None, constraint or None) and not is_raised_by_code(
        context
    )


def _target_of(writes: Sequence[Write]) -> Named | None:
    """The table, where an error names none."""
    tables = {write.plan.target.root for write in writes}
    return Named(tables.pop()) if len(tables) == 1 else None


def _tell_of_left(attempt: Attempt) -> None:
    """Say of a completed item which rows it has left as they are; if those are all, it is skipped."""
    scope = attempt.scope
    reasons = list(dict.fromkeys(map(_why_left, scope.left)))
    if not (scope.written or scope.row_keys or scope.ran_statements):
        attempt.outcome, attempt.result, attempt.skip_reason = Outcome.SKIPPED, None, "; ".join(reasons)
        return
    kept = [{"table": row.table, "why": row.why, **_named(row.newer)} for row in scope.left]
    result = {} if attempt.result is None else json.loads(attempt.result)
    attempt.result = dumps_result({**result, "kept": kept})
    attempt.notes.logs.extend(LogLine("info", reason, {}) for reason in reasons)


def _tell_of_moved(attempt: Attempt) -> None:
    """Take a `target_id` out of the result that names no row, for a trigger has given the row another key."""
    for table in dict.fromkeys(attempt.scope.moved):
        result = {} if attempt.result is None else json.loads(attempt.result)
        if result.get("target_table") == table and result.pop("target_id", None) is not None:
            attempt.result = dumps_result(result)
        message = f"a trigger of {table} gave the row another key than the item has"
        attempt.notes.logs.append(LogLine("info", message, {}))


def _why_left(row: LeftRow) -> str:
    if row.newer is not None:
        return (
            f"the row of {row.table} was left as it is: item {row.newer.item_number} of batch {row.newer.batch_id}, "
            "which is newer, has written it"
        )
    if row.why == "there":
        return f"the row of {row.table} was left as it is: it is there already, and existing rows are kept"
    return f"the row of {row.table} was left out by a trigger or a rule of the table"


def _named(newer: Origin | None) -> dict[str, int]:
    return {} if newer is None else {"newer_batch": newer.batch_id, "newer_item": newer.item_number}


def hash_of_values(batch_type: str, values: Sequence[Any]) -> int:
    """A declared natural key as 64 bits, the same for 7 and "7"."""
    text = json.dumps([batch_type, *map(str, values)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def parser(processor: BaseProcessor) -> Callable[[StoredItem], Any]:
    """How the processor wants its items: from the stored text or bytes to Python values."""
    tokens = processor.null_tokens
    exact = frozenset() if processor.decimals else facts_of(type(processor)).exact_numbers()
    decimals = processor.decimals or bool(exact)

    def parse(stored: StoredItem) -> Any:
        text = stored.text
        value = loads(bytes(stored.raw or b"") if text is None else text, decimals=decimals)
        if exact and isinstance(value, dict) and not _NO_NUMBERS_WITHIN.issuperset(map(type, value.values())):
            value = {name: each if name in exact else with_floats(each) for name, each in value.items()}
        if tokens and isinstance(value, dict):
            return {name: None if type(cell) is str and cell in tokens else cell for name, cell in value.items()}
        return value

    return parse
