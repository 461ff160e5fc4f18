"""The transaction of a chunk: what is sent in it, and what makes it impossible to go on."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS

from reliable_imports.postgres.connect import Connection
from reliable_imports.postgres.error_sorting import Fault, fault_of
from reliable_imports.postgres.literals import are_adapted_as_usual, with_literals

MAX_SUBTRANSACTIONS = 50
"""That have written, in one transaction: past 64 every other session of the server slows down."""

# What a SAVEPOINT, ROLLBACK TO or RELEASE of ours meets only if user code ended the transaction.
_NOT_OUR_TRANSACTION = frozenset({"3B001", "25P01"})


class ChunkSpoiled(Exception):
    """The chunk's transaction cannot go on, and which item is to blame is unknown: try its items again one by one."""


class ChunkTooLarge(Exception):
    """The chunk needs more subtransactions than one transaction should have: try its items again in smaller ones."""


class ChunkTransaction:
    """Sends statements in the transaction of one chunk.

    Attributes:
        connection: the one that the transaction is begun on.
        pending: SQL that ends the last savepoint. It travels in front of the next statement, to spare a message.
        subtransactions: how many have written so far.
        error: the first error of a statement that belongs to no item or to several: nothing of the chunk can be kept.
    """

    def __init__(self, connection: Connection, begin: Callable[[], None] | None = None) -> None:
        """
        Args:
            begin: begins the transaction when the first statement is sent; None: it was begun. It raises ChunkSpoiled
                if that is not possible.
        """
        self.connection = connection
        self.pending = ""
        self.subtransactions = 0
        self.error: psycopg2.Error | None = None
        self._begin = begin
        self._cursor: Any = None
        # Random, so that a processor cannot make one of the same name after ending the transaction.
        self._savepoints = f"item_{secrets.token_hex(8)}_"
        self._numbers = count()
        self._is_adapted_as_usual = are_adapted_as_usual()

    @property
    def cursor(self) -> Any:
        """Holds the answer to the statement that was sent last. Raises ChunkSpoiled if the transaction cannot begin."""
        if self._cursor is None:
            self.begin()
            self._cursor = self.connection.cursor()
        return self._cursor

    def begin(self) -> None:
        """Begin the transaction, unless that was done. Raises ChunkSpoiled, then and ever after, if it cannot begin."""
        begin = self._begin
        if begin is not None:
            self._begin = _cannot_begin
            begin()
            self.note_begun()

    def note_begun(self) -> None:
        """The connection is in this transaction now."""
        self._begin = None

    @property
    def room(self) -> int:
        """How many more subtransactions may write."""
        return MAX_SUBTRANSACTIONS - self.subtransactions

    def new_savepoint(self) -> str:
        """A name that no other savepoint has."""
        return f"{self._savepoints}{next(self._numbers)}"

    def mogrify(self, statement: str, parameters: Any) -> str:
        """*statement* with its parameters in place, exactly as `execute` would send it."""
        if self._is_adapted_as_usual:
            text = with_literals(statement, parameters, self._literal)
            if text is not None:
                return text
        adapted: bytes = self.cursor.mogrify(statement, parameters)
        return adapted.decode("utf-8")

    def _literal(self, value: Any) -> str:
        adapted: bytes = self.cursor.mogrify("%s", (value,))
        return adapted.decode("utf-8")

    def take_pending(self) -> str:
        """The SQL that is pending; whoever calls this sends it."""
        pending, self.pending = self.pending, ""
        return pending

    def send_for_all(self, text: str = "") -> Any:
        """Send what is pending and a statement of the framework's own; return the cursor.

        Raises:
            psycopg2.Error: kept in `error` too, because processors may catch it.
            ChunkSpoiled: the transaction is not the one that was begun.
        """
        text = self.take_pending() + text
        if text:
            try:
                self.cursor.execute(text)
            except psycopg2.Error as error:
                raise_if_not_ours(error)
                self.error = self.error or error
                raise
        return self.cursor

    def ask(self, question: str) -> list[tuple[Any, ...]] | None:
        """What the server answers to a query about a failure; None if it cannot, and nothing is lost by that.

        Raises as `send_for_all`.
        """
        savepoint = self.new_savepoint()
        # What limits statements of items is no limit for ours. Going back to the savepoint brings the limit back.
        self.send_for_all(f"SAVEPOINT {savepoint}; SET LOCAL statement_timeout TO DEFAULT")
        answer: list[tuple[Any, ...]] | None = None
        try:
            self.cursor.execute(question)
            answer = self.cursor.fetchall()
        except psycopg2.Error as error:
            raise_if_not_ours(error)
            if fault_of(error, self.connection) is not Fault.ITEM:
                self.error = self.error or error
                raise
        self.pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
        return answer

    def require_open(self) -> None:
        """Raise unless the transaction is open and sound, as far as the driver knows."""
        self.begin()
        if self.connection.closed:
            raise psycopg2.InterfaceError("connection already closed")
        if not self.is_open:
            raise ChunkSpoiled

    @property
    def is_open(self) -> bool:
        """Whether statements can be sent; False once one was refused."""
        return self.connection.get_transaction_status() == TRANSACTION_STATUS_INTRANS


def _cannot_begin() -> None:
    raise ChunkSpoiled


def raise_if_not_ours(error: psycopg2.Error) -> None:
    """Raise ChunkSpoiled if *error* says that the transaction was ended by user code."""
    if error.pgcode in _NOT_OUR_TRANSACTION:
        raise ChunkSpoiled from error
