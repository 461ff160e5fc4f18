"""The connection that one process of a run works on: made again when it is lost."""

from __future__ import annotations

import random
import time
from types import TracebackType

import psycopg2

from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.log import logger
from reliable_imports.postgres.connect import Connection, open_connection

RECONNECT_SECONDS = 60.0
"""How long a run tries to get a lost server back before it gives up; its items stay pending then."""


class RunConnection:
    """Takes over a connection, makes another one when it is lost, and closes that when its block is left, unless it was
    let go.

    Attributes:
        current: what to work on; another one after each loss.
        session_pid: the server's process behind it.
        stop: once it has received a signal, a lost connection is not made again. It cancels the current statement when
            its grace is over.
    """

    def __init__(self, connection: Connection, dsn: str, batch_id: int, stop: StopSignal) -> None:
        """
        Args:
            connection: to *dsn*, on which nothing is under way.
        """
        self.stop = stop
        self._dsn = dsn
        self._batch_id = batch_id
        self._is_ours = True
        self._take(connection)

    def __enter__(self) -> RunConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours:
            self.current.close()

    def let_go(self) -> None:
        """Leave the connection open, for somebody else who has it now."""
        self._is_ours = False

    def open_again(self, cause: psycopg2.Error, until: float) -> None:
        """Connect anew, with growing pauses, until the server answers or *until* has passed: then raise *cause*."""
        logger.warning("the connection was lost; trying to get it back", extra={"batch_id": self._batch_id})
        self.current.close()
        self._take(_open_patiently(self._dsn, self.stop, cause, until))

    def _take(self, connection: Connection) -> None:
        self.current = connection
        self.session_pid = connection.info.backend_pid
        self.stop.connection = connection


def connect_patiently(dsn: str, batch_id: int, stop: StopSignal) -> Connection:
    """As `open_connection`, but wait for a server that is away now."""
    try:
        return open_connection(dsn)
    except psycopg2.Error as cause:
        logger.warning("the connection was lost; trying to get it back", extra={"batch_id": batch_id})
        return _open_patiently(dsn, stop, cause, deadline())


def deadline() -> float:
    """When a run that has lost its server now gives up, on the clock of `time.monotonic`."""
    return time.monotonic() + RECONNECT_SECONDS


def is_over(until: float, stop: StopSignal) -> bool:
    """Whether there is no more sense in trying."""
    return time.monotonic() > until or stop.received is not None


def _open_patiently(dsn: str, stop: StopSignal, cause: psycopg2.Error, until: float) -> Connection:
    pause = 0.05
    while True:
        # Jitter, so that many workers do not all come back at once.
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, 3)
        try:
            return open_connection(dsn)
        except psycopg2.Error as error:
            if is_over(until, stop):
                raise cause from error
