"""Beside the work: a heartbeat while one item takes long, and an end to waiting for a peer that froze."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg2

from reliable_imports.postgres.connect import Connection, connect
from reliable_imports.postgres.queries import load

_WORK = load("work.sql")

BEAT_SECONDS = 30.0
"""A run that has committed nothing for so long says that it lives. Views take it for dead after two minutes."""

_MAX_MISSED = 3
_SILENCE_SECONDS = 5.0


class Heartbeat:
    """A thread with a connection of its own, made only when a chunk takes long."""

    def __init__(
        self, dsn: str, run_id: int, working: Callable[[], Connection | None], quiet: AbstractContextManager[object]
    ) -> None:
        """
        Args:
            working: the connection that the run works on now.
            quiet: entered while this thread is in the middle of something that a fork must not see.
        """
        self._quiet = quiet
        self._dsn = dsn
        self._run_id = run_id
        self._working = working
        self._beaten_at = time.monotonic()
        self._ended = threading.Event()
        self._touching: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def beaten(self) -> None:
        """The run has just committed, which renewed its heartbeat."""
        self._beaten_at = time.monotonic()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        missed = 0
        while not self._ended.wait(BEAT_SECONDS / 3):
            if time.monotonic() - self._beaten_at < BEAT_SECONDS:
                missed = 0
                continue
            asked_at = time.monotonic()
            try:
                with self._quiet, connect(self._dsn) as connection, connection.cursor() as cursor:
                    cursor.execute("SET statement_timeout = '10s'; " + _WORK["beat"], {"run_id": self._run_id})
                self.beaten()
                missed = 0
                self._touch()
            except psycopg2.Error as error:
                # A refusal (too many connections, a lock that takes long) is an answer too; only silence counts.
                is_silence = error.pgcode is None and time.monotonic() - asked_at > _SILENCE_SECONDS
                missed = missed + 1 if is_silence else 0
                if missed >= _MAX_MISSED:
                    # Nobody answers, and the work has waited for a minute and more: let it notice.
                    _shut(self._working())
                    missed = 0

    def _touch(self) -> None:
        """Show the server that the session is not frozen, whose item's code takes longer than one may be idle.

        In a thread of its own, for the driver lets one at a time: if a statement is under way, this waits for its end.
        """
        if self._touching is None or not self._touching.is_alive():
            self._touching = threading.Thread(target=_ask_nothing, args=(self._working(),), daemon=True)
            self._touching.start()


def _ask_nothing(connection: Connection | None) -> None:
    """Whatever the transaction is at, this changes nothing in it."""
    with contextlib.suppress(psycopg2.Error):  # the work itself will tell
        if connection is not None and not connection.closed:
            connection.cursor().execute("SELECT")


def _shut(connection: Connection | None) -> None:
    try:
        if connection is None or connection.closed:
            return
        with socket.socket(fileno=os.dup(connection.fileno())) as peer:
            peer.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg2.Error):
        pass  # gone already, which is what was wanted
