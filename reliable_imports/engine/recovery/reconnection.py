"""The steps of a run, taken again where the connection was lost in the middle of one, or another transaction met it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg2
import psycopg2.errors

from reliable_imports.engine.recovery.connection import RunConnection, deadline, is_over
from reliable_imports.engine.work.audit_log import AuditLog
from reliable_imports.engine.work.claims import RETRIES
from reliable_imports.engine.work.tolerance import MustPause
from reliable_imports.engine.work.worker import Worker
from reliable_imports.postgres.connect import roll_back, transaction
from reliable_imports.postgres.error_sorting import Fault, fault_of
from reliable_imports.postgres.queries import load

_WORK = load("work.sql")

_LOCK_SECONDS = 60
_MAX_COLLISIONS = 100
"""In one run, of steps in which no item is tried: a claim and a migration that wait for each other, say."""

T = TypeVar("T")


class Reconnector:
    """Gets the connection of one process of a run back, and lets the worker go on with it.

    Attributes:
        connection: what the run works on.
        worker: who works on it.
    """

    def __init__(self, connection: RunConnection, audit_log: AuditLog, worker: Worker) -> None:
        self.connection = connection
        self.worker = worker
        self._audit_log = audit_log
        self._collisions = 0

    def run_step(self, step: Callable[[], T]) -> T:
        """Run *step*; after a lost connection or a deadlock, run it again. *step* must be safe to repeat.

        Raises:
            MustPause: the server answers, and has trouble of its own.
            psycopg2.Error: any other error of the step; or the server stays away.
        """
        while True:
            try:
                return step()
            except psycopg2.Error as error:
                self.recover(error)

    def recover(self, error: psycopg2.Error) -> None:
        """Get a lost connection back, or end a transaction that met another one; raise any other error."""
        connection = self.connection
        fault = fault_of(error, connection.current)
        if fault is Fault.TRANSACTION and not self.worker.trying and self._collisions < _MAX_COLLISIONS:
            self._collisions += 1
            roll_back(connection.current)
            return
        if fault is not Fault.INFRASTRUCTURE:
            raise error
        if not connection.current.closed:
            raise MustPause(f"the database has trouble of its own: {first_line(error)}") from error
        self.worker.doubts.lost_connection(self.worker.trying)
        self._reconnect(error)

    def move_run(self) -> None:
        """Say that the run goes on in the session of this connection."""
        with self.connection.current.cursor() as cursor:
            cursor.execute(_WORK["move_run"], {"run_id": self._audit_log.run_id})

    def _reconnect(self, cause: psycopg2.Error) -> None:
        """Get the server back, and wait until what was under way on the old connection has ended there."""
        connection = self.connection
        lost_pid = connection.session_pid
        until = deadline()
        while True:
            connection.open_again(cause, until)
            try:
                self._wait_for(lost_pid)
                with transaction(connection.current) as cursor:
                    cursor.execute(_WORK["move_run"], {"run_id": self._audit_log.run_id})
                    facts = {"error": first_line(cause)}
                    self._audit_log.say(cursor, "warning", "connection lost and made again", facts)
                self.worker.attach(connection.current)
                return
            except psycopg2.Error as error:
                if is_over(until, connection.stop):
                    raise cause from error

    def _wait_for(self, lost_pid: int) -> None:
        """Wait until the lost session has let go of what the worker had in hand, and what it was committing is seen."""
        connection = self.connection.current
        range_number = self.worker.range_in_hand
        held = {"batch_id": self._audit_log.batch_id, "range_number": range_number, "items": self.worker.trying}
        try:
            with transaction(connection) as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
                cursor.execute(_WORK["wait_for_retries" if range_number == RETRIES else "wait_for_range"], held)
        except psycopg2.errors.LockNotAvailable:
            with connection.cursor() as cursor:
                cursor.execute(_WORK["has_session"], {"pid": lost_pid})
                if cursor.fetchone() == (True,):
                    raise
            # Another worker has taken it over meanwhile, and takes long.


def first_line(error: BaseException) -> str:
    """The message without what PostgreSQL adds below it: the DETAIL holds values."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
