"""One execution of a batch: begins it, keeps it going wherever the work has to be done, and ends it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from reliable_imports.batches.read import get_batch, get_summary
from reliable_imports.engine.process.child_process import Shelter
from reliable_imports.engine.process.gc_threshold import fewer_collections
from reliable_imports.engine.process.heartbeat import Watch
from reliable_imports.engine.recovery.connection import RECONNECT_SECONDS, Link, first_line
from reliable_imports.engine.recovery.killer_search import Children
from reliable_imports.engine.work.attempt import clean_text
from reliable_imports.engine.work.audit_log import Trail
from reliable_imports.engine.work.claims import Suspected
from reliable_imports.engine.work.worker import Ending, MustPause, Worker
from reliable_imports.errors import RunInterrupted, SetupFailed
from reliable_imports.models import Batch, BatchSummary
from reliable_imports.postgres.connect import discard_session, roll_back, transaction
from reliable_imports.postgres.error_sorting import Fault, fault_of, is_item_fault
from reliable_imports.postgres.queries import load
from reliable_imports.postgres.schema import ADVISORY_LOCK
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.code_version import code_version
from reliable_imports.processor.context import logger
from reliable_imports.processor.facts import facts_of
from reliable_imports.statuses import BatchStatus, Runner, RunOutcome

_SUSPECTS = load("suspects.sql")
_WORK = load("work.sql")

_PROGRESS_SECONDS = 0.5
_MAX_LOST_COMPLETIONS = 3
_TURN_SECONDS = 0.2
_LONGEST_TURN_SECONDS = 1.0

ProgressCallback = Callable[[BatchSummary], None]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who executes a run."""

    runner: Runner = Runner.PYTHON
    dagster_run_id: str | None = None


class Run:
    """Works one batch in the calling thread, until nothing is left to claim."""

    def __init__(
        self,
        dsn: str,
        batch: Batch,
        processor: BaseProcessor,
        identity: Identity,
        *,
        may_set_up: bool,
        on_progress: ProgressCallback | None,
    ) -> None:
        self._dsn = dsn
        self._batch = batch
        self._processor = processor
        self._identity = identity
        self._may_set_up = may_set_up
        self._on_progress = on_progress
        self._next_progress = 0.0
        self._link = Link(dsn, batch.id)
        self._has_begun = False
        self._lost_completions = 0
        self._trail: Trail
        self._watch: Watch
        self._worker: Worker
        self._children: Children

    def execute(self) -> BatchSummary:
        """Work until nothing is left to claim, close the batch if nobody else works on it, and say how it stands.

        Raises:
            RunInterrupted: the database was lost for too long; open items stay pending.
        """
        try:
            with self._link, self._link.stop, fewer_collections():
                self._link.open()
                try:
                    return self._execute()
                finally:
                    if self._has_begun:
                        self._watch.stop()
                        self._worker.close()
        finally:
            self._link.stop.obey()

    def _execute(self) -> BatchSummary:
        link = self._link
        try:
            self._begin()
            ending = self._work_until_paused()
            if ending is Ending.STOPPED:
                link.kept(lambda: self._end(RunOutcome.INTERRUPTED, "stopped by a signal"))
            else:
                link.kept(lambda: self._end(*self._outcome()))
            return link.kept(lambda: get_summary(link.connection, self._batch.id))
        except psycopg2.Error as error:
            self._abandon(first_line(error))
            if fault_of(error, link.connection) is Fault.INFRASTRUCTURE:
                raise RunInterrupted(self._batch.id, first_line(error)) from error
            raise
        except MustPause as cause:  # and not even that could be written down
            self._abandon(str(cause))
            raise RunInterrupted(self._batch.id, str(cause)) from cause
        except BaseException as error:
            self._abandon(type(error).__name__)
            raise

    # Beginning

    def _begin(self) -> None:
        """Start the run, and start it again if the connection is lost meanwhile."""
        until = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                settle, has_killers = self._start()
                break
            except psycopg2.Error as error:  # it was not committed, or nobody knows
                if not self._link.connection.closed or time.monotonic() > until:
                    raise
                self._link.open_again(error, until)
        shelter = Shelter(
            item_timeout=self._processor.item_timeout, stop_received=lambda: self._link.stop.received is not None
        )
        self._watch = Watch(self._dsn, self._trail.run_id, lambda: self._link.connection, shelter.forking)
        self._worker = Worker(
            self._batch,
            self._processor,
            self._trail.run_id,
            settle=settle,
            stop=self._link.stop,
            on_chunk=self._after_chunk,
        )
        self._children = Children(
            self._dsn,
            self._batch,
            self._processor,
            self._link,
            self._worker,
            self._trail,
            shelter,
            expects_killers=has_killers,
            on_tick=self._report_progress,
        )
        self._watch.start()
        self._has_begun = True
        self._link.serve(self._trail, self._worker)
        if type(self._processor).on_batch_start is not BaseProcessor.on_batch_start:
            self._run_batch_hook(lambda ctx: self._processor.on_batch_start(self._batch, ctx))

    def _start(self) -> tuple[str | None, bool]:
        """Write down that the run begins.

        Returns SQL that settles an item's deferred constraints, if there are such, and whether items are known to kill.
        """
        if self._may_set_up and self._processor.setup_sql is not None:
            self._set_up(self._processor.setup_sql)
        with transaction(self._link.connection) as cursor:
            cursor.execute(_WORK["start_batch"], {"batch_id": self._batch.id})
            cursor.execute(
                _WORK["start_run"],
                {
                    "batch_id": self._batch.id,
                    "runner": self._identity.runner.value,
                    "dagster_run_id": self._identity.dagster_run_id,
                    "code_version": code_version(type(self._processor)),
                    "sensitive": sorted(facts_of(type(self._processor)).sensitive_names()),
                    "host": socket.gethostname(),
                    "process_id": os.getpid(),
                },
            )
            run_id, mode = cursor.fetchone()
            settle = _settling_statement(cursor)
            has_killers = False
            if self._batch.reprocess_of is not None:
                cursor.execute(_SUSPECTS["repeats_killers"], {"batch_id": self._batch.id})
                ((has_killers,),) = cursor.fetchall()
            self._trail = Trail(self._batch.id, run_id)
            self._trail.say(cursor, "info", "run started", {"mode": mode, "runner": self._identity.runner.value})
        return settle, has_killers

    def _set_up(self, path: Path) -> None:
        connection = self._link.connection
        try:
            script = Path(path).read_text(encoding="utf-8")
            with transaction(connection) as cursor:
                cursor.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
                cursor.execute(script)
        except (OSError, UnicodeDecodeError, psycopg2.Error) as error:
            if isinstance(error, psycopg2.Error) and (
                connection.closed or fault_of(error, connection) is Fault.TRANSACTION
            ):
                raise
            raise SetupFailed(str(path), first_line(error), self._batch.id) from error
        discard_session(connection)

    def _run_batch_hook(self, hook: Callable[[Any], object]) -> None:
        logs = self._worker.run_hook(hook)
        if logs:
            with transaction(self._link.connection) as cursor:
                for line in logs:
                    self._trail.add(cursor, line.level, line.message, dict(line.details))

    # Working

    def _work_until_paused(self) -> Ending:
        kept = self._link.kept
        pause = _TURN_SECONDS
        try:
            kept(self._worker.check_targets)
            while True:
                ending = self._keep_working()
                if ending is Ending.STOPPED:
                    return ending
                if kept(self._close):
                    kept(self._tell_of_completion)
                    return ending
                if not self._worker.left and not kept(self._is_left_behind):
                    return ending
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_TURN_SECONDS) if self._worker.left else _TURN_SECONDS
                self._worker.left.clear()
        except MustPause as cause:
            reason = str(cause)
            kept(lambda: self._pause(reason))
            return Ending.NOTHING_LEFT

    def _keep_working(self) -> Ending:
        """Work until nothing is left or a signal says so, wherever it takes: here, in a child, item by item."""
        while self._link.stop.received is None:
            try:
                ending = self._children.work() if self._children.are_wanted else self._link.kept(self._worker.work)
            except Suspected as suspected:
                ending = self._children.search(suspected.range_number)
            if ending is not None:
                return ending
        return Ending.STOPPED

    # Ending

    def _pause(self, reason: str) -> None:
        with transaction(self._link.connection) as cursor:
            cursor.execute(_WORK["pause_batch"], {"batch_id": self._batch.id, "reason": clean_text(reason)})
            if cursor.fetchone() is not None:
                self._trail.say(cursor, "error", "batch paused", {"reason": reason})

    def _close(self) -> bool:
        """Close the batch if no range is open; two workers that finish together take turns on the batch's row."""
        with transaction(self._link.connection) as cursor:
            cursor.execute(_WORK["lock_batch"], {"batch_id": self._batch.id})
            cursor.execute(_WORK["close_batch"], {"batch_id": self._batch.id})
            closed = cursor.fetchone()
            if closed is None:
                return False
            status, total = closed
            cursor.execute(_WORK["count_batch"], {"batch_id": self._batch.id})
            if self._batch.reprocess_of is not None:
                cursor.execute(_WORK["continue_reasons"], {"batch_id": self._batch.id})
            cursor.execute(_SUSPECTS["trust_all"], {"batch_id": self._batch.id})
            level = "info" if total and status == BatchStatus.COMPLETED else "warning"
            message = "batch closed" if total else "batch closed without items"
            self._trail.say(cursor, level, message, {"status": status})
        return True

    def _tell_of_completion(self) -> None:
        if type(self._processor).on_batch_complete is BaseProcessor.on_batch_complete:
            return
        connection = self._link.connection
        summary = get_summary(connection, self._batch.id)
        try:
            self._run_batch_hook(lambda ctx: self._processor.on_batch_complete(summary, ctx))
        except BaseException as error:  # user code; the batch is closed and stays so
            if isinstance(error, psycopg2.Error) and connection.closed:
                self._lost_completions += 1
                if self._lost_completions < _MAX_LOST_COMPLETIONS:
                    raise
                self._link.open_again(error, time.monotonic() + RECONNECT_SECONDS)
                connection = self._link.connection
            elif not is_item_fault(error):
                raise
            roll_back(connection)
            facts = {"batch_id": self._batch.id, "error_type": type(error).__name__}
            logger.error("on_batch_complete failed", extra=facts)
            with transaction(connection) as cursor:
                self._trail.add(cursor, "error", f"on_batch_complete failed: {type(error).__name__}", {})

    def _is_left_behind(self) -> bool:
        """Whether a range came free since the last claim: its worker may have died meanwhile."""
        with self._link.connection.cursor() as cursor:
            cursor.execute(_WORK["has_free_range"], {"batch_id": self._batch.id})
            return cursor.fetchone() is not None

    def _outcome(self) -> tuple[RunOutcome, str | None]:
        batch = get_batch(self._link.connection, self._batch.id)
        if batch.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED):
            return RunOutcome.INTERRUPTED, f"the batch is {batch.status}"
        return RunOutcome.FINISHED, None

    def _end(self, outcome: RunOutcome, error: str | None = None) -> None:
        with transaction(self._link.connection) as cursor:
            cursor.execute(
                _WORK["end_run"],
                {"run_id": self._trail.run_id, "outcome": outcome.value, "error": error and clean_text(error)},
            )
            level = "info" if outcome is RunOutcome.FINISHED else "warning"
            self._trail.say(cursor, level, f"run {outcome}", {"error": error} if error else {})
        self._tell_progress()

    def _abandon(self, error: str) -> None:
        """Note how the run ended, if the database still listens; if not, its heartbeat will tell."""
        try:
            roll_back(self._link.connection)
            if self._has_begun and not self._link.connection.closed:
                self._on_progress = None
                self._end(RunOutcome.INTERRUPTED, error)
        except psycopg2.Error:
            logger.warning("the end of a run could not be recorded", extra={"run_id": self._trail.run_id})

    # Small things

    def _after_chunk(self) -> None:
        self._watch.beaten()
        self._report_progress()

    def _report_progress(self) -> None:
        if self._on_progress is None or time.monotonic() < self._next_progress:
            return
        self._tell_progress()
        self._next_progress = time.monotonic() + _PROGRESS_SECONDS

    def _tell_progress(self) -> None:
        if self._on_progress is None:
            return
        try:
            summary = get_summary(self._link.connection, self._batch.id)
        except psycopg2.Error:
            return  # the work itself will tell
        try:
            self._on_progress(summary)
        except Exception as error:  # who only watches does not stop the work
            logger.warning("on_progress failed", extra={"error_type": type(error).__name__})
            self._on_progress = None


def _settling_statement(cursor: Any) -> str | None:
    """SQL that checks deferred constraints now and defers them again; None in a database without such constraints.

    Constraints are not named: a role may lack rights on some, and they come and go. So those that can wait but do not
    by default are deferred as well after the first item; they still hit their own item.
    """
    cursor.execute(_WORK["has_deferrable_constraints"], {})
    (found,) = cursor.fetchone()
    return "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED" if found else None
