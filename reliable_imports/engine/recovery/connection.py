"""The connection that one process of a run works on: made again when it is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TypeVar

import psycopg2

from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.log import logger
from reliable_imports.postgres.connect import Connection, connect

RECONNECT_SECONDS = 60.0
"""How long a run tries to get a lost server back before it gives up; its items stay pending then."""


T = TypeVar("T")


class RunConnection:
    """Connects when it is made, and closes its connection when its block is left.

    Attributes:
        current: what to work on; another one after each loss.
        session_pid: the server's process behind it.
        stop: once it has received a signal, a lost connection is not made again. It cancels the current statement when
            its grace is over.
    """

    def __init__(self, dsn: str, batch_id: int, stop: StopSignal, *, is_patient: bool = False) -> None:
        """
        Args:
            is_patient: wait for a server that is away now.
        """
        self.stop = stop
        self._dsn = dsn
        self._batch_id = batch_id
        self._opened = ExitStack()
        self.current = self._opened.enter_context(
            connect_patiently(dsn, batch_id, stop) if is_patient else connect(dsn)
        )
        self.session_pid = self.current.info.backend_pid
        stop.connection = self.current

    def __enter__(self) -> RunConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def open_again(self, cause: psycopg2.Error, until: float) -> None:
        """Connect anew, with growing pauses, until the server answers or *until* has passed: then raise *cause*."""
        logger.warning("the connection was lost; trying to get it back", extra={"batch_id": self._batch_id})
        _patiently(self._open, self.stop, cause, until)

    def _open(self) -> None:
        self._opened.close()
        self.current = self._opened.enter_context(connect(self._dsn))
        self.session_pid = self.current.info.backend_pid
        self.stop.connection = self.current


@contextmanager
def connect_patiently(dsn: str, batch_id: int, stop: StopSignal) -> Iterator[Connection]:
    """As `connect`, but wait for a server that is away now."""
    with ExitStack() as opened:

        def open_one() -> Connection:
            return opened.enter_context(connect(dsn))

        try:
            connection = open_one()
        except psycopg2.Error as cause:
            logger.warning("the connection was lost; trying to get it back", extra={"batch_id": batch_id})
            connection = _patiently(open_one, stop, cause, deadline())
        yield connection


def deadline() -> float:
    """When a run that has lost its server now gives up, on the clock of `time.monotonic`."""
    return time.monotonic() + RECONNECT_SECONDS


def is_over(until: float, stop: StopSignal) -> bool:
    """Whether there is no more sense in trying."""
    return time.monotonic() > until or stop.received is not None


def _patiently(open_one: Callable[[], T], stop: StopSignal, cause: psycopg2.Error, until: float) -> T:
    pause = 0.05
    while True:
        # Jitter, so that many workers do not all come back at once.
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, 3)
        try:
            return open_one()
        except psycopg2.Error as error:
            if is_over(until, stop):
                raise cause from error
