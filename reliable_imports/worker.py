"""One run of a batch: claim a chunk, try its items, record and commit; until nothing is left to claim."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.attempt import clean_text, details_json
from reliable_imports.chunk import MAX_ITEMS, Chunk, StoredItem
from reliable_imports.chunk_session import ChunkSpoiled
from reliable_imports.context import LEVELS, logger
from reliable_imports.database import discard_session, roll_back, transaction
from reliable_imports.errors import ContextMisuse, RunInterrupted, SetupFailed
from reliable_imports.failure import Failure, exception_failure
from reliable_imports.faults import Fault, fault_of, is_item_fault
from reliable_imports.migrations import ADVISORY_LOCK
from reliable_imports.models import Batch, BatchSummary
from reliable_imports.processor import BaseProcessor
from reliable_imports.queries import load
from reliable_imports.reading import get_summary
from reliable_imports.recorder import Recorder
from reliable_imports.statuses import BatchStatus, Runner, RunOutcome, Stage

_WORK = load("work.sql")

MAX_TRIES = 5
"""Tries at an item that meets other transactions (deadlock, serialization failure, lock time-out), in one run."""

# A worker that is frozen in the middle of a chunk gives its range back after this long.
_SETTINGS = "SET LOCAL idle_in_transaction_session_timeout = '15min'; "
_MAX_REMEMBERED = 100_000
_PROGRESS_SECONDS = 0.5

ProgressCallback = Callable[[BatchSummary], None]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who executes a run."""

    runner: Runner = Runner.PYTHON
    dagster_run_id: str | None = None


@dataclass(slots=True)
class Doubt:
    """What is known of an item whose chunk had to be undone."""

    tries: list[Failure]
    verdict: Failure | None = None


class Worker:
    """Works one batch on one connection, in the calling thread."""

    def __init__(
        self,
        connection: Connection,
        batch: Batch,
        processor: BaseProcessor,
        identity: Identity,
        *,
        may_set_up: bool,
        on_progress: ProgressCallback | None,
    ) -> None:
        self._connection = connection
        self._batch = batch
        self._processor = processor
        self._identity = identity
        self._may_set_up = may_set_up
        self._on_progress = on_progress
        self._run_id = 0
        self._settle: str | None = None
        self._found: dict[tuple[Any, ...], Any] = {}
        self._from_range = 0
        self._careful_items = 0
        self._doubts: dict[int, Doubt] = {}
        self._next_progress = 0.0

    def run(self) -> None:
        """Work until nothing is left to claim, and close the batch if nobody else works on it.

        Raises:
            RunInterrupted: the database was lost or could not go on; open items stay pending.
        """
        try:
            self._start()
            while True:
                if self._work_chunk():
                    self._report_progress()
                elif self._close() or not self._may_claim_again():
                    break
            self._end(RunOutcome.FINISHED)
        except psycopg2.Error as error:
            self._abandon(_first_line(error))
            if fault_of(error, self._connection) is Fault.INFRASTRUCTURE:
                raise RunInterrupted(self._batch.id, _first_line(error)) from error
            raise
        except BaseException as error:
            self._abandon(type(error).__name__)
            raise

    # Beginning

    def _start(self) -> None:
        if self._may_set_up and self._processor.setup_sql is not None:
            self._set_up(self._processor.setup_sql)
        with transaction(self._connection) as cursor:
            cursor.execute(_WORK["start_batch"], {"batch_id": self._batch.id})
            cursor.execute(
                _WORK["start_run"],
                {
                    "batch_id": self._batch.id,
                    "runner": self._identity.runner.value,
                    "dagster_run_id": self._identity.dagster_run_id,
                    "host": socket.gethostname(),
                    "process_id": os.getpid(),
                },
            )
            self._run_id, mode = cursor.fetchone()
            self._recorder = Recorder(self._batch, self._processor, self._run_id)
            self._settle = _settling_statement(cursor)
            self._log(cursor, "info", "run started", {"mode": mode, "runner": self._identity.runner.value})
        if type(self._processor).on_batch_start is not BaseProcessor.on_batch_start:
            self._run_batch_hook(lambda ctx: self._processor.on_batch_start(self._batch, ctx))

    def _set_up(self, path: Path) -> None:
        try:
            script = Path(path).read_text(encoding="utf-8")
            with transaction(self._connection) as cursor:
                cursor.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
                cursor.execute(script)
        except (OSError, UnicodeDecodeError, psycopg2.Error) as error:
            if isinstance(error, psycopg2.Error) and fault_of(error, self._connection) is not Fault.ITEM:
                raise
            raise SetupFailed(str(path), _first_line(error), self._batch.id) from error
        discard_session(self._connection)

    def _run_batch_hook(self, hook: Callable[[Any], object]) -> None:
        with transaction(self._connection) as cursor:
            cursor.execute(_SETTINGS)
            for line in self._chunk(careful=True).run_hook(hook):
                self._insert_log(cursor, line.level, line.message, dict(line.details))
        discard_session(self._connection)

    # Working

    def _work_chunk(self) -> bool:
        """Claim, try, record and commit one chunk; False if no range can be claimed."""
        careful = self._careful_items > 0
        stored: list[StoredItem] = []
        chunk = None
        try:
            with transaction(self._connection) as cursor:
                range_number, first_item, stored = self._claim(cursor, 1 if careful else MAX_ITEMS)
                if not stored:
                    return False
                chunk = self._chunk(careful=careful)
                for item in stored:
                    chunk.add(item, verdict=self._verdict(item))
                    if chunk.is_full:
                        break
                chunk.finish()
                for attempt in chunk.attempts:
                    attempt.earlier_tries = self._tries(attempt.item.item_number)
                self._recorder.record(cursor, range_number, first_item, chunk.attempts)
            self._from_range = range_number
            self._careful_items = max(0, self._careful_items - 1)
            for attempt in chunk.attempts:
                self._doubts.pop(attempt.item.item_number, None)
            if chunk.changed_session:
                discard_session(self._connection)
        except (ChunkSpoiled, psycopg2.Error) as error:
            self._doubt(error, stored, careful)
        if len(self._found) > _MAX_REMEMBERED:
            self._found.clear()
        return True

    def _claim(self, cursor: Any, limit: int) -> tuple[int, int, list[StoredItem]]:
        parameters = {"batch_id": self._batch.id, "from_range": self._from_range, "limit": limit}
        cursor.execute(_SETTINGS + _WORK["claim_chunk"], parameters)
        rows = cursor.fetchall()
        if not rows and self._from_range > 0:
            # Past the end of the batch: others may have left ranges behind before.
            self._from_range = 0
            cursor.execute(_WORK["claim_chunk"], {**parameters, "from_range": 0})
            rows = cursor.fetchall()
        if not rows:
            return 0, 0, []
        range_number, first_item = rows[0][:2]
        return range_number, first_item, [StoredItem(*row[3:]) for row in rows]

    def _doubt(self, error: Exception, stored: list[StoredItem], careful: bool) -> None:
        """Decide how to go on after a chunk was undone; raise if the error is nobody's but the database's."""
        # What the undone items had looked up, or were the first to fail for, may never have existed.
        self._found.clear()
        self._recorder.forget()
        fault = Fault.ITEM
        if isinstance(error, psycopg2.Error):
            fault = fault_of(error, self._connection)
        if fault is Fault.INFRASTRUCTURE or not stored:
            raise error
        discard_session(self._connection)
        if not careful:
            self._careful_items = len(stored)
            return
        doubt = self._doubts.setdefault(stored[0].item_number, Doubt([]))
        if doubt.verdict is not None:
            raise error  # not even the failure can be recorded
        if isinstance(error, ChunkSpoiled):
            error = ContextMisuse("the item left the transaction that it was given, so nothing of it could be kept")
        retryable = fault is Fault.TRANSACTION
        failure = exception_failure(self._batch.batch_type, Stage.WRITE, error, retryable=retryable)
        if fault is Fault.TRANSACTION and len(doubt.tries) + 1 < MAX_TRIES:
            doubt.tries.append(failure)
            # Jitter, so that two workers that met do not meet again.
            time.sleep(random.uniform(0, 0.02 * 2 ** len(doubt.tries)))
        else:
            doubt.verdict = failure

    def _verdict(self, item: StoredItem) -> Failure | None:
        doubt = self._doubts.get(item.item_number)
        return None if doubt is None else doubt.verdict

    def _tries(self, item_number: int) -> list[Failure]:
        doubt = self._doubts.get(item_number)
        return [] if doubt is None else doubt.tries

    # Ending

    def _close(self) -> bool:
        """Close the batch if no range is open; two workers that finish together take turns on the batch's row."""
        with transaction(self._connection) as cursor:
            cursor.execute(_WORK["lock_batch"], {"batch_id": self._batch.id})
            cursor.execute(_WORK["close_batch"], {"batch_id": self._batch.id})
            closed = cursor.fetchone()
            if closed is None:
                return False
            status, total = closed
            level = "info" if total and status == BatchStatus.COMPLETED else "warning"
            message = "batch closed" if total else "batch closed without items"
            self._log(cursor, level, message, {"status": status})
        if type(self._processor).on_batch_complete is BaseProcessor.on_batch_complete:
            return True
        summary = get_summary(self._connection, self._batch.id)
        try:
            self._run_batch_hook(lambda ctx: self._processor.on_batch_complete(summary, ctx))
        except BaseException as error:  # user code; the batch is closed and stays so
            if not is_item_fault(error):
                raise
            roll_back(self._connection)
            facts = {"batch_id": self._batch.id, "error_type": type(error).__name__}
            logger.error("on_batch_complete failed", extra=facts)
            with transaction(self._connection) as cursor:
                self._log(cursor, "error", f"on_batch_complete failed: {type(error).__name__}", {})
        return True

    def _may_claim_again(self) -> bool:
        """Whether a range came free since the last claim: its worker may have died meanwhile."""
        with transaction(self._connection) as cursor:
            return bool(self._claim(cursor, 1)[2])

    def _end(self, outcome: RunOutcome, error: str | None = None) -> None:
        with transaction(self._connection) as cursor:
            cursor.execute(
                _WORK["end_run"],
                {"run_id": self._run_id, "outcome": outcome.value, "error": error and clean_text(error)},
            )
            level = "info" if outcome is RunOutcome.FINISHED else "warning"
            self._log(cursor, level, f"run {outcome}", {"error": error} if error else {})
        self._tell_progress()

    def _abandon(self, error: str) -> None:
        """Note how the run ended, if the database still listens; if not, its heartbeat will tell."""
        try:
            roll_back(self._connection)
            if self._run_id and not self._connection.closed:
                self._on_progress = None
                self._end(RunOutcome.INTERRUPTED, error)
        except psycopg2.Error:
            logger.warning("the end of a run could not be recorded", extra={"run_id": self._run_id})

    # Small things

    def _chunk(self, *, careful: bool) -> Chunk:
        return Chunk(
            self._connection,
            self._processor,
            self._batch,
            self._run_id,
            settle=self._settle,
            careful=careful,
            found=self._found,
        )

    def _report_progress(self) -> None:
        if self._on_progress is None or time.monotonic() < self._next_progress:
            return
        self._tell_progress()
        self._next_progress = time.monotonic() + _PROGRESS_SECONDS

    def _tell_progress(self) -> None:
        if self._on_progress is None:
            return
        summary = get_summary(self._connection, self._batch.id)
        try:
            self._on_progress(summary)
        except Exception as error:  # who only watches does not stop the work
            logger.warning("on_progress failed", extra={"error_type": type(error).__name__})
            self._on_progress = None

    def _log(self, cursor: Any, level: str, message: str, details: dict[str, Any]) -> None:
        """Say something in the audit trail and to Python's logging."""
        self._insert_log(cursor, level, message, details)
        facts = {"batch_id": self._batch.id, "run_id": self._run_id}
        logger.log(LEVELS[level], message, extra=facts)

    def _insert_log(self, cursor: Any, level: str, message: str, details: dict[str, Any]) -> None:
        facts = {"batch_id": self._batch.id, "run_id": self._run_id}
        cursor.execute(
            _WORK["insert_log"],
            {**facts, "level": level, "message": clean_text(message), "details": details_json(details)},
        )


def _settling_statement(cursor: Any) -> str | None:
    """SQL that checks deferred constraints now and defers them again; None in a database without such constraints.

    Constraints are not named: a role may lack rights on some, and they come and go. So those that can wait but do not
    by default are deferred as well after the first item; they still hit their own item.
    """
    cursor.execute(_WORK["has_deferrable_constraints"], {})
    (found,) = cursor.fetchone()
    return "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED" if found else None


def _first_line(error: BaseException) -> str:
    """The message without what PostgreSQL adds below it: the DETAIL holds values."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
