"""What is known of the statements that the items of a run send: whether they give the same answer when repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg2.extras import Json

from reliable_imports.engine.isolation.transaction import ChunkTransaction
from reliable_imports.postgres.queries import load
from reliable_imports.postgres.statement import calls_of, insert_head, is_one_write, reads_proposed

_WORK = load("work.sql")

_MAX_KNOWN = 200
"""Texts of statements: of a processor that writes its values into them, each would be another one."""

_DISTRUSTED = 1000
"""Savepoints after a statement that could not be parsed: a message more for each costs less than to try items again."""

_VALUES = frozenset(
    {str, int, float, bool, type(None), bytes, Decimal, date, datetime, time_of_day, timedelta, UUID, Json}
)
"""Types of parameters that stand for values alone: others may bring SQL of their own."""

_NEXT_NUMBER = re.compile(r"nextval\('(?:[^']|'')*'(?:::regclass)?\)")


@dataclass(frozen=True, slots=True)
class Repetition:
    """How a statement is sent again, so that it leaves the same rows and gives the same answer.

    Attributes:
        may_meet: the answer may depend on a row that was there before.
        place: which column of the answer is a number of a sequence, if one is. It is then sent again with that number.
        head: the beginning of the statement, up to the first of its values.
        head_with_number: the same with one column more, and a place for its value.
    """

    may_meet: bool = False
    place: int | None = None
    head: str = ""
    head_with_number: str = ""

    def text(self, text: str, told: Sequence[Sequence[Any]]) -> str | None:
        """What to send again after *text* was answered by *told*; None if that does not tell the number."""
        if self.place is None:
            return text
        if len(told) != 1 or type(told[0][self.place]) is not int or not text.startswith(self.head):
            return None
        return f"{self.head_with_number}{told[0][self.place]}, {text[len(self.head) :]}"


AS_IT_IS = Repetition()


class Statements:
    """What one worker knows of the statements of a processor; the server is asked once for each text.

    The answer of a statement is steady if nothing that it calls, its table's defaults included, is volatile, and if no
    trigger or rule has a say. Then only another session can change it, between an undone savepoint and the repetition.
    That is found out by comparing.
    """

    def __init__(self) -> None:
        self._repetitions: dict[str, Repetition | None] = {}
        self._distrusted = 0
        self._are_kept_apart = False

    def distrust(self) -> None:
        """A statement could not even be parsed, and so its whole message was refused; others may be like it."""
        self._distrusted = _DISTRUSTED

    def next_is_distrusted(self) -> bool:
        """Whether to send a savepoint in a message of its own; asked once for each."""
        self._distrusted = max(0, self._distrusted - 1)
        return self._distrusted > 0

    def repetition(
        self, statement: str, parameters: Any, text: str, transaction: ChunkTransaction
    ) -> Repetition | None:
        """How a statement with such parameters is repeated, for which *text* is sent; None if its answer may differ."""
        if self._are_kept_apart:
            return None
        if parameters is not None:
            values = parameters.values() if isinstance(parameters, Mapping) else parameters
            if not _VALUES.issuperset(map(type, values)):
                return None
        if statement not in self._repetitions:
            if len(self._repetitions) >= _MAX_KNOWN:
                return None
            planned = _plan_of(statement, text, transaction)
            if planned is None:
                return None
            self._repetitions[statement] = _repetition(statement, planned, transaction)
        return self._repetitions[statement]

    def keep_apart(self) -> None:
        """A chunk was lost because items that were answered shared a savepoint: they do so no longer in this run."""
        self._are_kept_apart = True

    def forget(self) -> None:
        """Ask again: a table may have been altered, or never have been there."""
        self._repetitions.clear()


def _plan_of(statement: str, text: str, transaction: ChunkTransaction) -> Any:
    """What EXPLAIN tells; empty for what cannot be repeated.

    None if these parameters are refused already when the statement is planned: others may tell.
    """
    if not is_one_write(statement):
        return []
    answer = transaction.ask(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {text}")
    if answer is None:
        return None
    ((explained,),) = answer
    return json.loads(explained) if isinstance(explained, str) else explained


def _repetition(statement: str, plans: Any, transaction: ChunkTransaction) -> Repetition | None:
    if len(plans) != 1:
        return None
    top = plans[0]["Plan"]
    row = _row_of(top)
    numbered = [number for number, each in enumerate(row.get("Output", ()), 1) if _NEXT_NUMBER.fullmatch(each)]
    tables: set[tuple[str, str]] = set()
    may_meet = "Conflict Resolution" in top
    calls = [calls_of(statement)]
    for node in _nodes(plans):
        if "Relation Name" in node:
            tables.add((node["Schema"], node["Relation Name"]))
            may_meet = may_meet or node is not top
        calls += [calls_of(each) for each in _texts(node) if node is not row or not _NEXT_NUMBER.fullmatch(each)]
    names = {name for each in calls if each is not None for name in each}
    if None in calls or len(tables) != 1:
        return None
    ((schema, table),) = tables
    head = insert_head(statement)
    parameters = {
        "schema": schema,
        "table": table,
        "calls": sorted(names),
        "may_update": top.get("Conflict Resolution") == "UPDATE",
        "named": head and head.table,
        "alias": top.get("Alias"),
        "numbered": numbered[0] if len(numbered) == 1 else None,
    }
    answer = transaction.ask(transaction.mogrify(_WORK["is_steady"], parameters))
    if not answer or not answer[0][0]:
        return None
    if not numbered:
        return Repetition(may_meet)
    _, column, told_as = answer[0]
    told = top.get("Output", ())
    if head is None or column is None or told_as not in told or reads_proposed(statement, column):
        return None
    return Repetition(
        may_meet,
        place=told.index(told_as),
        head=head.text,
        head_with_number=f"{head.into}({column}, {head.columns}) OVERRIDING SYSTEM VALUE VALUES (",
    )


def _row_of(top: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node of a plan that makes the row of an INSERT of one row, its defaults included; else empty."""
    below = top.get("Plans", ())
    is_one = top.get("Operation") == "Insert" and len(below) == 1 and below[0]["Node Type"] == "Result"
    return below[0] if is_one else {}


def _nodes(explained: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a plan as EXPLAIN tells it in JSON."""
    if isinstance(explained, dict):
        yield explained
        explained = list(explained.values())
    if isinstance(explained, list):
        for each in explained:
            yield from _nodes(each)


def _texts(node: dict[str, Any]) -> Iterator[str]:
    for value in node.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (each for each in value if isinstance(each, str))
