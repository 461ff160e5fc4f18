"""SIGTERM and SIGINT, heard between two items: what is finished is committed before the process obeys."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import psycopg2

from reliable_imports.postgres.connect import Connection

GRACE_SECONDS = 5.0
"""How long the current item may go on with a statement of the server before that is cancelled."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """While entered, the first SIGTERM or SIGINT only sets `received`; the second has its usual effect at once.

    Outside the main thread it does nothing, because only the main thread hears signals.

    Attributes:
        received: the number of the first signal; None before it.
        connection: the one that the work runs on. When the grace is over, its statement is cancelled.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.connection: Connection | None = None
        self._previous: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._previous_fd = -1
        self._thread: threading.Thread | None = None
        self._left = threading.Event()

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in _SIGNALS:
            previous = signal.getsignal(number)
            if previous not in (signal.SIG_IGN, None):
                self._previous[number] = previous
                signal.signal(number, self._hear)
        if self._previous and os.name == "posix":
            self._watch_for_signals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def obey(self) -> None:
        """Do what the signal that was received would have done; returns if there was none, or if a handler does."""
        received, self.received = self.received, None
        self._restore()
        if received is not None:
            signal.raise_signal(received)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            self._restore()
            signal.raise_signal(number)
        self.received = number

    def _restore(self) -> None:
        self._left.set()
        if self._pipe is not None:
            signal.set_wakeup_fd(self._previous_fd)
            _, writer = self._pipe
            self._pipe = None
            os.close(writer)  # ends the thread, which closes its own side
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _watch_for_signals(self) -> None:
        # Python's handlers wait until a call of the driver has returned; the interpreter's pipe does not.
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self._pipe = (reader, writer)
        self._previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._cancel_after_grace, args=(reader,), daemon=True)
        self._thread.start()

    def _cancel_after_grace(self, reader: int) -> None:
        try:
            while data := os.read(reader, 16):
                if not set(data).isdisjoint(_SIGNALS):
                    while not self._left.wait(GRACE_SECONDS):
                        self._cancel_statement()
                    return
        finally:
            os.close(reader)

    def _cancel_statement(self) -> None:
        with contextlib.suppress(psycopg2.Error):  # nothing is under way
            if self.connection is not None:
                self.connection.cancel()
