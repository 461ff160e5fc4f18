"""One chunk's transaction as its items see it: savepoints, declared writes, and what was caught.

An item gets a savepoint only if it runs a statement of its own, and that savepoint travels in one string with the
statement. Writes that were only declared are sent together at the end, and isolated on the server.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.errors import ContextMisuse
from reliable_imports.faults import Fault, fault_of
from reliable_imports.queries import load
from reliable_imports.statement import changes_session, transaction_command

_WORK = load("work.sql")


class ChunkSpoiled(Exception):
    """The chunk's transaction cannot go on, and which item is to blame is unknown: replay its items one by one."""


@dataclass(slots=True)
class ItemScope:
    """What one item did in the chunk's transaction so far."""

    savepoint: str | None = None
    declared: list[str] = field(default_factory=list)
    error: psycopg2.Error | None = None
    """The first error of a statement of this item, whatever the processor made of it."""
    changed_session: bool = False


@dataclass(frozen=True, slots=True)
class WriteError:
    """Why a declared write was refused by the server; for the fields see PostgreSQL's GET STACKED DIAGNOSTICS."""

    scope: ItemScope
    sqlstate: str
    message: str
    detail: str | None
    table: str | None
    column: str | None
    constraint: str | None


class ChunkSession:
    def __init__(self, connection: Connection, *, settle: str | None, careful: bool) -> None:
        """
        Args:
            settle: SQL that checks an item's deferred constraints at once; None where the database has none.
            careful: send savepoints alone, so that every error can be pinned on its item; for chunks of one item.
        """
        self.connection = connection
        self._cursor = connection.cursor()
        self._settle = settle
        self._careful = careful
        self._release: str | None = None
        self._savepoint: str | None = None
        self._waiting: list[ItemScope] = []
        self.write_errors: list[WriteError] = []
        self.error: psycopg2.Error | None = None
        """The first error of a statement that belongs to no item or to several: nothing of the chunk can be kept."""

    def execute(self, scope: ItemScope, statement: str | sql.Composable, params: Any = None) -> Any:
        """Run a statement of an item and return the cursor; the item's earlier declared writes go first.

        Raises:
            ContextMisuse: the statement would end the transaction that the item shares with others.
            psycopg2.Error: as the server says; also kept in the scope.
        """
        text = statement if isinstance(statement, str) else statement.as_string(self.connection)
        if command := transaction_command(text):
            raise ContextMisuse(
                f"{command} is not for a processor: its writes and its outcome are committed together by the framework"
            )
        _raise_if_ignored(scope)
        scope.changed_session = scope.changed_session or changes_session(text)
        if params is not None:
            # Before anything is sent: a parameter that cannot be adapted is then an error of Python alone.
            text = self.mogrify(text, params)
        self.flush()
        self._open(scope)
        if scope.declared:
            declared, scope.declared = "; ".join(scope.declared), []
            self._send(scope, declared)
        self._send(scope, text)
        return self._cursor

    def query(self, statement: str, params: Any) -> Any:
        """Run a statement of the framework's own, which reads and cannot fail because of an item."""
        self._send_for_all(self._release_prefix() + statement, params)
        return self._cursor

    def mogrify(self, statement: str, params: Any) -> str:
        """*statement* with its parameters in place, exactly as `execute` would send it."""
        return self._cursor.mogrify(statement, params).decode("utf-8")

    def complete(self, scope: ItemScope) -> None:
        """Settle what an item did; after this it can no longer be undone alone. Declared writes may wait.

        Raises:
            psycopg2.Error: one of its writes or deferred constraints was refused.
            ContextMisuse: it caught an error of the server and went on as if nothing had happened.
        """
        if scope.savepoint is None:
            if scope.declared:
                self._waiting.append(scope)
            return
        self.write_now(scope)
        self._release = scope.savepoint
        scope.savepoint = None
        if self._careful:
            self._cursor.execute(self._release_prefix())

    def write_now(self, scope: ItemScope) -> None:
        """As `complete`, but nothing waits, and the item can still be undone."""
        _raise_if_ignored(scope)
        if scope.savepoint is None:
            if not scope.declared:
                return
            self.flush()
            self._open(scope)
        else:
            self._require_transaction()
        last = [*scope.declared, *([self._settle] if self._settle else [])]
        scope.declared = []
        if last:
            self._send(scope, "; ".join(last))

    def undo(self, scope: ItemScope) -> None:
        """Take back whatever an item did."""
        scope.declared = []
        if scope.savepoint is None:
            return
        try:
            self._cursor.execute(f"ROLLBACK TO SAVEPOINT {scope.savepoint}")
        except psycopg2.Error as error:
            # The statement never began (a syntax error refuses the whole string, savepoint included), or the
            # processor found a way to end the transaction.
            raise ChunkSpoiled from error
        self._release = scope.savepoint
        scope.savepoint = None

    def flush(self) -> None:
        """Send the declared writes of completed items; what the server refuses is added to `write_errors`."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        entries = ["; ".join(scope.declared) for scope in waiting]
        parameters = {"entries": entries, "settle": self._settle}
        self._send_for_all(self._release_prefix() + _WORK["apply_writes"], parameters)
        for index, *facts in self._cursor.fetchall():
            self.write_errors.append(WriteError(waiting[index], *facts))

    def finish(self) -> None:
        """Flush, and make sure that the transaction is still the one that was begun."""
        self.flush()
        if prefix := self._release_prefix():
            self._send_for_all(prefix)
        self._require_transaction()

    def _open(self, scope: ItemScope) -> None:
        if scope.savepoint is None:
            # Random, so that a processor cannot re-create one after ending the transaction.
            scope.savepoint = f"item_{secrets.token_hex(8)}"
            self._savepoint = scope.savepoint
            if self._careful:
                self._cursor.execute(self._open_prefix())

    def _open_prefix(self) -> str:
        """What is to be sent in front of an item's next statement."""
        prefix = self._release_prefix()
        if self._savepoint is not None:
            prefix += f"SAVEPOINT {self._savepoint}; "
            self._savepoint = None
        return prefix

    def _release_prefix(self) -> str:
        if self._release is None:
            return ""
        prefix = f"RELEASE SAVEPOINT {self._release}; "
        self._release = None
        return prefix

    def _send(self, scope: ItemScope, text: str) -> None:
        try:
            self._cursor.execute(self._open_prefix() + text)
        except psycopg2.Error as error:
            scope.error = scope.error or error
            raise

    def _send_for_all(self, text: str, params: Any = None) -> None:
        try:
            self._cursor.execute(text, params)
        except psycopg2.Error as error:
            self.error = self.error or error
            raise

    def _require_transaction(self) -> None:
        if self.connection.closed:
            raise psycopg2.InterfaceError("connection already closed")
        if self.connection.info.transaction_status != TRANSACTION_STATUS_INTRANS:
            raise ChunkSpoiled

    def raise_if_not_the_items(self, scope: ItemScope) -> None:
        """Whatever the processor made of it: an error of the server that is not the item's is not booked as its own."""
        if self.error is not None:
            raise self.error
        if scope.error is not None and fault_of(scope.error, self.connection) is not Fault.ITEM:
            raise scope.error


def _raise_if_ignored(scope: ItemScope) -> None:
    if scope.error is not None:
        name = type(scope.error).__name__
        raise ContextMisuse(
            f"an SQL error ({name}) was caught and ignored; after one, PostgreSQL refuses everything else of the item: "
            "let it through, or ask before you write"
        ) from scope.error
