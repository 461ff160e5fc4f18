"""One execution of a batch: begins it, keeps it going wherever the work has to be done, and ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import psycopg2

from reliable_imports.batches.read import get_summary
from reliable_imports.engine.begin import Begun, Identity, begin
from reliable_imports.engine.end import close_batch, end_run, has_free_range, outcome_of_run, pause_batch
from reliable_imports.engine.process.child_process import ChildProcess
from reliable_imports.engine.process.heartbeat import Heartbeat
from reliable_imports.engine.process.interpreter import settings_for_a_run
from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.progress import Progress, ProgressCallback
from reliable_imports.engine.recovery.connection import RunConnection, deadline
from reliable_imports.engine.recovery.killer_search import KillerSearch
from reliable_imports.engine.recovery.reconnection import Reconnector, first_line
from reliable_imports.engine.work.claims import Suspected
from reliable_imports.engine.work.doubts import Doubts
from reliable_imports.engine.work.tolerance import MustPause
from reliable_imports.engine.work.worker import Ending, Worker
from reliable_imports.errors import RunInterrupted
from reliable_imports.items.code.team import team_code
from reliable_imports.log import logger
from reliable_imports.models import Batch, BatchSummary
from reliable_imports.postgres.connect import Connection, roll_back, transaction
from reliable_imports.postgres.error_sorting import Fault, fault_of, is_item_fault
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.context import ImportContext
from reliable_imports.statuses import RunOutcome

_MAX_LOST_COMPLETIONS = 3
_SHORTEST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 1.0


def execute(
    connection: Connection,
    dsn: str,
    batch: Batch,
    processor: BaseProcessor,
    identity: Identity,
    *,
    may_set_up: bool,
    on_progress: ProgressCallback | None,
    at_end: Callable[[Connection], bool],
) -> BatchSummary:
    """Work a batch in the calling thread until nothing is left to claim, and say how it stands.

    Closes the batch if nobody else works on it.

    Args:
        connection: to *dsn*; the run takes it over, and closes it.
        at_end: called if the batch has ended, with the connection of the run. It says whether somebody goes on to use
            that; if so, it stays open.

    Raises:
        RunInterrupted: the database was lost for too long; open items stay pending.
    """
    stop = StopSignal()
    try:
        with (
            stop,
            settings_for_a_run(),
            RunConnection(connection, dsn, batch.id, stop) as own,
            _interruptions_told(own, batch.id),
        ):
            begun = begin(own, batch, processor, identity, may_set_up=may_set_up)
            run = Run(dsn, batch, processor, own, begun, on_progress)
            with run.under_way():
                run.start()
                summary = run.end(run.work())
            if summary.status.is_final and at_end(own.current):
                own.let_go()
            return summary
    finally:
        stop.obey()


class Run:
    """A run that has begun."""

    def __init__(
        self,
        dsn: str,
        batch: Batch,
        processor: BaseProcessor,
        connection: RunConnection,
        begun: Begun,
        on_progress: ProgressCallback | None,
    ) -> None:
        self._batch = batch
        self._processor = processor
        self._connection = connection
        self._audit_log = begun.audit_log
        self._cannot_write = begun.cannot_write
        self._wait_seconds = _SHORTEST_WAIT_SECONDS
        stop = connection.stop
        child = ChildProcess(item_timeout=processor.item_timeout, stop_received=lambda: stop.received is not None)
        self._heartbeat = Heartbeat(dsn, begun.audit_log.run_id, lambda: connection.current, child.forking)
        self._progress = Progress(connection, batch.id, self._heartbeat, on_progress)
        make_worker = partial(
            Worker,
            batch=batch,
            processor=processor,
            audit_log=begun.audit_log,
            doubts=Doubts(batch.batch_type, team_code(type(processor))),
            check_deferred_sql=begun.check_deferred_sql,
        )
        self._worker = make_worker(connection.current, stop, self._progress)
        self._reconnector = Reconnector(connection, begun.audit_log, self._worker)
        self._killer_search = KillerSearch(
            dsn,
            processor,
            self._reconnector,
            begun.audit_log,
            child,
            make_worker=make_worker,
            expects_killers=begun.has_killers,
            on_tick=self._progress.report,
        )

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """What runs beside the work, for as long as the block lasts; an error in it is noted as the run's end."""
        self._heartbeat.start()
        try:
            yield
        except psycopg2.Error as error:
            self._abandon(first_line(error))
            raise
        except MustPause as cause:
            self._abandon(str(cause))
            raise
        except BaseException as error:
            self._abandon(type(error).__name__)
            raise
        finally:
            self._heartbeat.stop()
            self._worker.close()

    def start(self) -> None:
        """Tell the processor that the batch begins."""
        if type(self._processor).on_batch_start is not BaseProcessor.on_batch_start:
            self._run_batch_hook(lambda ctx: self._processor.on_batch_start(self._batch, ctx))

    def work(self) -> Ending:
        """Work wherever it takes, here, in a child, or item by item, until nothing is left or a signal says so."""
        run_step = self._reconnector.run_step
        try:
            if self._cannot_write is not None:
                raise MustPause(self._cannot_write)
            run_step(self._worker.check_targets)
            while self._connection.stop.received is None:
                if self._killer_search.is_wanted:
                    ended = self._killer_search.work()
                else:
                    try:
                        ended = self._worker.work()
                    except psycopg2.Error as error:
                        self._reconnector.recover(error)
                        continue
                if isinstance(ended, Suspected):
                    ended = self._killer_search.search(ended.range_number)
                if ended is Ending.STOPPED or (ended is Ending.NOTHING_LEFT and self._is_over()):
                    return ended
        except MustPause as cause:
            reason = str(cause)
            run_step(lambda: pause_batch(self._connection.current, self._audit_log, reason))
            return Ending.NOTHING_LEFT
        return Ending.STOPPED

    def end(self, ending: Ending) -> BatchSummary:
        """Write down that the run ends, and say how the batch stands."""
        run_step = self._reconnector.run_step
        outcome: RunOutcome
        error: str | None
        if ending is Ending.STOPPED:
            outcome, error = RunOutcome.INTERRUPTED, "stopped by a signal"
        else:
            outcome, error = run_step(lambda: outcome_of_run(self._connection.current, self._batch.id))
        run_step(lambda: end_run(self._connection.current, self._audit_log, outcome, error))
        self._progress.report_now()
        return run_step(lambda: get_summary(self._connection.current, self._batch.id))

    def _is_over(self) -> bool:
        """Whether this run has nothing more to do: the batch is closed, or others work what is left of it.

        If not, waits for a moment: a range is left to a worker that looks for a killer in it, or came free.
        """
        run_step = self._reconnector.run_step
        if run_step(lambda: close_batch(self._connection.current, self._audit_log)):
            self._tell_of_completion()
            return True
        left_to_others = self._worker.doubts.left_to_others
        if not left_to_others and not run_step(lambda: has_free_range(self._connection.current, self._batch.id)):
            return True
        time.sleep(self._wait_seconds)
        longer = min(2 * self._wait_seconds, _LONGEST_WAIT_SECONDS)
        self._wait_seconds = longer if left_to_others else _SHORTEST_WAIT_SECONDS
        left_to_others.clear()
        return False

    # Hooks of the whole batch

    def _run_batch_hook(self, hook: Callable[[ImportContext], object]) -> None:
        logs = self._worker.run_batch_hook(hook)
        if logs:
            with transaction(self._connection.current) as cursor:
                for line in logs:
                    self._audit_log.add(cursor, line.level, line.message, line.details)

    def _tell_of_completion(self) -> None:
        """Call `on_batch_complete`, a few times at most if it loses the connection."""
        if type(self._processor).on_batch_complete is BaseProcessor.on_batch_complete:
            return
        run_step = self._reconnector.run_step
        summary = run_step(lambda: get_summary(self._connection.current, self._batch.id))
        for losses_left in reversed(range(_MAX_LOST_COMPLETIONS)):
            try:
                self._run_batch_hook(lambda ctx: self._processor.on_batch_complete(summary, ctx))
                return
            except BaseException as error:  # user code; the batch is closed and stays so
                if isinstance(error, psycopg2.Error) and self._connection.current.closed:
                    if losses_left:
                        self._reconnector.recover(error)
                        continue
                    self._connection.open_again(error, deadline())
                elif not is_item_fault(error):
                    raise
                name = type(error).__name__
                logger.error("on_batch_complete failed", extra={"batch_id": self._batch.id, "error_type": name})
                run_step(partial(self._note_failed_completion, name))
                return

    def _note_failed_completion(self, name: str) -> None:
        connection = self._connection.current
        roll_back(connection)
        with transaction(connection) as cursor:
            self._audit_log.add(cursor, "error", f"on_batch_complete failed: {name}")

    def _abandon(self, error: str) -> None:
        """Note how the run ended, if the database still listens; if not, its heartbeat will tell."""
        connection = self._connection.current
        self._progress.be_silent()
        try:
            roll_back(connection)
            if not connection.closed:
                end_run(connection, self._audit_log, RunOutcome.INTERRUPTED, error)
        except psycopg2.Error:
            logger.warning("the end of a run could not be recorded", extra={"run_id": self._audit_log.run_id})


@contextmanager
def _interruptions_told(connection: RunConnection, batch_id: int) -> Iterator[None]:
    """Raise RunInterrupted for what is neither the batch's fault nor the caller's."""
    try:
        yield
    except psycopg2.Error as error:
        if fault_of(error, connection.current) is Fault.INFRASTRUCTURE:
            raise RunInterrupted(batch_id, first_line(error)) from error
        raise
    except MustPause as cause:  # and not even that could be written down
        raise RunInterrupted(batch_id, str(cause)) from cause
