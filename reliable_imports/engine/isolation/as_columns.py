"""Declared writes as columns, for each kind of row.

The rows are tried as one INSERT, without those that will likely be refused; these, or all, go one by one in a block on
the server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, TypeAlias

import psycopg2

from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.engine.isolation.row_kinds import RowKind, RowsByKind
from reliable_imports.engine.isolation.transaction import ChunkTransaction, raise_if_not_ours
from reliable_imports.engine.isolation.write_error import WriteError
from reliable_imports.postgres.error_sorting import QUERY_CANCELED, Fault, fault_of
from reliable_imports.writes.plans import Plans
from reliable_imports.writes.prediction import NEWER, Foresight, Prediction, Refusal

_FEWEST_ROWS = 10
"""That are worth a statement for all."""

_ROWS_TOGETHER = 50
"""That go one by one, and share a subtransaction until the server refuses one of them."""

_FEW_KINDS = 5
"""Kinds of rows of which a chunk of the most items finds room: 2,000 rows in fifties, and two for each kind."""

_IN_VAIN = 0.01
"""The share of rows that counts as unforeseen where the one statement was sent in vain, and nothing was learned."""

_ALTERED = "RI002"
_LEFT_OUT_FOR_NOTHING = "RI003"


_Facts: TypeAlias = tuple[str, str | None, str | None, str | None]
"""Of a refusal: SQLSTATE, table, column and constraint."""


class _Suspicion(Enum):
    """Which rows go one by one."""

    LIKELY = "those that the prediction suspects"
    EVERYTHING = "all of which a refusal can be foreseen"
    ALL_ROWS = "all"

    def of(self, prediction: Prediction) -> AbstractSet[Refusal]:
        """The refusals that are looked for."""
        match self:
            case _Suspicion.LIKELY:
                return prediction.suspected
            case _Suspicion.EVERYTHING:
                return prediction.foreseeable
            case _Suspicion.ALL_ROWS:
                return frozenset()


class _Unsent(Enum):
    """Why rows were not written."""

    REFUSED_FOR_NEWS = "refused for what can be foreseen from now on"
    REFUSED = "refused"
    NOT_AT_ALL = "there is no room, or they do not go as columns"


class AsColumns:
    """Sends the declared writes of one chunk as columns.

    Attributes:
        unforeseen: how many of those that the server has refused, about, nothing could have told beforehand.
        went_as_one: what was sent last went as one statement for each of few kinds of rows, but for those that were
            suspected.
    """

    def __init__(self, transaction: ChunkTransaction, plans: Plans, *, as_one: bool) -> None:
        """
        Args:
            plans: what is known of the tables that are written to.
            as_one: rows are tried as one statement.
        """
        self.unforeseen = 0.0
        self.went_as_one = False
        self._transaction = transaction
        self._plans = plans
        self._as_one = as_one

    def send(self, waiting: Sequence[ItemRecord], rows: RowsByKind) -> list[WriteError] | None:
        """Send the rows, and return what the server has refused; None if they do not go so, or there is no room."""
        self.went_as_one = False
        why_not, kinds, are_distinct = rows.why_not, rows.kinds, rows.are_distinct
        if not why_not and len(kinds) > 1 and (not are_distinct or any(kind.plan.minds_order for kind in kinds)):
            why_not = "rows of several kinds may meet each other"
        if why_not:
            self._plans.say_once(waiting[0].declared[0].plan.target.name, why_not)
            return None
        is_worth_it = len(waiting) >= _FEWEST_ROWS or kinds[0].plan.many_rows.spares_sequence
        if self._as_one and are_distinct and is_worth_it:
            sent = self._send_kinds(kinds, _Suspicion.LIKELY)
            if sent is _Unsent.REFUSED_FOR_NEWS:
                sent = self._send_kinds(kinds, _Suspicion.EVERYTHING)
            if sent is _Unsent.NOT_AT_ALL:
                return None
            if not isinstance(sent, _Unsent):
                self.went_as_one = len(kinds) <= _FEW_KINDS
                return sent
            self.unforeseen += _IN_VAIN * len(waiting)
        elif is_worth_it:
            surprises = "many were refused of late for what cannot be foreseen"
            self._plans.say_once(kinds[0].plan.target.name, surprises if are_distinct else "rows have equal keys")
        sent = self._send_kinds(kinds, _Suspicion.ALL_ROWS)
        return None if isinstance(sent, _Unsent) else sent

    def _send_kinds(self, kinds: Sequence[RowKind], suspicion: _Suspicion) -> list[WriteError] | _Unsent:
        """Send rows at once but for those that are suspected, and these one by one."""
        transaction = self._transaction
        texts = self._texts(kinds, suspicion)
        if texts is None:
            return _Unsent.NOT_AT_ALL
        transaction.send_for_all()
        savepoint = transaction.new_savepoint()
        try:
            cursor = transaction.cursor
            cursor.execute("; ".join([f"SAVEPOINT {savepoint}", *texts]))
            (answers,) = cursor.fetchall()
        except psycopg2.Error as error:
            # All of them may be refused: the table was altered, say.
            return self._undo(savepoint, error)
        told = list(map(json.loads, answers))
        refusals: list[tuple[RowKind, _Facts]] = [
            (kind, answer["refused"]) for kind, answer in zip(kinds, told, strict=True) if type(answer) is dict
        ]
        if refusals:
            return self._undo_refused(savepoint, refusals)
        transaction.pending = f"RELEASE SAVEPOINT {savepoint}; "
        transaction.subtransactions += 1
        errors: list[WriteError] = []
        for kind, (_, used, refused, unwritten) in zip(kinds, told, strict=True):
            transaction.subtransactions += used
            found = _settle(kind, refused, unwritten)
            unforeseen = _learn(kind, found, has_newer=any(fate.startswith("newer") for _, fate in unwritten))
            if suspicion is not _Suspicion.LIKELY:
                self.unforeseen += unforeseen
            errors += found
        return errors

    def _texts(self, kinds: Sequence[RowKind], suspicion: _Suspicion) -> list[str] | None:
        """The statements for the rows, and the question what became of them; None if a text or the room forbids it."""
        if sum(2 + len(kind.writes) // _ROWS_TOGETHER for kind in kinds) > self._transaction.room:
            return None
        statements = []
        blocks = []
        settings = []
        for number, kind in enumerate(kinds):
            if not kind.columns:
                return None
            told, rows_left = f"reliable_imports.told_{number}", f"reliable_imports.rows_left_{number}"
            settings.append(f"pg_catalog.current_setting('{told}')")
            names = {"told": told, "rows_left": rows_left}
            suspects = suspicion.of(kind.plan.prediction)
            origins = [item.origin for item in kind.items]
            many = kind.plan.many_rows
            if suspicion is _Suspicion.ALL_ROWS:
                statement = many.statement_of_none(kind.columns, origins, **names)
            else:
                statement = many.statement_of_all(kind.columns, kind.expressions, origins, suspects, **names)
            statements.append(statement)
            if suspects or suspicion is _Suspicion.ALL_ROWS:
                blocks.append(
                    many.block_of_the_rest(kind.expressions, origins, suspects, **names, together=_ROWS_TOGETHER)
                )
        return [*statements, *blocks, f"SELECT {', '.join(settings)}"]

    def _undo_refused(self, savepoint: str, refusals: Sequence[tuple[RowKind, _Facts]]) -> _Unsent:
        """Undo what was sent at once, and take note of why the server has refused it."""
        self._transaction.pending = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; "
        if any(sqlstate == _ALTERED for _, (sqlstate, *_) in refusals):
            self._plans.forget()
            return _Unsent.NOT_AT_ALL
        lessons = [kind.plan.prediction.learn(*facts) for kind, facts in refusals]
        return _Unsent.REFUSED_FOR_NEWS if Foresight.NEW in lessons else _Unsent.REFUSED

    def _undo(self, savepoint: str, error: psycopg2.Error) -> _Unsent:
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
        return _Unsent.REFUSED if error.pgcode == _LEFT_OUT_FOR_NOTHING else _Unsent.NOT_AT_ALL


def _settle(kind: RowKind, refused: Sequence[Any], unwritten: Sequence[tuple[int, str]]) -> list[WriteError]:
    """Keep what became of each row, as the block has told it; return the errors of those that were refused."""
    errors = []
    last_context = None
    for number, *facts in refused:
        # The block tells a context that is that of the row before only once.
        facts[-1] = last_context = facts[-1] or last_context
        errors.append(WriteError(kind.items[number], False, *facts))
    for number, fate in unwritten:
        kind.items[number].note(kind.writes[number], fate, None)
    settled = {number for number, *_ in (*refused, *unwritten)}
    for number, item in enumerate(kind.items):
        if number not in settled:
            item.written += tuple(item.declared)
    return errors


def _learn(kind: RowKind, errors: Sequence[WriteError], *, has_newer: bool) -> int:
    """Learn from what was refused, and count what nothing foresees the next time either."""
    prediction = kind.plan.prediction
    learn = prediction.learn
    lessons = [learn(error.sqlstate, error.table, error.column, error.constraint) for error in errors]
    if has_newer:
        learn(NEWER.sqlstate, None, None, None)
    prediction.note_tried()
    return lessons.count(Foresight.NONE)
