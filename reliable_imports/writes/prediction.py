"""What the server will likely refuse: rows that break a constraint which it has refused rows for before.

A prediction only decides which rows go one by one. It may be wrong both ways: a row that it misses is refused with all
that are sent in one statement, and these are sent anew; a row that it suspects for nothing is written like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from reliable_imports.writes.identifiers import literal, quoted
from reliable_imports.writes.target import Column, Reference, Target

WITH_INPUT_CHECK = 160_000
"""The first server that says of a text whether a type takes it, without raising."""

TAKES_ANY_TEXT = frozenset({"text", "character varying"})
_NOT_NULL, _FOREIGN_KEY, _CHECK = "23502", "23503", "23514"
_DATA_EXCEPTION = "22"


class Foresight(Enum):
    """What a refusal has taught."""

    NEW = "new"
    """From now on such rows are suspected."""
    KNOWN = "known"
    """Such rows are suspected already."""
    NONE = "none"
    """Nothing foresees such a refusal."""


class Prediction:
    """What rows with some columns of a table are suspected for. It begins with nothing, and learns from refusals."""

    def __init__(self, target: Target, columns: Sequence[Column], server_version: int, *, minds_order: bool) -> None:
        """
        Args:
            minds_order: rows with different keys may get in each other's way, so none may be left for later.
        """
        self._columns = columns
        self._names = frozenset(column.name for column in columns)
        self._references = {each.name: each for each in target.references if self._has(_columns_of(each))}
        self._checks = {each.name: each for each in target.checks if self._has(each.reads)}
        self._not_null = frozenset(column.name for column in columns if column.is_not_null)
        self._reads_texts = server_version >= WITH_INPUT_CHECK
        self._minds_order = minds_order
        self._suspects: dict[str, None] = {}
        self._suspects_texts = False
        self.expects_newer = False
        """Rows of repeated items may have been written by later ones."""

    @property
    def has_suspects(self) -> bool:
        """Whether rows are suspected for anything."""
        return bool(self._suspects) or self._suspects_texts

    def _has(self, names: Iterable[str]) -> bool:
        # Of a column that is not given, the default decides.
        return self._names.issuperset(names)

    def learn(self, sqlstate: str, table: str | None, column: str | None, constraint: str | None) -> Foresight:
        """Take note of what the server has refused a row for."""
        if self._minds_order:
            return Foresight.NONE
        is_of_a_type = sqlstate.startswith(_DATA_EXCEPTION) or (sqlstate == _CHECK and not table)
        if is_of_a_type:
            if not self._reads_texts:
                return Foresight.NONE
            is_known, self._suspects_texts = self._suspects_texts, True
            return Foresight.KNOWN if is_known else Foresight.NEW
        sql = self._sql_for(sqlstate, column or "", constraint or "")
        if sql is None:
            return Foresight.NONE
        is_known = sql in self._suspects
        self._suspects[sql] = None
        return Foresight.KNOWN if is_known else Foresight.NEW

    def learn_of_newer(self) -> Foresight:
        """Take note that a row was left because a later item has written it."""
        is_known, self.expects_newer = self.expects_newer, True
        return Foresight.KNOWN if is_known else Foresight.NEW

    def _sql_for(self, sqlstate: str, column: str, constraint: str) -> str | None:
        if sqlstate == _NOT_NULL and column in self._not_null:
            return f"given.{quoted(column)} IS NULL"
        if sqlstate == _FOREIGN_KEY and constraint in self._references:
            return _lacks_parent(self._references[constraint])
        if sqlstate == _CHECK and constraint in self._checks:
            return f"({self._checks[constraint].sql}) IS FALSE"
        return None

    def unreadable(self, texts: Sequence[str], instead: Iterable[int]) -> str | None:
        """A condition for rows of texts that are no values of their columns' types; None if they are not suspected.

        Args:
            texts: SQL for the text of each column.
            instead: places whose value is not the text alone.
        """
        if not self._suspects_texts:
            return None
        others = set(instead)
        conditions = [
            f"pg_catalog.pg_input_is_valid({text}, {literal(column.exact_type)}) IS FALSE"
            for place, (text, column) in enumerate(zip(texts, self._columns, strict=True))
            if place not in others and column.exact_type not in TAKES_ANY_TEXT
        ]
        return " OR ".join(conditions) or None

    def suspects(self, place: str) -> list[str]:
        """A SELECT of *place* for each reason to suspect rows of `given`, which has the typed columns."""
        return [f"SELECT {place} FROM given WHERE {sql}" for sql in self._suspects]


def _columns_of(reference: Reference) -> list[str]:
    return [pair.column for pair in reference.pairs]


def _lacks_parent(reference: Reference) -> str:
    own = [f"given.{quoted(pair.column)}" for pair in reference.pairs]
    pairs = " AND ".join(
        f"parent.{quoted(pair.parent_column)} OPERATOR({pair.operator}) {each}"
        for pair, each in zip(reference.pairs, own, strict=True)
    )
    orphan = f"NOT EXISTS (SELECT FROM {reference.parent} AS parent WHERE {pairs})"
    nulls = f"pg_catalog.num_nulls({', '.join(own)})"
    if reference.is_full and len(own) > 1:
        return f"{nulls} < {len(own)} AND ({nulls} > 0 OR {orphan})"
    return f"{nulls} = 0 AND {orphan}"
