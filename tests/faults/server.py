"""A private PostgreSQL server that tests may crash, and databases on it."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from reliable_imports.embedded import THROW_AWAY, EmbeddedPostgres
from reliable_imports.postgres.connect import Connection
from reliable_imports.postgres.schema import migrate
from tests.faults.targets import TABLES
from tests.faults.totals import TOTALS
from tests.faults.waiting import wait_for

_SETTINGS = {**THROW_AWAY, "deadlock_timeout": "50ms", "max_connections": "60"}
_TEMPLATE = "faults_template"


class FaultServer:
    """Crashes lose no commit that was waited for: the operating system lives on, so fsync does not matter here."""

    def __init__(self, home: Path) -> None:
        self._postgres = EmbeddedPostgres(home, settings=_SETTINGS)
        self._numbers = itertools.count(1)
        self._postgres.start()
        with self._session("postgres") as run:
            run(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
        migrate(self.dsn(_TEMPLATE))
        with self._session(_TEMPLATE) as run:
            run(TABLES)

    def dsn(self, database: str) -> str:
        return self._postgres.dsn(database)

    @property
    def port(self) -> int:
        port = self._postgres.status().port
        assert port is not None
        return port

    def new_database(self) -> str:
        """The DSN of a database with all migrations and the target tables."""
        name = f"faults_{next(self._numbers)}"
        with self._session("postgres") as run:
            run(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return self.dsn(name)

    def crash_and_restart(self) -> None:
        """An immediate shutdown: no session ends in order, and the next start recovers from the log."""
        self._postgres.stop("immediate")
        self._postgres.start()
        TOTALS.add("restarts")

    def kill_a_backend(self, pid: int) -> None:
        """SIGKILL one session's process: the server ends all the others and recovers, which is waited for."""
        with closing(psycopg2.connect(self.dsn("postgres"))) as another:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return  # its worker has just left it
            wait_for(lambda: not _is_running(pid), "the session's process ends")
            try:
                wait_for(lambda: _is_broken(another), "the server ends all sessions", patience=20)
            except AssertionError:
                return  # it was ending by itself, in order, when the signal came
        self.wait_until_up()
        TOTALS.add("restarts")

    def wait_until_up(self) -> None:
        def answers() -> bool:
            try:
                with self._session("postgres") as run:
                    run("SELECT 1")
            except psycopg2.OperationalError:
                return False
            return True

        wait_for(answers, "the server answers")

    @contextmanager
    def _session(self, database: str) -> Iterator[Any]:
        with session(self.dsn(database)) as run:
            yield run


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def session(dsn: str) -> Iterator[Any]:
    """Runs statements, each committed at once, and gives their rows."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True

        def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
            return _run(connection, statement, parameters)

        yield run


def _run(connection: Connection, statement: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def _is_broken(connection: Connection) -> bool:
    try:
        _run(connection, "SELECT 1", ())
    except psycopg2.Error:
        return True
    return False


_WORKERS = "datname = current_database() AND application_name = 'reliable-imports' AND pid <> pg_backend_pid()"


def sessions_of_workers(run: Any, condition: str = "true") -> list[int]:
    """The backends that work for workers of this database."""
    return [pid for (pid,) in run(f"SELECT pid FROM pg_stat_activity WHERE {_WORKERS} AND {condition} ORDER BY pid")]


def end_sessions(run: Any, condition: str = "true") -> int:
    """End the workers' sessions, as an administrator or a time-out does; return how many there were."""
    ended = run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_WORKERS} AND {condition}")
    TOTALS.add("sessions ended", len(ended))
    return len(ended)
