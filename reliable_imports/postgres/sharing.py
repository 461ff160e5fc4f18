"""Connections for calls: one for each, or one that all calls of a thread share for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reliable_imports.postgres import schema
from reliable_imports.postgres.connect import Connection, discard_session, is_ready, open_connection
from reliable_imports.postgres.opening import Opening
from reliable_imports.postgres.queries import load

_WRITES = load("writes.sql")


class Connections:
    """Gives each call its connection to one database, whose schema was seen to. May be used by several threads."""

    def __init__(self, resolve_dsn: Callable[[], str], *, migrate: bool) -> None:
        """
        Args:
            resolve_dsn: says which database; called when that is needed, and once.
            migrate: bring the schema up to date; if not, one that is not raises SchemaNotReady.
        """
        self._resolve_dsn = resolve_dsn
        self._dsn: str | None = None
        self._migrate = migrate
        self._seeing_to_schema = threading.Lock()
        self._is_schema_seen_to = False
        self._of_thread = threading.local()

    @property
    def dsn(self) -> str:
        if self._dsn is None:
            self._dsn = self._resolve_dsn()
        return self._dsn

    @contextmanager
    def shared(self, *, ahead: bool) -> Iterator[None]:
        """Let the calls of this thread share a connection within the block.

        Args:
            ahead: begin to open it at once, in a thread; the first call raises what goes wrong.
        """
        if self._held is not None:  # within another block, whose connection it shares
            yield
            return
        held: list[Connection | Opening] = []
        self._of_thread.held = held
        if ahead:
            held.append(Opening(lambda: open_connection(self.dsn), _ask_first))
        try:
            yield
        finally:
            self._of_thread.held = None
            for connection in held:
                connection.close()

    @contextmanager
    def of_a_call(self) -> Iterator[Connection]:
        """One that nobody else uses meanwhile; closed with the block, or left to the calls that follow."""
        connection = self._take()
        try:
            yield connection
        finally:
            if not self._leave(connection):
                connection.close()

    @contextmanager
    def of_a_run(self) -> Iterator[Connection]:
        """One that nobody else uses; closed with the block, unless it was given back meanwhile."""
        connection = self._take()
        try:
            yield connection
        finally:
            if connection not in (self._held or ()):
                connection.close()

    def give_back(self, connection: Connection) -> bool:
        """Leave the connection of a run to the calls that follow, as a new session; False if they need none."""
        if self._held is None:
            return False
        discard_session(connection)
        return self._leave(connection)

    @property
    def _held(self) -> list[Connection | Opening] | None:
        """The connection that this thread's calls share, while none of them uses it; None if they share none."""
        held: list[Connection | Opening] | None = getattr(self._of_thread, "held", None)
        return held

    def _leave(self, connection: Connection) -> bool:
        """Leave a connection to the calls that follow; False if they share none, or have one."""
        held = self._held
        if held is None or held:
            return False
        held.append(connection)
        return True

    def _take(self) -> Connection:
        """The connection that is held, which is then held no longer; a new one if none is, or the server has ended it.

        Servers end sessions that are idle for long, and a file may take hours to arrive.
        """
        held = self._held
        taken = held.pop() if held else None
        connection = taken.connection() if isinstance(taken, Opening) else taken
        if connection is None:
            connection = open_connection(self.dsn)
        elif not is_ready(connection):
            connection.close()
            connection = open_connection(self.dsn)
        try:
            self._see_to_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _see_to_schema(self, connection: Connection) -> None:
        """Once: with one question if the schema is as it should be."""
        with self._seeing_to_schema:
            if not self._is_schema_seen_to:
                if schema.pending(connection).are_any:
                    if self._migrate:
                        schema.migrate(self.dsn)
                    else:
                        schema.require_migrated(self.dsn)
                self._is_schema_seen_to = True


def _ask_first(connection: Connection) -> None:
    """Ask what comes first, and what takes the server longest to ask for the first time: to describe a table."""
    if not schema.pending(connection).are_any:
        with connection.cursor() as cursor:
            cursor.execute(_WRITES["describe_target"], {"table": "reliable_imports.import_batches"})
