"""One execution of a batch: begins it, keeps it going through lost connections and dying workers, and ends it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.context import LEVELS, logger
from reliable_imports.database import connect, discard_session, roll_back, transaction
from reliable_imports.engine import shelter
from reliable_imports.engine.attempt import clean_text, details_json
from reliable_imports.engine.claims import Suspected
from reliable_imports.engine.garbage import fewer_collections
from reliable_imports.engine.shelter import ChildEnd, Shelter
from reliable_imports.engine.stop import StopSignal
from reliable_imports.engine.suspects import Suspects
from reliable_imports.engine.watch import Watch
from reliable_imports.engine.worker import Doubt, Ending, MustPause, Worker
from reliable_imports.errors import ItemError, ItemTimeout, KilledWorker, RunInterrupted, SetupFailed
from reliable_imports.failure import exception_failure
from reliable_imports.faults import Fault, fault_of, is_item_fault
from reliable_imports.migrations import ADVISORY_LOCK
from reliable_imports.models import Batch, BatchSummary
from reliable_imports.processor import BaseProcessor
from reliable_imports.queries import load
from reliable_imports.reading import get_batch, get_summary
from reliable_imports.statuses import BatchStatus, Runner, RunOutcome, Stage

_WORK = load("work.sql")

RECONNECT_SECONDS = 60.0
"""How long a run tries to get a lost server back before it gives up; its items stay pending then."""

MAX_LONE_DEATHS = 2
"""Child processes that an item may kill while it is tried alone."""

_MAX_DEATHS_BETWEEN_ITEMS = 5
_PROGRESS_SECONDS = 0.5
_LOCK_SECONDS = 60
_TURN_SECONDS = 0.2

T = TypeVar("T")
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
        self._run_id = 0
        self._connection: Connection
        self._opened = ExitStack()
        self._stop = StopSignal(self._cancel_statement)
        self._watch: Watch | None = None
        self._worker: Worker
        self._suspects: Suspects
        self._shelter = Shelter(
            item_timeout=processor.item_timeout, stop_received=lambda: self._stop.received is not None
        )
        self._sheltered = processor.item_timeout is not None and shelter.POSSIBLE
        self._deaths: Counter[int | None] = Counter()

    def execute(self) -> BatchSummary:
        """Work until nothing is left to claim, close the batch if nobody else works on it, and say how it stands.

        Raises:
            RunInterrupted: the database was lost for too long; open items stay pending.
        """
        with self._opened, self._stop, fewer_collections():
            self._open()
            try:
                self._begin()
                ending = self._work_until_paused()
                if ending is Ending.STOPPED:
                    self._kept(lambda: self._end(RunOutcome.INTERRUPTED, "stopped by a signal"))
                else:
                    self._kept(lambda: self._end(*self._outcome()))
                summary = self._kept(lambda: get_summary(self._connection, self._batch.id))
            except psycopg2.Error as error:
                self._abandon(_first_line(error))
                if fault_of(error, self._connection) is Fault.INFRASTRUCTURE:
                    raise RunInterrupted(self._batch.id, _first_line(error)) from error
                raise
            except MustPause as cause:  # and not even that could be written down
                self._abandon(str(cause))
                raise RunInterrupted(self._batch.id, str(cause)) from cause
            except BaseException as error:
                self._abandon(type(error).__name__)
                raise
            finally:
                if self._watch is not None:
                    self._watch.stop()
                    self._worker.close()
        self._stop.obey()
        return summary

    # Beginning

    def _begin(self) -> None:
        """Start the run, and start it again if the connection is lost meanwhile."""
        until = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                self._start()
                break
            except psycopg2.Error as error:
                self._run_id = 0  # it was not committed, or nobody knows
                if not self._connection.closed or time.monotonic() > until:
                    raise
                self._open_again(error, until)
        if type(self._processor).on_batch_start is not BaseProcessor.on_batch_start:
            self._run_batch_hook(lambda ctx: self._processor.on_batch_start(self._batch, ctx))

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
            settle = _settling_statement(cursor)
            self._log(cursor, "info", "run started", {"mode": mode, "runner": self._identity.runner.value})
        self._suspects = Suspects(self._dsn, self._batch.id, self._run_id)
        self._watch = Watch(self._dsn, self._run_id, lambda: self._connection, self._shelter.forking)
        self._watch.start()
        self._worker = Worker(
            self._batch,
            self._processor,
            self._run_id,
            settle=settle,
            stop=self._stop,
            on_chunk=self._after_chunk,
            on_item=None,
        )
        self._worker.attach(self._connection)

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
        logs = self._worker.run_hook(hook)
        if logs:
            with transaction(self._connection) as cursor:
                for line in logs:
                    self._insert_log(cursor, line.level, line.message, dict(line.details))

    # Working

    def _work_until_paused(self) -> Ending:
        try:
            while True:
                ending = self._keep_working()
                if ending is Ending.STOPPED or self._kept(self._close):
                    return ending
                if not self._worker.left and not self._kept(self._is_left_behind):
                    return ending
                self._worker.left.clear()
                time.sleep(_TURN_SECONDS)
        except MustPause as cause:
            reason = str(cause)
            self._kept(lambda: self._pause(reason))
            return Ending.NOTHING_LEFT

    def _kept(self, step: Callable[[], T]) -> T:
        """A step that may be repeated, through lost connections."""
        return self._through_lost_connections(self._worker, lambda worker: step())

    def _keep_working(self) -> Ending:
        """Work until nothing is left or a signal says so, wherever it takes: here, in a child, item by item."""
        while self._stop.received is None:
            try:
                if self._sheltered:
                    ending = self._work_in_child(lambda worker: worker.work())
                else:
                    ending = self._through_lost_connections(self._worker, lambda worker: worker.work())
            except Suspected as suspected:
                ending = self._work_suspects(suspected.range_number, None)
                if ending is not Ending.STOPPED:
                    continue
            if ending is not None:
                return ending
        return Ending.STOPPED

    def _through_lost_connections(self, worker: Worker, work: Callable[[Worker], T]) -> T:
        while True:
            try:
                return work(worker)
            except psycopg2.Error as error:
                if fault_of(error, self._connection) is not Fault.INFRASTRUCTURE:
                    raise
                if not self._connection.closed:
                    raise MustPause(f"the database has trouble of its own: {_first_line(error)}") from error
                worker.lost_connection()
                self._reconnect(error, worker)

    def _reconnect(self, cause: psycopg2.Error, worker: Worker) -> None:
        """Get the server back, and wait until what was under way on the old connection has ended there."""
        until = time.monotonic() + RECONNECT_SECONDS
        while True:
            self._open_again(cause, until)
            try:
                with transaction(self._connection) as cursor:
                    cursor.execute(_WORK["move_run"], {"run_id": self._run_id})
                    cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
                    range_number, items = worker.in_hand
                    held = {"batch_id": self._batch.id, "range_number": range_number, "items": items}
                    cursor.execute(_WORK["wait_for_range" if range_number else "wait_for_retries"], held)
                    self._log(cursor, "warning", "connection lost and made again", {"error": _first_line(cause)})
                worker.attach(self._connection)
                return
            except psycopg2.Error as error:
                if time.monotonic() > until or self._stop.received is not None:
                    raise cause from error

    def _open_again(self, cause: psycopg2.Error, until: float) -> None:
        """Connect anew, with growing pauses, until the server answers or *until* has passed: then raise *cause*."""
        pause = 0.05
        facts = {"batch_id": self._batch.id, "run_id": self._run_id}
        logger.warning("the connection was lost; trying to get it back", extra=facts)
        while True:
            # Jitter, so that many workers do not all come back at once.
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, 3)
            try:
                return self._open()
            except psycopg2.Error as error:
                if time.monotonic() > until or self._stop.received is not None:
                    raise cause from error

    def _open(self) -> None:
        self._opened.close()
        self._connection = self._opened.enter_context(connect(self._dsn))

    def _cancel_statement(self) -> None:
        with contextlib.suppress(psycopg2.Error):  # nothing is under way
            self._connection.cancel()

    # Working in a child

    def _work_in_child(self, work: Callable[[Worker], Ending]) -> Ending | None:
        """Work the batch in a child; None if it died and what it died of has been dealt with."""
        end = self._fork(work)
        if not end.died:
            self._kept(self._move_here)
            return self._ending_of(end)
        if end.item is None:
            self._deaths[None] += 1
            if self._deaths[None] > _MAX_DEATHS_BETWEEN_ITEMS:
                raise MustPause(f"its worker died {self._deaths[None]} times between two items ({end.how})")
            # It may have been preparing several: alone, each of them is known.
            suspect = self._kept(lambda: self._suspects.announced_range(self._connection))
        elif end.outstayed:
            self._set_aside(end.item, _outstayed(self._processor))
            suspect = None
        else:
            killer = end.item
            suspect = self._kept(lambda: self._suspects.range_of(self._connection, killer))
        if suspect is None:
            self._kept(self._move_here)
            return None
        self._note_suspect(suspect, end.item or 0)
        return self._work_suspects(suspect, end.item)

    def _work_suspects(self, range_number: int, until: int | None) -> Ending | None:
        """Try the items of a range one by one in a child, up to *until*, until all that kill it are known.

        An item is charged only when it dies alone, while this process lives to see it. Each worker that looks for it
        would have to see it kill a child twice, so they take turns, and the others work elsewhere meanwhile.
        """
        if not shelter.POSSIBLE:
            return self._through_lost_connections(self._worker, lambda worker: worker.work_alone(range_number, until))
        with self._suspects.turn(range_number) as is_ours:
            if not is_ours:
                self._worker.left.add(range_number)
                return None
            self._note_suspect(range_number)
            for item_number, deaths, how in self._kept(
                lambda: self._suspects.lone_deaths(self._connection, range_number)
            ):
                self._died_alone(item_number, deaths, how)
            if self._work_suspects_in_children(range_number, until) is Ending.STOPPED:
                return Ending.STOPPED
            # Items that wait for another try have all been tried, in whatever order they were due.
            searched = until if range_number else None
            self._kept(lambda: self._suspects.clear(self._connection, range_number, searched))
            return None

    def _note_suspect(self, range_number: int, item_number: int = 0, deaths: int = 0, how: str | None = None) -> None:
        self._kept(lambda: self._suspects.add(self._connection, range_number, item_number, deaths, how))

    def _work_suspects_in_children(self, range_number: int, until: int | None) -> Ending:
        while self._stop.received is None:
            end = self._fork(lambda worker: worker.work_alone(range_number, until))
            self._kept(self._move_here)
            if not end.died:
                return self._ending_of(end)
            # Where there was one there may be more: from now on they kill a child only.
            self._sheltered = True
            if end.item is None:
                self._deaths[None] += 1
                if self._deaths[None] > _MAX_DEATHS_BETWEEN_ITEMS:
                    raise MustPause(f"its worker died {self._deaths[None]} times between two items ({end.how})")
            elif end.outstayed:
                self._set_aside(end.item, _outstayed(self._processor))
            else:
                self._died_alone(end.item, self._deaths[end.item] + 1, end.how)
                # For the next one that looks for it, if this one is stopped.
                self._note_suspect(range_number, end.item, self._deaths[end.item], end.how)
        return Ending.STOPPED

    def _died_alone(self, item_number: int, deaths: int, how: str) -> None:
        self._deaths[item_number] = deaths
        if deaths >= MAX_LONE_DEATHS:
            self._set_aside(item_number, KilledWorker(f"killed its worker ({how})"))

    def _fork(self, work: Callable[[Worker], Ending]) -> ChildEnd:
        return self._shelter.run(lambda: self._be_the_child(work), tick=self._tick)

    def _tick(self) -> None:
        self._suspects.keep_turn()
        self._report_progress()

    def _move_here(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(_WORK["move_run"], {"run_id": self._run_id})

    def _be_the_child(self, work: Callable[[Worker], Ending]) -> Ending:
        """In the child: the same run, on a connection and with threads and signal handlers of its own."""
        # The parent's are kept alive by its frames below this one: its connection is not ours to close.
        inherited = self._stop
        self._opened = ExitStack()
        self._on_progress = None
        self._stop = StopSignal(self._cancel_statement)
        with self._opened, self._stop:
            # A signal that came between the fork and here was heard by the parent's handlers.
            self._stop.received = self._stop.received or inherited.received
            self._open()
            self._move_here()
            self._watch = Watch(self._dsn, self._run_id, lambda: self._connection, contextlib.nullcontext())
            self._watch.start()
            worker = self._worker.in_child(
                self._stop, self._after_chunk, self._shelter.tell_item, self._shelter.tell_tried
            )
            worker.attach(self._connection)
            return self._through_lost_connections(worker, work)

    def _ending_of(self, end: ChildEnd) -> Ending:
        if end.error is not None:
            raise end.error
        assert isinstance(end.value, Ending)
        return end.value

    def _set_aside(self, item_number: int, error: ItemError) -> None:
        failure = exception_failure(self._batch.batch_type, Stage.PROCESS, error)
        self._worker.doubts[item_number] = Doubt(verdict=failure, is_harmful=True)

    # Ending

    def _pause(self, reason: str) -> None:
        with transaction(self._connection) as cursor:
            cursor.execute(_WORK["pause_batch"], {"batch_id": self._batch.id, "reason": clean_text(reason)})
            if cursor.fetchone() is not None:
                self._log(cursor, "error", "batch paused", {"reason": reason})

    def _close(self) -> bool:
        """Close the batch if no range is open; two workers that finish together take turns on the batch's row."""
        with transaction(self._connection) as cursor:
            cursor.execute(_WORK["lock_batch"], {"batch_id": self._batch.id})
            cursor.execute(_WORK["close_batch"], {"batch_id": self._batch.id})
            closed = cursor.fetchone()
            if closed is None:
                return False
            status, total = closed
            cursor.execute(_WORK["trust_all"], {"batch_id": self._batch.id})
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

    def _is_left_behind(self) -> bool:
        """Whether a range came free since the last claim: its worker may have died meanwhile."""
        with self._connection.cursor() as cursor:
            cursor.execute(_WORK["has_free_range"], {"batch_id": self._batch.id})
            return cursor.fetchone() is not None

    def _outcome(self) -> tuple[RunOutcome, str | None]:
        batch = get_batch(self._connection, self._batch.id)
        if batch.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED):
            return RunOutcome.INTERRUPTED, f"the batch is {batch.status}"
        return RunOutcome.FINISHED, None

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

    def _after_chunk(self) -> None:
        self._shelter.tell_between()
        if self._watch is not None:
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
            summary = get_summary(self._connection, self._batch.id)
        except psycopg2.Error:
            return  # the work itself will tell
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


def _outstayed(processor: BaseProcessor) -> ItemTimeout:
    assert processor.item_timeout is not None
    return ItemTimeout(
        f"the item took longer than item_timeout, {processor.item_timeout.total_seconds():g} seconds, and did not let "
        "itself be interrupted; its worker was killed"
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
