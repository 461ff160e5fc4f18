"""Writes that items have only declared: sent together when the chunk ends or somebody reads, isolated on the server.

There are two ways to send them:

- as columns, for each kind of row. They are tried as one INSERT, without those that will likely be refused; these, or
  all, go one by one in a block on the server.
- as statements: each write is a statement of its own, which also tells what became of it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from typing import NamedTuple, TypeAlias

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
from reliable_imports.writes.plan import Origin, Plan, Write
from reliable_imports.writes.plans import Plans
from reliable_imports.writes.prediction import NEWER, Foresight, Prediction, Refusal

_WRITES = load("writes.sql")

_FEWEST_ROWS = 10
"""That are worth a statement for all."""

_ROWS_TOGETHER = 50
"""That go one by one, and share a subtransaction until the server refuses one of them."""

_IN_VAIN = 0.01
"""The share of rows that counts as unforeseen where the one statement was sent in vain, and nothing was learned."""

_ITEMS_TOGETHER = 20
"""Likewise, of items whose writes are a statement each."""

_MAX_KINDS = 8
_ALTERED = "RI002"
_LEFT_OUT_FOR_NOTHING = "RI003"
_INSUFFICIENT_PRIVILEGE = "42501"


_Facts: TypeAlias = tuple[str, str | None, str | None, str | None]
"""Of a refusal: SQLSTATE, table, column and constraint."""


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
        unforeseen: how many of these, about, nothing could have told beforehand.
        lost: set while writes are sent. It stays if the item whose statement sent them was interrupted meanwhile, or
            was told that there was no room for some: its processor may have caught that.
    """

    def __init__(
        self,
        transaction: ChunkTransaction,
        plans: Plans,
        *,
        check_deferred_sql: str | None,
        as_one: bool,
        images: RowImages | None,
    ) -> None:
        """
        Args:
            plans: what is known of the tables that are written to.
            check_deferred_sql: checks an item's deferred constraints at once; None where the database has none.
            as_one: few writes have been refused of late that nothing foresees, so rows are tried as one statement.
            images: keeps what the rows are before and after; None if nobody asks.
        """
        self.sent = 0
        self.refused = 0
        self.unforeseen = 0.0
        self.lost: ChunkSpoiled | ChunkTooLarge | None = None
        self._transaction = transaction
        self._plans = plans
        self._check_deferred_sql = check_deferred_sql
        self._as_one = as_one
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
            unsent = self._send_as_statements(waiting)
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

    # Two ways to send them

    def _send_as_columns(self, waiting: Sequence[ItemRecord]) -> bool:
        """Send the rows of each kind as columns; False if the writes are not of that sort, or there is no room."""
        why_not, kinds = _kinds(waiting)
        are_distinct = _have_distinct_keys(kinds)
        if not why_not and len(kinds) > 1 and (not are_distinct or any(kind.plan.minds_order for kind in kinds)):
            why_not = "rows of several kinds may meet each other"
        if why_not:
            self._plans.say_once(waiting[0].declared[0].plan.target.name, why_not)
            return False
        is_worth_it = len(waiting) >= _FEWEST_ROWS or kinds[0].plan.spares_sequence
        if self._as_one and are_distinct and is_worth_it:
            sent = self._send_kinds(waiting, kinds, _Suspicion.LEARNED)
            if sent is _Sent.REFUSED_FOR_NEWS:
                sent = self._send_kinds(waiting, kinds, _Suspicion.EVERYTHING)
            if sent in (_Sent.DONE, _Sent.NOT_AT_ALL):
                return sent is _Sent.DONE
            self.unforeseen += _IN_VAIN * len(waiting)
        elif is_worth_it:
            surprises = "many were refused of late for what cannot be foreseen"
            self._plans.say_once(kinds[0].plan.target.name, surprises if are_distinct else "rows have equal keys")
        return self._send_kinds(waiting, kinds, _Suspicion.ALL_ROWS) is _Sent.DONE

    def _send_kinds(self, waiting: Sequence[ItemRecord], kinds: Sequence[_Kind], suspicion: _Suspicion) -> _Sent:
        """Send rows at once but for those that are suspected, and these one by one."""
        needed = sum(2 + len(kind.writes) // _ROWS_TOGETHER for kind in kinds)
        settings = [
            {"told": f"reliable_imports.told_{number}", "rows_left": f"reliable_imports.rows_left_{number}"}
            for number in range(len(kinds))
        ]
        suspected = [suspicion.of(kind.plan.prediction) for kind in kinds]
        statements = []
        blocks = []
        for kind, names, suspects in zip(kinds, settings, suspected, strict=True):
            if suspicion is _Suspicion.ALL_ROWS:
                statements.append(kind.plan.statement_of_none(kind.writes, kind.origins, **names))
            else:
                statements.append(kind.plan.statement_of_all(kind.writes, kind.origins, suspects, **names))
            if suspects or suspicion is _Suspicion.ALL_ROWS:
                blocks.append(
                    kind.plan.block_of_the_rest(
                        kind.writes[0], kind.origins, suspects, **names, together=_ROWS_TOGETHER
                    )
                )
        if needed > self._transaction.room or None in statements:
            return _Sent.NOT_AT_ALL
        answers = ", ".join(f"pg_catalog.current_setting('{names['told']}')" for names in settings)
        transaction = self._transaction
        transaction.send_for_all()
        savepoint = transaction.new_savepoint()
        try:
            cursor = transaction.cursor
            cursor.execute(
                "; ".join([f"SAVEPOINT {savepoint}", *filter(None, statements), *blocks, f"SELECT {answers}"])
            )
            (texts,) = cursor.fetchall()
        except psycopg2.Error as error:
            # All of them may be refused: the table was altered, say.
            return self._undo(savepoint, error)
        told = list(map(json.loads, texts))
        refusals: list[tuple[_Kind, _Facts]] = [
            (kind, answer["refused"]) for kind, answer in zip(kinds, told, strict=True) if type(answer) is dict
        ]
        if refusals:
            return self._undo_refused(savepoint, refusals)
        transaction.pending = f"RELEASE SAVEPOINT {savepoint}; "
        transaction.subtransactions += 1
        settled: set[int] = set()
        for kind, (_, used, refused, unwritten) in zip(kinds, told, strict=True):
            transaction.subtransactions += used
            errors = []
            last_context = None
            for number, *facts, context in refused:
                last_context = context or last_context
                errors.append(self._refuse(waiting[kind.places[number]], *facts, last_context))
            for number, fate in unwritten:
                waiting[kind.places[number]].note(kind.writes[number], fate, None)
            settled.update(kind.places[number] for number, *_ in (*refused, *unwritten))
            if suspicion is not _Suspicion.LEARNED:
                has_newer = any(fate.startswith("newer") for _, fate in unwritten)
                self.unforeseen += _unforeseen(kind, errors, has_newer=has_newer)
        self.sent += len(settled)
        self._take([item for place, item in enumerate(waiting) if place not in settled])
        return _Sent.DONE

    def _undo_refused(self, savepoint: str, refusals: Sequence[tuple[_Kind, _Facts]]) -> _Sent:
        """Undo what was sent at once, and take note of why the server has refused it."""
        self._transaction.pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
        if any(sqlstate == _ALTERED for _, (sqlstate, *_) in refusals):
            self._plans.forget()
            return _Sent.NOT_AT_ALL
        lessons = [kind.plan.prediction.learn(*facts) for kind, facts in refusals]
        return _Sent.REFUSED_FOR_NEWS if Foresight.NEW in lessons else _Sent.REFUSED

    def _undo(self, savepoint: str, error: psycopg2.Error) -> _Sent:
        """Undo what was sent for several items, which the server has refused as a whole.

        Raises:
            psycopg2.Error: what no item is to blame for.
        """
        transaction = self._transaction
        raise_if_not_ours(error)
        # After a cancelled statement nobody wants to wait for the same rows once more.
        if fault_of(error, transaction.connection) is not Fault.ITEM or error.pgcode == QUERY_CANCELED:
            transaction.error = transaction.error or error
            raise error
        if error.pgcode == _ALTERED:
            self._plans.forget()
        transaction.pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
        return _Sent.REFUSED if error.pgcode == _LEFT_OUT_FOR_NOTHING else _Sent.NOT_AT_ALL

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
            if verdict in ("refused", "waits for others"):
                self._refuse(waiting[owner], *facts, waits_for_others=verdict == "waits for others")
            else:
                waiting[owner].note(write, verdict, row_key)
        unsent = list(waiting[sent[tried][0] :]) if tried < len(sent) else []
        self.sent += len(waiting) - len(unsent)
        transaction.subtransactions += subtransactions
        return unsent

    def _take(self, items: Sequence[ItemRecord]) -> None:
        """The writes of these items were taken as they are."""
        self.sent += len(items)
        for item in items:
            item.written += tuple(item.declared)

    def _refuse(self, item: ItemRecord, *facts: str | None, waits_for_others: bool = False) -> WriteError:
        error = WriteError(item, waits_for_others, *facts)  # type: ignore[arg-type]  # as the server tells them
        self._errors.append(error)
        self.refused += 1
        if error.is_of_the_table:
            self._plans.forget()
        return error


class _Suspicion(Enum):
    """Which rows go one by one."""

    LEARNED = "like those that were refused before"
    EVERYTHING = "all of which a refusal can be foreseen"
    ALL_ROWS = "all"

    def of(self, prediction: Prediction) -> AbstractSet[Refusal]:
        """The refusals that are looked for."""
        match self:
            case _Suspicion.LEARNED:
                return prediction.learned
            case _Suspicion.EVERYTHING:
                return prediction.foreseeable
            case _Suspicion.ALL_ROWS:
                return frozenset()


class _Sent(Enum):
    """What became of rows that were sent."""

    DONE = "done"
    REFUSED_FOR_NEWS = "refused for what can be foreseen from now on"
    REFUSED = "refused"
    NOT_AT_ALL = "not at all: there is no room, or they do not go as columns"


class _Kind(NamedTuple):
    """Rows that one statement can write; *places* are those of their items among all that wait."""

    plan: Plan
    writes: list[Write]
    places: list[int]
    origins: list[Origin | None]


def _kinds(waiting: Sequence[ItemRecord]) -> tuple[str, Sequence[_Kind]]:
    """The writes of items that have declared one each, to one table, by kind of row; or why they cannot be sent so."""
    kinds: dict[tuple[Plan, tuple[tuple[int, str], ...]], _Kind] = {}
    for place, item in enumerate(waiting):
        if len(item.declared) != 1:
            return "an item has several", ()
        write = item.declared[0]
        if write.needs_telling:
            return ", ".join(write.plan.single_rows_for) or "only the server can tell the key", ()
        key = (write.plan, write.expressions)
        kind = kinds.get(key)
        if kind is None:
            if len(kinds) == _MAX_KINDS:
                return "they are of too many kinds", ()
            kinds[key] = kind = _Kind(write.plan, [], [], [])
        kind.writes.append(write)
        kind.places.append(place)
        kind.origins.append(item.origin)
    found = list(kinds.values())
    if len({kind.plan.target.name for kind in found}) > 1:
        return "neighbours write to another table", ()
    return "", found


def _have_distinct_keys(kinds: Sequence[_Kind]) -> bool:
    """Whether no row would meet another one: one INSERT cannot touch a row twice.

    The server refuses to, should different texts be one key to it. But it does not notice where rows of several kinds
    have a statement each, or where rows that change nothing are left out.
    """
    keys = [write.key for kind in kinds for write in kind.writes if write.key is not None]
    if len(keys) != len(set(keys)):
        return False
    if len(kinds) == 1 and not kinds[0].plan.spares_sequence:
        return True
    return all(
        kind.plan.show_equal_keys([write.key for write in kind.writes if write.key is not None]) for kind in kinds
    )


def _unforeseen(kind: _Kind, errors: Sequence[WriteError], *, has_newer: bool) -> int:
    """Learn from what was refused, and count what nothing foresees the next time either."""
    learn = kind.plan.prediction.learn
    lessons = [learn(error.sqlstate, error.table, error.column, error.constraint) for error in errors]
    if has_newer:
        learn(NEWER.sqlstate, None, None, None)
    return lessons.count(Foresight.NONE)


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
