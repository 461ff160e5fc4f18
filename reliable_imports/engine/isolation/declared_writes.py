"""Writes that items have only declared: sent together when the chunk ends or somebody reads, isolated on the server.

There are three ways to send them, from the fastest to the one that always works:

- as columns: one INSERT for each kind of row. If it is refused, nothing has happened.
- row by row: a block on the server tries the rows of one kind, and tells which were refused.
- as statements: each write is a statement of its own, which also tells what became of it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import psycopg2

from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.engine.isolation.row_images import RowImages
from reliable_imports.engine.isolation.transaction import (
    ChunkSpoiled,
    ChunkTooLarge,
    ChunkTransaction,
    raise_if_not_ours,
)
from reliable_imports.postgres.error_sorting import QUERY_CANCELED, Fault, fault_of
from reliable_imports.postgres.queries import load
from reliable_imports.writes.plan import Plan, Write
from reliable_imports.writes.plans import Plans

_WRITES = load("writes.sql")

_FEWEST_ROWS = 10
"""That are worth a statement from columns."""

_ROWS_TOGETHER = 50
"""That go one by one, and share a subtransaction until the server refuses one of them."""

_ITEMS_TOGETHER = 20
"""Likewise, of items whose writes are a statement each."""

_MAX_KINDS = 8
_ALTERED = "RI002"
_INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True, slots=True)
class WriteError:
    """Why a declared write was refused by the server; for the fields see PostgreSQL's GET STACKED DIAGNOSTICS."""

    item: ItemRecord
    waits_for_others: bool
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


class DeclaredWrites:
    """The declared writes of one chunk.

    Attributes:
        sent: how many items' writes were sent.
        refused: how many of them the server refused.
        lost: set while writes are sent. It stays if the item whose statement sent them was interrupted meanwhile, or
            was told that there was no room for some: its processor may have caught that.
    """

    def __init__(
        self,
        transaction: ChunkTransaction,
        plans: Plans,
        *,
        check_deferred_sql: str | None,
        tries_columns: bool,
        images: RowImages | None,
    ) -> None:
        """
        Args:
            plans: what is known of the tables that are written to.
            check_deferred_sql: checks an item's deferred constraints at once; None where the database has none.
            tries_columns: few writes have been refused of late, so all are tried as columns first.
            images: keeps what the rows are before and after; None if nobody asks.
        """
        self.sent = 0
        self.refused = 0
        self.lost: ChunkSpoiled | ChunkTooLarge | None = None
        self._transaction = transaction
        self._plans = plans
        self._check_deferred_sql = check_deferred_sql
        self._tries_columns = tries_columns
        self._images = images
        self._waiting: list[ItemRecord] = []
        self._errors: list[WriteError] = []

    @property
    def are_waiting(self) -> bool:
        return bool(self._waiting)

    def queue(self, item: ItemRecord) -> None:
        """The item is complete, and its writes wait for those of its neighbours."""
        self._waiting.append(item)

    def flush(self) -> list[ItemRecord]:
        """Send what waits; return the items whose writes found no room. The savepoint of others must be closed."""
        if not self._waiting:
            return []
        self.lost = ChunkSpoiled()
        waiting, self._waiting = self._waiting, []
        unsent: list[ItemRecord] = []
        if self._images is not None:
            self._images.before([(item, write) for item in waiting for write in item.declared])
        if not self._send_as_columns(waiting):
            rest = self._send_row_by_row(waiting)
            unsent = self._send_as_statements(waiting) if rest is None else rest
        if self._images is not None:
            self._images.after()
        self.lost = ChunkTooLarge() if unsent else None
        return unsent

    def take_errors(self) -> list[WriteError]:
        """What the server has refused since this was asked last."""
        # Not kept here: an item refers to its chunk, which would then wait for the garbage collector.
        errors, self._errors = self._errors, []
        return errors

    def statements_of(self, item: ItemRecord) -> tuple[str, bool]:
        """SQL for the writes that one item has declared, and whether it answers what became of them."""
        if not item.needs_telling:
            return "; ".join(write.plan.statement(write) for write in item.declared), False
        parameters = {
            "statements": [write.plan.telling_statement(write, item.origin) for write in item.declared],
            "return_keys": [write.plan.returns_key for write in item.declared],
        }
        return self._transaction.mogrify(_WRITES["run_writes"], parameters), True

    def refuse_again(self, item: ItemRecord) -> psycopg2.Error | None:
        """The error of writes that were refused, with what `apply_writes` is not told: where it came from.

        They are sent once more, and undone. None if the server takes them now.
        """
        savepoint = self._transaction.new_savepoint()
        self._transaction.send_for_all(f"SAVEPOINT {savepoint}")
        error = None
        try:
            statements, _ = self.statements_of(item)
            self._transaction.cursor.execute("; ".join(filter(None, [statements, self._check_deferred_sql])))
        except psycopg2.Error as refusal:
            error = refusal
        self._transaction.send_for_all(f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}")
        return error

    # Three ways to send them

    def _send_as_columns(self, waiting: Sequence[ItemRecord]) -> bool:
        """Try one statement for each kind of row; False if the writes are not of that sort, or were refused."""
        if not self._tries_columns or self._transaction.room <= 0:
            return False
        kinds = _kinds(waiting)
        if kinds is None or not _have_distinct_keys(kinds):
            return False
        plan = next(iter(kinds))[0]
        if len(kinds) > 1 and any(each.minds_order for each, _ in kinds):
            return False
        if len(waiting) < _FEWEST_ROWS and not plan.spares_sequence:
            return False
        statements = [plan.columns_statement(writes) for (plan, _), writes in kinds.items()]
        if None in statements or not self._is_accepted("; ".join(filter(None, statements))):
            return False
        self._transaction.subtransactions += 1
        self._take(waiting)
        return True

    def _send_row_by_row(self, waiting: Sequence[ItemRecord]) -> list[ItemRecord] | None:
        """Send rows of one kind to a block that tries one after the other; None where they are of several.

        Returns the items whose writes found no room.
        """
        kinds = _kinds(waiting)
        if kinds is None or len(kinds) != 1:
            return None
        (((plan, _), writes),) = kinds.items()
        statement = plan.loop_statement(writes, together=_ROWS_TOGETHER, room=self._transaction.room)
        # The block may be refused as a whole: the table was altered, say.
        if statement is None or not self._is_accepted(statement):
            return None
        ((told,),) = self._transaction.cursor.fetchall()
        tried, used, refused = json.loads(told)
        failed = {place: facts for place, *facts in refused}
        for place, facts in failed.items():
            self._refuse(waiting[place], *facts)
        self._transaction.subtransactions += used + 1
        self._take([item for place, item in enumerate(waiting[:tried]) if place not in failed])
        self.sent += len(failed)
        return list(waiting[tried:])

    def _send_as_statements(self, waiting: Sequence[ItemRecord]) -> list[ItemRecord]:
        """Send each write as a statement that tells what became of it; return the items whose writes found no room."""
        transaction = self._transaction
        sent = [(owner, write) for owner, item in enumerate(waiting) for write in item.declared]
        entries, separator = _joined(
            [write.plan.telling_statement(write, waiting[owner].origin) for owner, write in sent]
        )
        parameters = {
            "entries": entries,
            "separator": separator,
            "owners": [owner for owner, _ in sent],
            "return_keys": [write.plan.returns_key for _, write in sent],
            "group_ends": _group_ends(waiting),
            "check_deferred": self._check_deferred_sql if any(write.plan.has_deferrable for _, write in sent) else None,
            "room": transaction.room,
        }
        cursor = transaction.send_for_all(transaction.mogrify(_WRITES["apply_writes"], parameters))
        *told, (tried, *_, subtransactions) = cursor.fetchall()
        for index, verdict, row_key, *facts, _ in told:
            owner, write = sent[index]
            if verdict in ("refused", "not yet"):
                self._refuse(waiting[owner], *facts, waits_for_others=verdict == "waits for others")
            else:
                waiting[owner].note(write, verdict, row_key)
        unsent = list(waiting[sent[tried][0] :]) if tried < len(sent) else []
        self.sent += len(waiting) - len(unsent)
        transaction.subtransactions += subtransactions
        return unsent

    def _is_accepted(self, text: str) -> bool:
        """Whether the server took a statement for several items; if not, it is as if it had not been sent."""
        transaction = self._transaction
        transaction.send_for_all()
        savepoint = transaction.new_savepoint()
        try:
            transaction.cursor.execute(f"SAVEPOINT {savepoint}; {text}")
        except psycopg2.Error as error:
            raise_if_not_ours(error)
            # After a cancelled statement nobody wants to wait for the same rows once more.
            if fault_of(error, transaction.connection) is not Fault.ITEM or error.pgcode == QUERY_CANCELED:
                transaction.error = transaction.error or error
                raise
            if error.pgcode == _ALTERED:
                self._plans.forget()
            transaction.pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
            return False
        transaction.pending = f"RELEASE SAVEPOINT {savepoint}; "
        return True

    def _take(self, items: Sequence[ItemRecord]) -> None:
        """The writes of these items were taken as they are."""
        self.sent += len(items)
        for item in items:
            item.written += tuple(item.declared)

    def _refuse(self, item: ItemRecord, *facts: str | None, waits_for_others: bool = False) -> None:
        error = WriteError(item, waits_for_others, *facts)  # type: ignore[arg-type]  # as the server tells them
        self._errors.append(error)
        self.refused += 1
        if error.is_of_the_table:
            self._plans.forget()


_Kinds = dict[tuple[Plan, tuple[tuple[int, str], ...]], list[Write]]


def _kinds(waiting: Sequence[ItemRecord]) -> _Kinds | None:
    """The writes of items that have declared one each, to one table, by kind of row; None if there are others."""
    kinds: _Kinds = {}
    for item in waiting:
        if len(item.declared) != 1 or item.origin is not None:
            return None
        write = item.declared[0]
        if write.needs_telling:
            return None
        kind = (write.plan, write.expressions)
        known = kinds.get(kind)
        if known is None:
            if len(kinds) == _MAX_KINDS:
                return None
            kinds[kind] = known = []
        known.append(write)
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


def _group_ends(waiting: Sequence[ItemRecord]) -> list[int]:
    """How many writes there are up to the end of each group of neighbouring items."""
    ends = list(accumulate(len(item.declared) for item in waiting))
    return [*ends[_ITEMS_TOGETHER - 1 :: _ITEMS_TOGETHER], *([ends[-1]] if len(ends) % _ITEMS_TOGETHER else [])]
