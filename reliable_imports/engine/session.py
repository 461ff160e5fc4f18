"""One chunk's transaction as its items see it: savepoints, declared writes, and what was caught.

Writes that were only declared are sent together at the end, and isolated on the server. An item that runs statements
of its own needs a savepoint, which travels in one string with the first of them. Neighbours share it until one fails:
then the server goes back to it and repeats the statements of the others, and their code does not run again. That goes
for writes that are told nothing but a number of rows. An item that does anything else has a savepoint to itself.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import msgspec
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.engine.columns import NULL, SEPARATOR, selected, texts_of
from reliable_imports.errors import ContextMisuse
from reliable_imports.faults import QUERY_CANCELED, Fault, fault_of
from reliable_imports.queries import load
from reliable_imports.statement import changes_session, is_blind_write, transaction_command
from reliable_imports.upsert import InsertTemplate, row_literal

_WORK = load("work.sql")

MAX_SUBTRANSACTIONS = 50
"""That have written, in one transaction: past 64 every other session of the server slows down."""

LARGEST_GROUP = 50
"""Items that share a subtransaction, where hardly any fails."""

_FEWEST_ROWS = 10
_MAX_REPEATED_BYTES = 256 * 1024
_MAX_REPEATED_SECONDS = 0.1
# What a SAVEPOINT, ROLLBACK TO or RELEASE of ours meets only if user code ended the transaction.
_NOT_OUR_TRANSACTION = frozenset({"3B001", "25P01"})
_INTEGRITY = "23"
_REPEATING = "reliable_imports.repeat_statements("


class ChunkSpoiled(Exception):
    """The chunk's transaction cannot go on, and which item is to blame is unknown: replay its items one by one."""


class ChunkTooLarge(Exception):
    """The chunk would need more subtransactions than one transaction should have: replay it in smaller ones."""


Declared = tuple[InsertTemplate, str | tuple[Any, ...]]
"""A declared write: its template, and its row as SQL, or as values where all of them are plain."""


class ItemScope(msgspec.Struct, eq=False):
    """What one item did in the chunk's transaction so far."""

    sent: list[tuple[str, int]] | None = None
    """Statements that ran under the savepoint, and how many rows each touched; None before the first is begun."""
    is_in_doubt: bool = False
    """A statement was begun, and what became of it is not known: the item was interrupted."""
    was_answered: bool = False
    """It was told more than how many rows it touched, so its statements may not be repeated without its code."""
    declared: list[Declared] = []  # a new one for each
    """Writes that were not sent yet."""
    key: str | None = None
    """What the first declared write is about; no two entries of one group may have the same."""
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


class _Savepoint:
    """Where the server can go back to, and what the items completed since then have sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_sent = False
        self.completed = 0
        self.sent: list[tuple[str, int]] = []
        self._bytes = 0
        self._began = time.monotonic()

    def take(self, scope: ItemScope) -> None:
        assert scope.sent is not None
        self.completed += 1
        self.sent += scope.sent
        self._bytes += sum(len(text) for text, _ in scope.sent)

    @property
    def is_dear(self) -> bool:
        """Whether it would take long to repeat what was sent."""
        return self._bytes > _MAX_REPEATED_BYTES or time.monotonic() - self._began > _MAX_REPEATED_SECONDS


class ChunkSession:
    def __init__(
        self,
        connection: Connection,
        *,
        settle: str | None,
        careful: bool,
        is_timed: bool,
        declared_together: int,
        own_together: int,
        column_types: dict[InsertTemplate, list[str] | None],
    ) -> None:
        """
        Args:
            settle: SQL that checks an item's deferred constraints at once; None where the database has none.
            careful: send savepoints alone, so that every error can be pinned on its item; for chunks of one item.
            is_timed: an item, or each of its statements, has only so much time.
            declared_together: how many declared writes are tried in one subtransaction at first.
            own_together: how many items with statements of their own share a savepoint.
            column_types: what is known of the columns that declared writes go to; more is added.
        """
        self.connection = connection
        self._cursor = connection.cursor()
        self._settle = settle
        self._careful = careful
        self._is_timed = is_timed
        self._declared_together = declared_together
        self._own_together = 1 if careful else own_together
        self._column_types = column_types
        self._pending = ""
        """SQL that closes the last savepoint, with its values in place; it is sent in front of the next statement."""
        self._savepoint: _Savepoint | None = None
        # Random, so that a processor cannot re-create one after ending the transaction.
        self._savepoints = f"item_{secrets.token_hex(8)}_"
        self._numbers = count()
        self._waiting: list[ItemScope] = []
        self._lost: ChunkSpoiled | ChunkTooLarge | None = None
        """Set while declared writes are sent, and for good if the item whose statement sent them was interrupted
        meanwhile, or told that there was no room for some: its processor may have caught that."""
        self.write_errors: list[WriteError] = []
        self.subtransactions = 0
        self.declared_entries = 0
        self.own_items = 0
        self.own_undone = 0
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
        is_blind = is_blind_write(text)
        # Before anything is sent: what cannot be adapted or encoded is then an error of Python alone.
        if params is not None:
            text = self.mogrify(text, params)
        elif not text.isascii():
            text.encode()
        self._flush_all()
        if not is_blind:
            scope.was_answered = True
            if scope.sent is None:
                self._release()
        self._open(scope)
        if scope.declared:
            declared, scope.declared = self._statements(scope.declared), []
            self._send(scope, declared)
        self._send(scope, text)
        scope.was_answered = scope.was_answered or self._cursor.description is not None
        return self._cursor

    def query(self, scope: ItemScope, statement: str, params: Any) -> Any:
        """Run a statement of the framework's own for an item, which reads and cannot fail because of it.

        The item is not repeated: the answer may be another one the next time.
        """
        scope.was_answered = True
        self._send_for_all(self._take_pending() + self.mogrify(statement, params))
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
        if scope.sent is None:
            if scope.declared:
                self._waiting.append(scope)
            return
        self.write_now(scope)
        assert self._savepoint is not None
        savepoint = self._savepoint
        savepoint.take(scope)
        scope.sent = None
        self.own_items += 1
        if scope.was_answered or savepoint.completed >= self._own_together or savepoint.is_dear:
            self._release()

    def wait_again(self, scope: ItemScope) -> None:
        """Queue the declared writes of an item that was tried in an earlier chunk, which had no room for them."""
        self._waiting.append(scope)

    def write_now(self, scope: ItemScope) -> None:
        """As `complete`, but nothing waits, and the item can still be undone."""
        _raise_if_ignored(scope)
        if scope.sent is None:
            if not scope.declared:
                return
            self._flush_all()
            self._open(scope)
        else:
            self._require_transaction()
        last = [self._statements(scope.declared)] if scope.declared else []
        if self._settle:
            last.append(self._settle)
        scope.declared = []
        if last:
            self._send(scope, "; ".join(last))

    def undo(self, scope: ItemScope) -> None:
        """Take back whatever an item did, and nothing of what others did."""
        scope.declared = []
        if scope.sent is None:
            return
        scope.sent = None
        self.own_items += 1
        self.own_undone += 1
        assert self._savepoint is not None
        if scope.was_answered and self._savepoint.sent:
            # It wrote, read, and failed: what it has read of its neighbours would not be there again.
            raise ChunkSpoiled
        savepoint, self._savepoint = self._savepoint, None
        self.subtransactions -= 1
        self._pending = f"ROLLBACK TO SAVEPOINT {savepoint.name}; RELEASE SAVEPOINT {savepoint.name}; "
        if savepoint.sent:
            statements, counts = zip(*savepoint.sent, strict=True)
            parameters = {"statements": list(statements), "counts": list(counts)}
            self._pending += self.mogrify(_WORK["repeat_statements"], parameters) + "; "
        if self._careful or self._is_timed or not self._has_begun(scope):
            # At once: the next item's must not take the blame, nor its time be used up.
            self._send_for_all(self._take_pending())

    def _has_begun(self, scope: ItemScope) -> bool:
        """Whether the string that the item sent last was begun, savepoint included.

        Certain only after the refusal of a row. An error of another kind may have refused the string whole.
        """
        if self.connection.get_transaction_status() == TRANSACTION_STATUS_INTRANS:
            return True
        return scope.error is not None and (scope.error.pgcode or "").startswith(_INTEGRITY)

    def finish(self) -> list[ItemScope]:
        """Send the declared writes, and make sure that the transaction is still the one that was begun.

        What the server refuses is added to `write_errors`. Returns the items whose writes found no room: they must go
        into the next chunk.
        """
        self._release()
        unsent = self._flush()
        self._lost = None  # whoever called this is told of them
        self._send_for_all(self._take_pending())
        self._require_transaction()
        return unsent

    @property
    def is_full(self) -> bool:
        """Whether the next item might need a subtransaction more than there should be."""
        return self.subtransactions >= MAX_SUBTRANSACTIONS and self._savepoint is None

    def _flush_all(self) -> None:
        if self._waiting:
            self._release()
        if self._flush():
            raise ChunkTooLarge

    def _flush(self) -> list[ItemScope]:
        if not self._waiting:
            return []
        self._lost = ChunkSpoiled()
        waiting, self._waiting = self._waiting, []
        unsent = [] if self._write_as_columns(waiting) else self._write_in_groups(waiting)
        self._lost = ChunkTooLarge() if unsent else None
        return unsent

    def _write_in_groups(self, waiting: Sequence[ItemScope]) -> list[ItemScope]:
        groups = _groups(waiting, self._declared_together)
        templates = list(dict.fromkeys(template for template, _ in groups if template is not None))
        numbers = {template: number for number, template in enumerate(templates, 1)}
        entries, separator = _joined([self._entry(scope.declared) for scope in waiting])
        parameters = {
            "entries": entries,
            "separator": separator,
            "group_ends": [end for _, end in groups],
            "templates": [0 if template is None else numbers[template] for template, _ in groups],
            "heads": [template.head for template in templates],
            "tails": [template.tail for template in templates],
            "settle": self._settle,
            "room": MAX_SUBTRANSACTIONS - self.subtransactions,
        }
        self._send_for_all(self._take_pending() + self.mogrify(_WORK["apply_writes"], parameters))
        *refused, (tried, *_, subtransactions) = self._cursor.fetchall()
        for index, *facts, _ in refused:
            self.write_errors.append(WriteError(waiting[index], *facts))
        self.declared_entries += tried
        self.subtransactions += subtransactions
        return list(waiting[tried:])

    def _write_as_columns(self, waiting: Sequence[ItemScope]) -> bool:
        """Try all writes as one statement, where they are alike and few have been refused of late.

        If the server refuses it, nothing has happened: then row after row tells which.
        """
        if self._declared_together < LARGEST_GROUP or len(waiting) < _FEWEST_ROWS:
            return False
        if self.subtransactions >= MAX_SUBTRANSACTIONS:
            return False
        rows = _alike(waiting)
        if rows is None:
            return False
        template = waiting[0].declared[0][0]
        types = self._types_of(template)
        texts = None if types is None else texts_of(rows, types)
        if types is None or texts is None:
            return False
        self._send_for_all(self._take_pending())
        savepoint = f"{self._savepoints}{next(self._numbers)}"
        written = self._rows_written(f"SAVEPOINT {savepoint}; {self._as_columns(template, types, texts)}")
        if written == len(rows):
            self._pending = f"RELEASE SAVEPOINT {savepoint}; "
            self.subtransactions += 1
            self.declared_entries += len(rows)
            return True
        if written is not None:
            # A trigger or a rule leaves rows out, and would again; or the table was altered.
            self._column_types[template] = None
        self._pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
        return False

    def _rows_written(self, text: str) -> int | None:
        """How many rows a statement for several items has written; None if one of them was refused."""
        try:
            self._cursor.execute(text)
            written = self._cursor.rowcount
            if self._settle:
                self._cursor.execute(self._settle)
        except psycopg2.Error as error:
            if error.pgcode in _NOT_OUR_TRANSACTION:
                raise ChunkSpoiled from error
            # After a cancelled statement nobody wants to wait for the same rows once more.
            if fault_of(error, self.connection) is not Fault.ITEM or error.pgcode == QUERY_CANCELED:
                self.error = self.error or error
                raise
            return None
        return int(written)

    def _types_of(self, template: InsertTemplate) -> list[str] | None:
        if template not in self._column_types:
            parameters = {"table": template.table, "columns": list(template.columns)}
            self._send_for_all(self._take_pending() + self.mogrify(_WORK["column_types"], parameters))
            ((types,),) = self._cursor.fetchall()
            self._column_types[template] = types if types and len(types) == len(template.columns) else None
        return self._column_types[template]

    def _as_columns(self, template: InsertTemplate, types: Sequence[str], texts: Sequence[str]) -> str:
        cut = "pg_catalog.unnest(pg_catalog.string_to_array(%s, %s, %s))"
        columns = [f"{self.mogrify(cut, (text, SEPARATOR, NULL))} AS c{number}" for number, text in enumerate(texts, 1)]
        # Somebody may have altered the table since its columns were looked at.
        known = {"table": template.table, "columns": list(template.columns), "types": list(types)}
        return (
            f"{template.into}SELECT {selected(types)} FROM (SELECT {', '.join(columns)}) AS given "
            f"WHERE {self.mogrify(_WORK['has_column_types'], known)}{template.tail}"
        )

    def _statements(self, declared: Sequence[Declared]) -> str:
        return "; ".join(f"{template.head}{self._row(template, row)}{template.tail}" for template, row in declared)

    def _entry(self, declared: Sequence[Declared]) -> str:
        return self._row(*declared[0]) if len(declared) == 1 else self._statements(declared)

    def _row(self, template: InsertTemplate, row: str | tuple[Any, ...]) -> str:
        if type(row) is str:
            return row
        return row_literal(row) or self.mogrify(template.row, row)

    def _open(self, scope: ItemScope) -> None:
        if scope.sent is not None:
            return
        scope.sent = []
        if self._savepoint is None:
            self._savepoint = _Savepoint(f"{self._savepoints}{next(self._numbers)}")
            self.subtransactions += 1
            if self._careful:
                self._send_for_all(self._take_prefix())

    def _release(self) -> None:
        """Close the savepoint that is open: what was done under it can no longer be undone apart from the rest."""
        if self._savepoint is None:
            return
        self._pending = f"RELEASE SAVEPOINT {self._savepoint.name}; "
        self._savepoint = None
        if self._careful:
            self._send_for_all(self._take_pending())

    def _take_prefix(self) -> str:
        """What is to be sent in front of an item's next statement."""
        prefix = self._take_pending()
        if self._savepoint is not None and not self._savepoint.is_sent:
            prefix += f"SAVEPOINT {self._savepoint.name}; "
            self._savepoint.is_sent = True
        return prefix

    def _take_pending(self) -> str:
        pending, self._pending = self._pending, ""
        return pending

    def _send(self, scope: ItemScope, text: str) -> None:
        scope.is_in_doubt = True
        try:
            self._cursor.execute(self._take_prefix() + text)
        except psycopg2.Error as error:
            if error.pgcode in _NOT_OUR_TRANSACTION:
                raise ChunkSpoiled from error
            if _REPEATING in (error.diag.context or ""):
                self.error = self.error or error
            scope.error = scope.error or error
            raise
        assert scope.sent is not None
        scope.sent.append((text, max(0, self._cursor.rowcount)))
        scope.is_in_doubt = False

    def _send_for_all(self, text: str) -> None:
        if not text:
            return
        try:
            self._cursor.execute(text)
        except psycopg2.Error as error:
            if error.pgcode in _NOT_OUR_TRANSACTION:
                raise ChunkSpoiled from error
            self.error = self.error or error
            raise

    def _require_transaction(self) -> None:
        if self.connection.closed:
            raise psycopg2.InterfaceError("connection already closed")
        if self.connection.get_transaction_status() != TRANSACTION_STATUS_INTRANS:
            raise ChunkSpoiled

    def raise_if_not_the_items(self, scope: ItemScope) -> None:
        """Whatever the processor made of it: an error of the server that is not the item's is not booked as its own."""
        if self.error is not None:
            raise self.error
        if self._lost is not None:
            raise self._lost
        if scope.error is not None and fault_of(scope.error, self.connection) is not Fault.ITEM:
            raise scope.error


def _alike(waiting: Sequence[ItemScope]) -> list[tuple[Any, ...]] | None:
    """The rows of items that have declared one write each, all of one template and each of another key."""
    template = waiting[0].declared[0][0]
    rows = []
    keys = set()
    for scope in waiting:
        declared = scope.declared
        if len(declared) != 1:
            return None
        its_template, row = declared[0]
        if its_template is not template or type(row) is not tuple or scope.key in keys:
            return None
        if scope.key is not None:
            keys.add(scope.key)
        rows.append(row)
    return rows


def _joined(texts: Sequence[str]) -> tuple[str, str]:
    """The texts as one, and what stands between them: the server cuts a text apart faster than it reads an array."""
    separator = "\x1e"
    joined = separator.join(texts)
    while joined.count(separator) >= len(texts):
        separator = secrets.token_hex(8)
        joined = separator.join(texts)
    return joined, separator


def _groups(waiting: Sequence[ItemScope], size: int) -> list[tuple[InsertTemplate | None, int]]:
    """Neighbours that are tried together, as the template that all of them have (None: several) and where they end."""
    groups: list[tuple[InsertTemplate | None, int]] = []
    current: InsertTemplate | None = None
    keys: set[str] = set()
    members = 0
    for position, scope in enumerate(waiting):
        declared = scope.declared
        template = declared[0][0] if len(declared) == 1 else None
        key = scope.key
        # One INSERT cannot touch a row twice, so the later one of the same key begins a group of its own.
        if members and (template is not current or members == size or (key in keys and template is not None)):
            groups.append((current, position))
            keys = set()
            members = 0
        current = template
        members += 1
        if key is not None:
            keys.add(key)
    groups.append((current, len(waiting)))
    return groups


def _raise_if_ignored(scope: ItemScope) -> None:
    if scope.error is not None:
        name = type(scope.error).__name__
        raise ContextMisuse(
            f"an SQL error ({name}) was caught and ignored; after one, PostgreSQL refuses everything else of the item: "
            "let it through, or ask before you write"
        ) from scope.error
    if scope.is_in_doubt:
        raise ContextMisuse(
            "the item was interrupted in a statement, and went on as if nothing had happened; "
            "let whatever interrupted it (a time limit, for one) through"
        )
