"""One chunk's transaction as its items see it: savepoints, declared writes, and what was caught.

Writes that were only declared are sent together at the end, and isolated on the server. An item that runs statements
of its own needs a savepoint, which travels in one string with the first of them. Neighbours share it until one fails:
then the server goes back to it and repeats the statements of the others, and their code does not run again. That goes
for writes that are told nothing but a number of rows. An item that does anything else has a savepoint to itself.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any, NamedTuple

import msgspec
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.errors import ContextMisuse
from reliable_imports.postgres.error_sorting import QUERY_CANCELED, Fault, fault_of
from reliable_imports.postgres.queries import load
from reliable_imports.postgres.statement import changes_session, is_blind_write, transaction_command
from reliable_imports.writes.identifiers import quoted_table
from reliable_imports.writes.plan import Origin, Plan, Write, WriteRequest
from reliable_imports.writes.plans import Plans

_WORK = load("work.sql")
_WRITES = load("writes.sql")

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
_REPEATING = "reliable_imports.repeat_statements_v1("
_ALTERED = "RI002"
_INSUFFICIENT_PRIVILEGE = "42501"
_ROWS_IN_GROUP = 25
"""That are tried as one statement."""

_ROWS_TOGETHER = 50
"""That go one by one, and share a subtransaction until the server refuses one of them."""

_ITEMS_TOGETHER = 20
"""Likewise, of items whose writes are a statement each."""

_MAX_KINDS = 8


class ChunkSpoiled(Exception):
    """The chunk's transaction cannot go on, and which item is to blame is unknown: replay its items one by one."""


class ChunkTooLarge(Exception):
    """The chunk would need more subtransactions than one transaction should have: replay it in smaller ones."""


class LeftRow(NamedTuple):
    """A row that an item meant to write, and that was left as it is.

    Attributes:
        why: `newer` (an item that was delivered later has written it), `there` (the processor only inserts), or
            `left out` (by a trigger or a rule).
        newer: that item.
    """

    table: str
    why: str
    newer: Origin | None = None


class ItemScope(msgspec.Struct, eq=False):
    """What one item did in the chunk's transaction so far."""

    sent: list[tuple[str, int]] | None = None
    """Statements that ran under the savepoint, and how many rows each touched; None before the first is begun."""
    is_in_doubt: bool = False
    """A statement was begun, and what became of it is not known: the item was interrupted."""
    was_answered: bool = False
    """It was told more than how many rows it touched, so its statements may not be repeated without its code."""
    declared: list[Write] = []  # a new list for each scope
    """Writes that were not sent yet."""
    written: tuple[Write, ...] = ()
    """Those that were taken by the server as they are."""
    row_keys: tuple[int, ...] = ()
    """The keys of other rows that were written, as they are stored."""
    left: tuple[LeftRow, ...] = ()
    moved: tuple[str, ...] = ()
    """Tables in which a trigger gave a row another key than the item did."""
    origin: Origin | None = None
    """Of an item that is repeated: rows that were written by items delivered later are left as they are."""
    ran_statements: bool = False
    """It ran statements of its own, and what those wrote is not known."""
    error: psycopg2.Error | None = None
    """The first error of a statement of this item, whatever the processor made of it."""
    refused: tuple[Write, ...] = ()
    """Declared writes that brought it about."""
    is_not_yet: bool = False
    """The error came when its deferred constraints were checked; another item may still bring what it needs."""
    changed_session: bool = False


@dataclass(frozen=True, slots=True)
class WriteError:
    """Why a declared write was refused by the server; for the fields see PostgreSQL's GET STACKED DIAGNOSTICS."""

    scope: ItemScope
    is_not_yet: bool
    """A deferred constraint was not met; another item may still bring what it needs."""
    sqlstate: str
    message: str
    detail: str | None
    schema: str | None
    table: str | None
    column: str | None
    constraint: str | None
    context: str | None

    @property
    def is_of_the_table(self) -> bool:
        """Whether it says that the statement, which is ours, does not fit the table; rights are another matter."""
        return self.sqlstate.startswith("42") and self.sqlstate != _INSUFFICIENT_PRIVILEGE


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
        tries_columns: bool,
        tries_groups: bool,
        own_together: int,
        plans: Plans,
    ) -> None:
        """
        Args:
            settle: SQL that checks an item's deferred constraints at once; None where the database has none.
            careful: send savepoints alone, so that every error can be pinned on its item; for chunks of one item.
            is_timed: an item, or each of its statements, has only so much time.
            tries_columns: few declared writes have been refused of late, so all are tried as one statement first.
            tries_groups: not many have been, so groups of them are.
            own_together: how many items with statements of their own share a savepoint.
            plans: what is known of the tables that are written to; more is added.
        """
        self.connection = connection
        self._cursor = connection.cursor()
        self._settle = settle
        self._careful = careful
        self._is_timed = is_timed
        self._tries_columns = tries_columns
        self._tries_groups = tries_groups
        self._own_together = 1 if careful else own_together
        self._plans = plans
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
        scope.changed_session = scope.changed_session or changes_session(text)
        scope.ran_statements = True
        is_blind = is_blind_write(text)
        # Before anything is sent: what cannot be adapted or encoded is then an error of Python alone.
        if params is not None:
            text = self.mogrify(text, params)
        elif not text.isascii():
            text.encode()
        return self._run(scope, text, is_blind=is_blind)

    def _run(self, scope: ItemScope, text: str, *, is_blind: bool) -> Any:
        """Send SQL for an item; its earlier declared writes go first."""
        _raise_if_ignored(scope)
        self._flush_all()
        is_blind = is_blind and not (scope.declared and self._must_tell(scope))
        if not is_blind:
            scope.was_answered = True
            if scope.sent is None:
                self._release()
        self._open(scope)
        if scope.declared:
            self._send_declared(scope)
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
            if self._must_tell(scope):
                self._release()
            self._open(scope)
        else:
            self._require_transaction()
        if scope.declared:
            self._send_declared(scope)
        if self._settle:
            try:
                self._send(scope, self._settle)
            except psycopg2.Error:
                scope.is_not_yet = True
                raise

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

    def refuse_again(self, scope: ItemScope) -> psycopg2.Error | None:
        """The error of declared writes that were refused, with what `apply_writes` is not told: where it came from.

        They are sent once more, and undone. None if the server takes them now.
        """
        savepoint = f"{self._savepoints}{next(self._numbers)}"
        self._send_for_all(f"{self._take_pending()}SAVEPOINT {savepoint}")
        error = None
        try:
            self._cursor.execute("; ".join(filter(None, [self._statements(scope)[0], self._settle])))
        except psycopg2.Error as refusal:
            error = refusal
        self._send_for_all(f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}")
        return error

    def ask(self, text: str) -> list[tuple[Any, ...]] | None:
        """What the server answers to a question about a failure; None if it cannot, and nothing is lost by that."""
        savepoint = f"{self._savepoints}{next(self._numbers)}"
        self._send_for_all(f"{self._take_pending()}SAVEPOINT {savepoint}")
        try:
            self._cursor.execute(text)
            found: list[tuple[Any, ...]] = self._cursor.fetchall()
        except psycopg2.Error as error:
            if fault_of(error, self.connection) is not Fault.ITEM or error.pgcode in _NOT_OUR_TRANSACTION:
                self.error = self.error or error
                raise
            self._pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
            return None
        self._pending = f"RELEASE SAVEPOINT {savepoint}; "
        return found

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
        unsent: list[ItemScope] = []
        if not self._write_as_columns(waiting):
            rest = self._write_row_by_row(waiting)
            unsent = self._write_as_statements(waiting) if rest is None else rest
        self._lost = ChunkTooLarge() if unsent else None
        return unsent

    def _write_row_by_row(self, waiting: Sequence[ItemScope]) -> list[ItemScope] | None:
        """Send rows of one kind to a block that tries them in groups or one by one; None where they are of several.

        Returns the items whose writes found no room.
        """
        kinds = _kinds(waiting)
        if kinds is None or len(kinds) != 1:
            return None
        (((plan, _), writes),) = kinds.items()
        room = MAX_SUBTRANSACTIONS - self.subtransactions
        statement = plan.loop_statement(
            writes,
            group=_ROWS_IN_GROUP if self._tries_groups else len(writes),
            tries_groups=self._tries_groups,
            together=_ROWS_TOGETHER,
            room=room,
        )
        if statement is None:
            return None
        self._send_for_all(self._take_pending())
        savepoint = f"{self._savepoints}{next(self._numbers)}"
        # Around all of it, for the block may be refused as a whole: the table was altered, say.
        if not self._is_accepted(f"SAVEPOINT {savepoint}; {statement}"):
            self._pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
            return None
        ((told,),) = self._cursor.fetchall()
        self._pending = f"RELEASE SAVEPOINT {savepoint}; "
        tried, used, refused = json.loads(told)
        failed = set()
        for place, *facts in refused:
            failed.add(place)
            self._refuse(waiting[place], facts)
        for place, scope in enumerate(waiting[:tried]):
            if place not in failed:
                scope.written += tuple(scope.declared)
        self.declared_entries += tried
        self.subtransactions += used + 1
        return list(waiting[tried:])

    def _refuse(self, scope: ItemScope, facts: Sequence[Any], *, is_not_yet: bool = False) -> None:
        error = WriteError(scope, is_not_yet, *facts)
        self.write_errors.append(error)
        if error.is_of_the_table:
            self._plans.forget()

    def _write_as_statements(self, waiting: Sequence[ItemScope]) -> list[ItemScope]:
        """Send each write as a statement that tells what became of it; return the items whose writes found no room."""
        sent = [(owner, write) for owner, scope in enumerate(waiting) for write in scope.declared]
        texts = [write.plan.telling_statement(write, waiting[owner].origin) for owner, write in sent]
        entries, separator = _joined(texts)
        parameters = {
            "entries": entries,
            "separator": separator,
            "owners": [owner for owner, _ in sent],
            "return_keys": [write.plan.returns_key for _, write in sent],
            "group_ends": _group_ends(waiting),
            "settle": self._settle if any(write.plan.settles for _, write in sent) else None,
            "room": MAX_SUBTRANSACTIONS - self.subtransactions,
        }
        self._send_for_all(self._take_pending() + self.mogrify(_WRITES["apply_writes"], parameters))
        *told, (tried, *_, subtransactions) = self._cursor.fetchall()
        for index, verdict, row_key, *facts, _ in told:
            owner, write = sent[index]
            if verdict in ("refused", "not yet"):
                self._refuse(waiting[owner], facts, is_not_yet=verdict == "not yet")
            else:
                self._note(waiting[owner], write, verdict, row_key)
        unsent = waiting[sent[tried][0] :] if tried < len(sent) else []
        self.declared_entries += len(waiting) - len(unsent)
        self.subtransactions += subtransactions
        return list(unsent)

    def _note(self, scope: ItemScope, write: Write, verdict: str, row_key: int | None) -> None:
        """Keep what became of a write, as `run_write` tells it."""
        match verdict.split():
            case ["written"] | ["moved"] if row_key is not None:
                scope.row_keys += (row_key,)
                if verdict == "moved":
                    scope.moved += (write.plan.request.table,)
            case ["written"] | ["moved"] if write.plan.returns_key:
                scope.written += (write._replace(key=None),)  # no key that could be found again
            case ["written"] | ["unchanged"]:
                scope.written += (write,)
            case ["newer", batch_id, item_number]:
                newer = Origin(int(batch_id), int(item_number))
                scope.left += (LeftRow(write.plan.request.table, "newer", newer),)
            case ["there"]:
                scope.left += (LeftRow(write.plan.request.table, "there"),)
            case _:
                scope.left += (LeftRow(write.plan.request.table, "left out"),)

    def _write_as_columns(self, waiting: Sequence[ItemScope]) -> bool:
        """Try all writes as one statement for each kind of row, where few have been refused of late.

        If the server refuses it, nothing has happened: then row after row tells which.
        """
        if not self._tries_columns or self.subtransactions >= MAX_SUBTRANSACTIONS:
            return False
        kinds = _kinds(waiting)
        if kinds is None or not _have_distinct_keys(kinds):
            return False
        plan = next(iter(kinds))[0]
        if len(kinds) > 1 and any(each.minds_order for each, _ in kinds):
            return False
        if len(waiting) < _FEWEST_ROWS and not plan.spares_sequence:
            return False
        statements = []
        for (plan, _), writes in kinds.items():
            statement = plan.columns_statement(writes)
            if statement is None:
                return False
            statements.append(statement)
        self._send_for_all(self._take_pending())
        savepoint = f"{self._savepoints}{next(self._numbers)}"
        if self._is_accepted(f"SAVEPOINT {savepoint}; {'; '.join(statements)}"):
            self._pending = f"RELEASE SAVEPOINT {savepoint}; "
            self.subtransactions += 1
            self.declared_entries += len(waiting)
            for scope in waiting:
                scope.written += tuple(scope.declared)
            return True
        self._pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
        return False

    def _is_accepted(self, text: str) -> bool:
        """Whether the server took a statement for several items; False if one of them was refused."""
        try:
            self._cursor.execute(text)
        except psycopg2.Error as error:
            if error.pgcode in _NOT_OUR_TRANSACTION:
                raise ChunkSpoiled from error
            # After a cancelled statement nobody wants to wait for the same rows once more.
            if fault_of(error, self.connection) is not Fault.ITEM or error.pgcode == QUERY_CANCELED:
                self.error = self.error or error
                raise
            if error.pgcode == _ALTERED:
                self._plans.forget()
            return False
        return True

    def plan(self, scope: ItemScope, request: WriteRequest) -> Plan:
        """How a kind of row is written; asks the catalogue the first time.

        Raises:
            UnusableTarget: the table cannot be written to in this way.
        """
        known = self._plans.find(request)
        if known is not None and not scope.changed_session:
            return known
        _raise_if_ignored(scope)
        if known is not None:
            # To this item the name may mean another table.
            named = self.mogrify(_WRITES["resolved_table"], {"table": quoted_table(request.table)})
            self._send_for_all(self._take_pending() + named)
            if self._cursor.fetchone() == (known.target.oid,):
                return known
            self._plans.forget()
        if not self._plans.knows(request.table):
            text = self.mogrify(_WRITES["describe_target"], {"table": quoted_table(request.table)})
            self._send_for_all(self._take_pending() + text)
            ((described,),) = self._cursor.fetchall()
            self._plans.learn(request.table, described)
        return self._plans.make(request, self.connection.server_version)

    def write_returning(self, scope: ItemScope, write: Write, returning: str) -> Any:
        """Write a row at once, and return a column of it as it stands then; of a row that was left, as it stood."""
        plan = write.plan
        told = write.needs_telling or scope.origin is not None
        prefix = f"{_WRITES['forget_what_was_met']}; " if told else ""
        try:
            cursor = self._run(scope, prefix + plan.telling_statement(write, scope.origin, returning), is_blind=False)
        except psycopg2.Error:
            scope.refused = scope.refused or (write,)
            raise
        row = cursor.fetchone()
        if row is not None:
            *keys, value = row
            self._note(scope, write, "moved" if False in keys[1:] else "written", keys[0] if keys else None)
            return value
        self._send(scope, _WRITES["what_was_met"])
        ((met,),) = self._cursor.fetchall()
        self._note(scope, write, met or "left out", None)
        if not plan.has_key or not plan.knows_keys:
            return None
        self._send(scope, plan.standing_row(write, returning))
        row = self._cursor.fetchone()
        return None if row is None else row[0]

    def _must_tell(self, scope: ItemScope) -> bool:
        """Whether the server must say what becomes of the writes that an item has declared."""
        return scope.origin is not None or any(write.needs_telling for write in scope.declared)

    def _statements(self, scope: ItemScope) -> tuple[str, bool]:
        """SQL for the writes that an item has declared, and whether it answers what became of them."""
        writes = scope.declared
        if not self._must_tell(scope):
            return "; ".join(write.plan.statement(write) for write in writes), False
        parameters = {
            "statements": [write.plan.telling_statement(write, scope.origin) for write in writes],
            "return_keys": [write.plan.returns_key for write in writes],
        }
        return self.mogrify(_WRITES["run_writes"], parameters), True

    def _send_declared(self, scope: ItemScope) -> None:
        text, answers = self._statements(scope)
        writes, scope.declared = scope.declared, []
        try:
            self._send(scope, text)
        except psycopg2.Error:
            scope.refused = tuple(writes)
            raise
        if not answers:
            scope.written += tuple(writes)
            return
        scope.was_answered = True
        for write, (verdict, row_key) in zip(writes, self._cursor.fetchall(), strict=True):
            self._note(scope, write, verdict, row_key)

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


_Kinds = dict[tuple[Plan, tuple[tuple[int, str], ...]], list[Write]]


def _kinds(waiting: Sequence[ItemScope]) -> _Kinds | None:
    """The writes of items that have declared one each, to one table, by kind of row; None if there are others."""
    kinds: _Kinds = {}
    for scope in waiting:
        if len(scope.declared) != 1 or scope.origin is not None:
            return None
        write = scope.declared[0]
        if write.needs_telling:
            return None
        kind = (write.plan, write.expressions)
        found = kinds.get(kind)
        if found is None:
            if len(kinds) == _MAX_KINDS:
                return None
            kinds[kind] = found = []
        found.append(write)
    return kinds if len({plan.target.name for plan, _ in kinds}) == 1 else None


def _have_distinct_keys(kinds: _Kinds) -> bool:
    """Whether no row would meet another one: one INSERT cannot touch a row twice.

    The server refuses to, should different texts be one key to it. But it does not notice where rows of several kinds
    have a statement each, or where rows that change nothing are left out.
    """
    keys = [write.key for writes in kinds.values() for write in writes if write.key is not None]
    if len(keys) != len(set(keys)):
        return False
    if len(kinds) == 1 and not next(iter(kinds))[0].spares_sequence:
        return True
    return all(
        plan.show_equal_keys([write.key for write in writes if write.key is not None])
        for (plan, _), writes in kinds.items()
    )


def _joined(texts: Sequence[str]) -> tuple[str, str]:
    """The texts as one, and what stands between them: the server cuts a text apart faster than it reads an array."""
    separator = "\x1e"
    joined = separator.join(texts)
    while joined.count(separator) >= len(texts):
        separator = secrets.token_hex(8)
        joined = separator.join(texts)
    return joined, separator


def _group_ends(waiting: Sequence[ItemScope]) -> list[int]:
    """How many writes there are up to the end of each group of neighbouring items."""
    ends = list(accumulate(len(scope.declared) for scope in waiting))
    return [*ends[_ITEMS_TOGETHER - 1 :: _ITEMS_TOGETHER], *([ends[-1]] if len(ends) % _ITEMS_TOGETHER else [])]


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
