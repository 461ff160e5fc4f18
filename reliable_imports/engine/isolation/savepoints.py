"""Items that run statements of their own: each can be undone without its neighbours.

A savepoint travels in one message with the first statement that runs under it. Neighbours share it until one of them
fails. Then the server goes back to the savepoint, which undoes the neighbours too, and repeats their statements; their
code does not run again. Only statements that return just a row count can be repeated, and those whose answer is certain
to be the same, if need be because they are given the number of a sequence that they got. An item that sends anything
else has a savepoint to itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import psycopg2

from reliable_imports.engine.isolation.item_record import ItemRecord, Sent
from reliable_imports.engine.isolation.statements import Repetition, Statements
from reliable_imports.engine.isolation.transaction import ChunkSpoiled, ChunkTransaction, raise_if_not_ours
from reliable_imports.postgres.queries import load

_WORK = load("work.sql")

_MAX_REPEATED_BYTES = 256 * 1024
_MAX_REPEATED_SECONDS = 0.1
_BYTES_OF_A_ROW = 200  # of an answer, so that it is not kept long if it is large
_INTEGRITY = "23"
_SYNTAX_ERROR = "42601"


class _Savepoint:
    """Where the server can go back to, and what the items completed since then have sent.

    Attributes:
        gives_numbers: some statement is sent again with the number of a sequence that it was answered.
        is_unsure: some statement may leave other rows when it is repeated, for all that is known. It may also look at
            what a sequence gave last, which is another number then.
        is_last: the item that is at work cannot be repeated, so no other shares the savepoint after it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_sent = False
        self.completed = 0
        self.sent: list[Sent] = []
        self.gives_numbers = False
        self.is_unsure = False
        self.is_last = False
        self._bytes = 0
        self._began = time.monotonic()

    def take(self, sent: list[Sent]) -> None:
        """Add what an item has sent; it is complete."""
        self.completed += 1
        self.sent += sent
        for each in sent:
            self._bytes += len(each.text)
            if each.told is not None:
                self._bytes += _BYTES_OF_A_ROW * len(each.told)

    def note(self, *, gives_number: bool = False, is_unsure: bool = False) -> None:
        """Take note of a statement that was sent."""
        self.gives_numbers = self.gives_numbers or gives_number
        self.is_unsure = self.is_unsure or is_unsure
        self.is_last = self.is_last or (self.gives_numbers and self.is_unsure)

    @property
    def is_dear(self) -> bool:
        """Whether it would take long to repeat what was sent."""
        return self._bytes > _MAX_REPEATED_BYTES or time.monotonic() - self._began > _MAX_REPEATED_SECONDS


class Savepoints:
    """The savepoints of one chunk, of which one at most is open.

    Attributes:
        items: how many items have ended that ran statements of their own.
        undone: how many of those were undone.
    """

    def __init__(
        self,
        transaction: ChunkTransaction,
        statements: Statements,
        *,
        items_together: int,
        one_by_one: bool,
        is_timed: bool,
    ) -> None:
        """
        Args:
            items_together: that may share a savepoint.
            one_by_one: send each savepoint alone, so that every error can be pinned on its item.
            is_timed: an item, or each of its statements, has only so much time.
        """
        self.items = 0
        self.undone = 0
        self._transaction = transaction
        self._statements = statements
        self._items_together = items_together
        self._one_by_one = one_by_one
        self._is_timed = is_timed
        self._open: _Savepoint | None = None

    @property
    def is_open(self) -> bool:
        return self._open is not None

    def open(self, item: ItemRecord) -> None:
        """Put the item's next statement under a savepoint, if it has none yet."""
        if item.sent is not None:
            return
        item.sent = []
        if self._open is None:
            self._open = _Savepoint(self._transaction.new_savepoint())
            self._transaction.subtransactions += 1
            if self._one_by_one or self._statements.next_is_distrusted():
                self._transaction.send_for_all(self._savepoint_text())

    @property
    def give_numbers(self) -> bool:
        """Whether something was sent under the savepoint that is open that is repeated with a number it was given."""
        return self._open is not None and self._open.gives_numbers

    @property
    def are_unsure(self) -> bool:
        """Whether something was sent under the savepoint that is open that may leave other rows when it is repeated."""
        return self._open is not None and self._open.is_unsure

    def send(self, item: ItemRecord, text: str, repetition: Repetition | None = None) -> Any:
        """Send a statement of the item, which is under the savepoint; return the cursor.

        Args:
            repetition: how it is repeated so that it does and answers the same; None if that is not sure.

        Raises:
            psycopg2.Error: as the server says; also kept in the item's record.
        """
        cursor = self._transaction.cursor
        item.is_in_doubt = True
        try:
            cursor.execute(self._transaction.take_pending() + self._savepoint_text() + text)
        except psycopg2.Error as error:
            raise_if_not_ours(error)
            item.error = item.error or error
            raise
        assert item.sent is not None
        assert self._open is not None
        if repetition is None:
            self._open.note(is_unsure=True)
            sent = Sent(text, max(0, cursor.rowcount))
        elif cursor.description is None:
            sent = Sent(text, max(0, cursor.rowcount), is_steady=True)
        else:
            told = cursor.fetchall()
            if told:
                cursor.scroll(0, "absolute")
            if repetition.may_meet and self._open.is_unsure:
                item.was_answered = True  # what it is told may be of a neighbour's row
            again = repetition.text(text, told)
            if again is None:
                self._open.is_last = True
                sent = Sent(text, len(told))
            else:
                self._open.note(gives_number=repetition.place is not None)
                sent = Sent(again, len(told), is_steady=True, told=told)
        item.sent.append(sent)
        item.is_in_doubt = False
        return cursor

    def complete(self, item: ItemRecord) -> None:
        """The item has ended well; from now on it can only be undone together with its neighbours."""
        assert self._open is not None
        assert item.sent is not None
        self.items += 1
        self._open.take(item.sent)
        item.sent = None
        cannot_be_repeated = item.was_answered or self._open.is_last
        is_full = self._open.completed >= self._items_together or self._open.is_dear
        if cannot_be_repeated or self._one_by_one or is_full:
            self.close()

    def close(self) -> None:
        """Release the savepoint that is open: what was done under it can no longer be undone apart from the rest."""
        if self._open is None:
            return
        self._transaction.pending += f"RELEASE SAVEPOINT {self._open.name}; "
        self._open = None
        if self._one_by_one:
            self._transaction.send_for_all()

    def undo(self, item: ItemRecord) -> None:
        """Take back what the item did, and nothing of what its neighbours did.

        Raises:
            ChunkSpoiled: it wrote, read, and failed, and what it has read of its neighbours might not be there again;
                or a neighbour would get another answer than it was given.
        """
        if item.sent is None:
            return
        assert self._open is not None
        item.sent = None
        self.items += 1
        self.undone += 1
        if item.was_answered and not all(each.is_steady for each in self._open.sent):
            self._statements.keep_apart()
            raise ChunkSpoiled
        if item.error is not None and item.error.pgcode == _SYNTAX_ERROR:
            self._statements.distrust()
        savepoint, self._open = self._open, None
        transaction = self._transaction
        transaction.subtransactions -= 1
        transaction.pending = f"ROLLBACK TO SAVEPOINT {savepoint.name}; RELEASE SAVEPOINT {savepoint.name}; "
        self._repeat(savepoint.sent)
        if self._one_by_one or self._is_timed or not self._has_begun(item):
            # At once, for the same reason; nor must the time of that statement be used up.
            transaction.send_for_all()

    def _repeat(self, sent: Sequence[Sent]) -> None:
        """Send again what was undone; each statement must do as much as before, and give the same answer.

        At once: the next item's statement must not take the blame for this.
        """
        transaction = self._transaction
        for is_told, group in groupby(sent, key=_is_told):
            if is_told:
                for each in group:
                    told = transaction.send_for_all(each.text).fetchall()
                    if told != each.told and sorted(map(_as_text, told)) != sorted(map(_as_text, each.told or ())):
                        self._statements.keep_apart()
                        raise ChunkSpoiled
                continue
            together = list(group)
            repeated = {
                "statements": [each.text for each in together],
                "counts": [each.touched for each in together],
            }
            transaction.send_for_all(transaction.mogrify(_WORK["repeat_statements"], repeated))

    def _savepoint_text(self) -> str:
        """SQL that sets the open savepoint, if that was not sent yet."""
        if self._open is None or self._open.is_sent:
            return ""
        self._open.is_sent = True
        return f"SAVEPOINT {self._open.name}; "

    def _has_begun(self, item: ItemRecord) -> bool:
        """Whether the message that the item sent last was begun, savepoint included.

        Certain only after the refusal of a row. An error of another kind may have refused the message whole.
        """
        return self._transaction.is_open or (item.error is not None and (item.error.pgcode or "")[:2] == _INTEGRITY)


def _is_told(sent: Sent) -> bool:
    return sent.told is not None


def _as_text(row: Sequence[Any]) -> str:
    """To compare rows in any order: NaN is not equal to itself, and a memoryview tells where it lies."""
    return repr([bytes(cell) if isinstance(cell, memoryview) else cell for cell in row])
