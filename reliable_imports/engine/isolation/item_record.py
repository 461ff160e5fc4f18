"""What one item did in its chunk's transaction so far."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import msgspec
import psycopg2

from reliable_imports.errors import ContextMisuse
from reliable_imports.writes.origin import Origin
from reliable_imports.writes.plan import Write


class RowFate(Enum):
    """What became of a row that is not as its item meant it."""

    NEWER = "newer"
    """Left as it is: an item that was delivered later has written it."""
    THERE = "there"
    """Left as it is: the processor only inserts."""
    LEFT_OUT = "left out"
    """By a trigger or a rule of its table."""
    MOVED = "moved"
    """Written, but a trigger gave it another key than the item has."""


class RowNote(NamedTuple):
    """A row that is not as its item meant it; *newer* is the item that has written it, where that is the reason."""

    table: str
    fate: RowFate
    newer: Origin | None = None


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A statement that ran.

    Attributes:
        touched: how many rows, as its item was told.
        is_steady: it leaves the same rows, and gives the same answer, when it is repeated.
        told: the rows that its item was given, if it was given any and they are steady.
    """

    text: str
    touched: int
    is_steady: bool = False
    told: list[tuple[Any, ...]] | None = None


class ItemRecord(msgspec.Struct, eq=False, kw_only=True):
    """What an item has declared, sent and written, and what went wrong with it."""

    origin: Origin | None = None
    """Of an item that is repeated: rows that were written by items delivered later are left as they are."""

    declared: list[Write] = []  # a new list for each record
    """Writes that were not sent yet."""
    written: tuple[Write, ...] = ()
    """Those that the server took as they are."""
    row_keys: tuple[int, ...] = ()
    """The keys of other rows that were written, as they are stored."""
    notes: tuple[RowNote, ...] = ()

    sent: list[Sent] | None = None
    """Statements that ran under the savepoint; None before the first is begun."""
    was_answered: bool = False
    """The item was told what may be another thing the next time: its statements are not repeated without its code."""
    ran_statements: bool = False
    """The item ran statements of its own, and nobody knows what those wrote."""
    changed_session: bool = False

    is_in_doubt: bool = False
    """A statement was begun, and the item was interrupted before its end was known."""
    error: psycopg2.Error | None = None
    """The first error of a statement of this item, whatever the processor made of it."""
    refused: tuple[Write, ...] = ()
    """Declared writes that the error is about, if it is about such."""
    waits_for_others: bool = False
    """The error came when its deferred constraints were checked; another item may still bring what it needs."""

    def raise_if_ignored(self) -> None:
        """Raise ContextMisuse if the processor caught what ended the item, and went on."""
        if self.error is not None:
            name = type(self.error).__name__
            raise ContextMisuse(
                f"an SQL error ({name}) was caught and ignored; after one, PostgreSQL refuses everything else of the "
                "item: let it through, or ask before you write"
            ) from self.error
        if self.is_in_doubt:
            raise ContextMisuse(
                "the item was interrupted in a statement, and went on as if nothing had happened; "
                "let whatever interrupted it (a time limit, for one) through"
            )

    @property
    def needs_telling(self) -> bool:
        """Whether the server must say what becomes of the writes that were declared."""
        return self.origin is not None or any(write.needs_telling for write in self.declared)

    def note(self, write: Write, verdict: str, row_key: int | None) -> None:
        """Keep what became of a write, in the words of the SQL function `run_write`."""
        table = write.plan.request.table
        match verdict.split():
            case ["written"] | ["moved"] if row_key is not None:
                self.row_keys += (row_key,)
                if verdict == "moved":
                    self.notes += (RowNote(table, RowFate.MOVED),)
            case ["written"] | ["moved"] if write.plan.returns_key:
                self.written += (msgspec.structs.replace(write, key=None),)  # no key that could be found again
            case ["written"] | ["unchanged"]:
                self.written += (write,)
            case ["newer", batch_id, item_number]:
                self.notes += (RowNote(table, RowFate.NEWER, Origin(int(batch_id), int(item_number))),)
            case ["there"]:
                self.notes += (RowNote(table, RowFate.THERE),)
            case ["left", "out"] | ["differs"]:  # it was to be updated, and was not all the same
                self.notes += (RowNote(table, RowFate.LEFT_OUT),)
            case _:
                raise ValueError(f"the server says {verdict!r} of a row, which nobody knows")
