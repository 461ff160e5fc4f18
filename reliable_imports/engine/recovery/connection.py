"""The connection that one process of a run works on: made again when it is lost."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.work.audit_log import Trail
from reliable_imports.engine.work.worker import MustPause, Worker
from reliable_imports.postgres.connect import connect, transaction
from reliable_imports.postgres.error_sorting import Fault, fault_of
from reliable_imports.postgres.queries import load
from reliable_imports.processor.context import logger

_WORK = load("work.sql")

RECONNECT_SECONDS = 60.0
"""How long a run tries to get a lost server back before it gives up; its items stay pending then."""

_LOCK_SECONDS = 60

T = TypeVar("T")


class Link:
    """Closes its connection when the block is left.

    Attributes:
        connection: what to work on; another one after each loss.
        stop: once it has received a signal, a lost connection is not made again. By default one of its own, which
            also cancels what the connection is at when its grace is over.
    """

    def __init__(self, dsn: str, batch_id: int, stop: StopSignal | None = None) -> None:
        self.connection: Connection
        self.stop = stop or StopSignal(self._cancel_statement)
        self._dsn = dsn
        self._batch_id = batch_id
        self._opened = ExitStack()
        self._trail: Trail
        self._worker: Worker

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def open(self) -> None:
        self._opened.close()
        self.connection = self._opened.enter_context(connect(self._dsn))
        self._session_pid = self.connection.info.backend_pid

    def open_patiently(self) -> None:
        """As `open`, but wait for a server that is away now."""
        try:
            self.open()
        except psycopg2.Error as error:
            self.open_again(error, time.monotonic() + RECONNECT_SECONDS)

    def open_again(self, cause: psycopg2.Error, until: float) -> None:
        """Connect anew, with growing pauses, until the server answers or *until* has passed: then raise *cause*."""
        pause = 0.05
        logger.warning("the connection was lost; trying to get it back", extra={"batch_id": self._batch_id})
        while True:
            # Jitter, so that many workers do not all come back at once.
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, 3)
            try:
                return self.open()
            except psycopg2.Error as error:
                if time.monotonic() > until or self.stop.received is not None:
                    raise cause from error

    def serve(self, trail: Trail, worker: Worker) -> None:
        """Let the worker of a run work on this connection, and on those that are made after it."""
        self._trail = trail
        self._worker = worker
        self.kept(lambda: worker.attach(self.connection))

    def move_run(self) -> None:
        """Say that the run goes on in this session."""
        with self.connection.cursor() as cursor:
            cursor.execute(_WORK["move_run"], {"run_id": self._trail.run_id})

    def kept(self, step: Callable[[], T]) -> T:
        """Take a step, and take it again whenever the connection was lost and has been made again.

        Raises:
            MustPause: the server answers, and has trouble of its own.
            psycopg2.Error: any other error of the step; or the server stays away.
        """
        while True:
            try:
                return step()
            except psycopg2.Error as error:
                if fault_of(error, self.connection) is not Fault.INFRASTRUCTURE:
                    raise
                if not self.connection.closed:
                    raise MustPause(f"the database has trouble of its own: {first_line(error)}") from error
                self._worker.lost_connection()
                self._reconnect(error)

    def _reconnect(self, cause: psycopg2.Error) -> None:
        """Get the server back, and wait until what was under way on the old connection has ended there."""
        lost_pid = self._session_pid
        until = time.monotonic() + RECONNECT_SECONDS
        while True:
            self.open_again(cause, until)
            try:
                self._wait_for(lost_pid)
                with transaction(self.connection) as cursor:
                    cursor.execute(_WORK["move_run"], {"run_id": self._trail.run_id})
                    self._trail.say(cursor, "warning", "connection lost and made again", {"error": first_line(cause)})
                self._worker.attach(self.connection)
                return
            except psycopg2.Error as error:
                if time.monotonic() > until or self.stop.received is not None:
                    raise cause from error

    def _wait_for(self, lost_pid: int) -> None:
        """Wait until the lost session has let go of what the worker had in hand, and what it was committing is seen."""
        range_number, items = self._worker.in_hand
        held = {"batch_id": self._batch_id, "range_number": range_number, "items": items}
        try:
            with transaction(self.connection) as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
                cursor.execute(_WORK["wait_for_range" if range_number else "wait_for_retries"], held)
        except psycopg2.errors.LockNotAvailable:
            with self.connection.cursor() as cursor:
                cursor.execute(_WORK["has_session"], {"pid": lost_pid})
                if cursor.fetchone() == (True,):
                    raise
            # Another worker has taken it over meanwhile, and takes long.

    def _cancel_statement(self) -> None:
        with contextlib.suppress(psycopg2.Error):  # nothing is under way
            self.connection.cancel()


def first_line(error: BaseException) -> str:
    """The message without what PostgreSQL adds below it: the DETAIL holds values."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
