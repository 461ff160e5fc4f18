"""What is known of the statements that the items of a run send: whether they give the same answer when repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg2.extras import Json

from reliable_imports.engine.isolation.transaction import ChunkTransaction
from reliable_imports.postgres.queries import load
from reliable_imports.postgres.statement import calls_of, is_one_write

_WORK = load("work.sql")

_MAX_KNOWN = 200
"""Texts of statements: of a processor that writes its values into them, each would be another one."""

_DISTRUSTED = 1000
"""Savepoints after a statement that could not be parsed: a message more for each costs less than to try items again."""

_VALUES = frozenset(
    {str, int, float, bool, type(None), bytes, Decimal, date, datetime, time_of_day, timedelta, UUID, Json}
)
"""Types of parameters that stand for values alone: others may bring SQL of their own."""


class Statements:
    """What one worker knows of the statements of a processor; the server is asked once for each text.

    The answer of a statement is steady if nothing that it calls, its table's defaults included, is volatile, and if no
    trigger or rule has a say. Then only another session can change it, between an undone savepoint and the repetition.
    That is found out by comparing.
    """

    def __init__(self) -> None:
        self._are_steady: dict[str, bool] = {}
        self._distrusted = 0
        self._are_kept_apart = False

    def distrust(self) -> None:
        """A statement could not even be parsed, and so its whole message was refused; others may be like it."""
        self._distrusted = _DISTRUSTED

    def next_is_distrusted(self) -> bool:
        """Whether to send a savepoint in a message of its own; asked once for each."""
        self._distrusted = max(0, self._distrusted - 1)
        return self._distrusted > 0

    def are_steady(self, statement: str, parameters: Any, text: str, transaction: ChunkTransaction) -> bool:
        """Whether *statement* with such parameters, for which *text* is sent, gives the same answer when repeated."""
        if self._are_kept_apart:
            return False
        if parameters is not None:
            values = parameters.values() if isinstance(parameters, Mapping) else parameters
            if not _VALUES.issuperset(map(type, values)):
                return False
        known = self._are_steady.get(statement)
        if known is None:
            if len(self._are_steady) >= _MAX_KNOWN:
                return False
            known = _is_steady(statement, text, transaction)
            if known is None:
                return False
            self._are_steady[statement] = known
        return known

    def keep_apart(self) -> None:
        """A chunk was lost because items that were answered shared a savepoint: they do so no longer in this run."""
        self._are_kept_apart = True

    def forget(self) -> None:
        """Ask again: a table may have been altered, or never have been there."""
        self._are_steady.clear()


def _is_steady(statement: str, text: str, transaction: ChunkTransaction) -> bool | None:
    """None if these parameters are refused already when the statement is planned: others may tell."""
    if not is_one_write(statement):
        return False
    answer = transaction.ask(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {text}")
    if answer is None:
        return None
    ((explained,),) = answer
    plans = json.loads(explained) if isinstance(explained, str) else explained
    tables: set[tuple[str, str]] = set()
    calls = [calls_of(statement)]
    for node in _nodes(plans):
        if "Relation Name" in node:
            tables.add((node["Schema"], node["Relation Name"]))
        calls += [calls_of(each) for each in _texts(node)]
    names = {name for each in calls if each is not None for name in each}
    if None in calls or len(plans) != 1 or len(tables) != 1:
        return False
    ((schema, table),) = tables
    question = transaction.mogrify(_WORK["is_steady"], {"schema": schema, "table": table, "calls": sorted(names)})
    return transaction.ask(question) == [(True,)]


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
