"""A connection that is opened while its user does something else, and whose server is ready for what comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from reliable_imports.postgres.connect import Connection


class Opening:
    """A thread that opens a connection: a login is a few round trips, and the client hardly computes meanwhile."""

    def __init__(self, open_connection: Callable[[], Connection], ask_first: Callable[[Connection], object]) -> None:
        """
        Args:
            ask_first: asks what will be asked again; the server has loaded and planned then what it takes. An error of
                it is not told, for it comes again.
        """
        self._open_connection = open_connection
        self._ask_first = ask_first
        self._opened: Connection | None = None
        self._error: Exception | None = None
        self._is_wanted = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def connection(self) -> Connection:
        """The connection, once it is open. Raises what opening it has raised."""
        self._thread.join()
        if self._opened is None:
            raise self._error or AssertionError("neither a connection nor an error")
        return self._opened

    def close(self) -> None:
        """Close the connection, and wait for nothing: while it is opened or asked, its thread has it, and closes it."""
        self._is_wanted = False
        if self._opened is not None and not self._thread.is_alive():
            self._opened.close()

    def _run(self) -> None:
        try:
            self._opened = self._open_connection()
        except Exception as error:  # for who asks for the connection
            self._error = error
            return
        with suppress(Exception):
            if self._is_wanted:
                self._ask_first(self._opened)
        if not self._is_wanted:
            self._opened.close()
