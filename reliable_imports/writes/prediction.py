"""What the server will likely refuse: rows that break a constraint which it has refused rows for before; of the first
rows those that break any.

A prediction only decides which rows go one by one. It may be wrong both ways: a row that it misses is refused with all
that are sent in one statement, and these are sent anew; a row that it suspects for nothing is written like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import NamedTuple

from reliable_imports.writes.identifiers import literal, quoted
from reliable_imports.writes.target import Check, Column, Index, Reference, Target

WITH_INPUT_CHECK = 160_000
"""The first server that says of a text whether a type takes it, without raising."""

TAKES_ANY_TEXT = frozenset({"text", "character varying"})
_NOT_NULL, _FOREIGN_KEY, _UNIQUE, _CHECK, _EXCLUSION = "23502", "23503", "23505", "23514", "23P01"
_DATA_EXCEPTION = "22"
_NEWER_DATA = "RI004"


class Foresight(Enum):
    """What a refusal has taught."""

    NEW = "new"
    """From now on such rows are suspected."""
    KNOWN = "known"
    """Such rows are suspected already."""
    NONE = "none"
    """Nothing foresees such a refusal."""


class Refusal(NamedTuple):
    """A kind of refusal.

    Attributes:
        sqlstate: what the server says, or its class.
        by: the column that must have a value, or the constraint; empty where all columns are looked at.
    """

    sqlstate: str
    by: str = ""


UNREADABLE = Refusal(_DATA_EXCEPTION)
"""A text is no value of its column's type."""

NEWER = Refusal(_NEWER_DATA)
"""A later item has written the row that an item wants to write which is repeated; see `write_as_one_v1`."""

_Refuser = Column | Reference | Check | Index


class Prediction:
    """What rows with some columns of a table may be suspected for.

    Attributes:
        foreseeable: all refusals that can be foreseen.
    """

    def __init__(self, target: Target, columns: Sequence[Column], server_version: int, *, key: Index | None) -> None:
        """
        Args:
            key: the index by which a row is found that is to be updated; None if rows are only inserted.
        """
        self._table = target.name
        self._columns = columns
        self._key = key
        self._refusers = _refusers(target, columns, key)
        texts = {UNREADABLE} if server_version >= WITH_INPUT_CHECK else set()
        self.foreseeable = frozenset({*self._refusers, *texts, NEWER})
        self._called = _called(self._refusers)
        self._met: frozenset[Refusal] = frozenset()
        self._is_tried = False

    @property
    def suspected(self) -> frozenset[Refusal]:
        """The refusals that are looked for: for the first rows all that can be foreseen, then those that were met."""
        return self._met if self._is_tried else self.foreseeable

    def note_tried(self) -> None:
        """Take note that the server has been given rows, and what it has refused was learned."""
        self._is_tried = True

    def learn(self, sqlstate: str, table: str | None, column: str | None, constraint: str | None) -> Foresight:
        """Take note of what the server has refused a row for."""
        if sqlstate.startswith(_DATA_EXCEPTION) or (sqlstate == _CHECK and not table):  # a domain's, which has no table
            refusal = UNREADABLE
        else:
            refusal = Refusal(sqlstate, (column if sqlstate == _NOT_NULL else constraint) or "")
            refusal = self._called.get(refusal, refusal)
        if refusal not in self.foreseeable:
            return Foresight.NONE
        is_new = refusal not in self.suspected
        self._met |= {refusal}
        return Foresight.NEW if is_new else Foresight.KNOWN

    def unreadable(self, texts: Sequence[str], instead: Iterable[int]) -> str | None:
        """A condition for rows of texts that are no values of their columns' types; None if any texts are.

        Args:
            texts: SQL for the text of each column.
            instead: places whose value is not the text alone.
        """
        others = set(instead)
        conditions = [
            f"pg_catalog.pg_input_is_valid({text}, {literal(column.exact_type)}) IS FALSE"
            for place, (text, column) in enumerate(zip(texts, self._columns, strict=True))
            if place not in others and column.exact_type not in TAKES_ANY_TEXT
        ]
        return " OR ".join(conditions) or None

    def suspects(self, suspected: AbstractSet[Refusal], place: str) -> list[str]:
        """A SELECT of *place* for each reason to suspect rows of `given`, which has the typed columns.

        Args:
            suspected: the refusals that are looked for.
        """
        found = []
        for refusal in sorted(suspected & self._refusers.keys()):
            refuser = self._refusers[refusal]
            if isinstance(refuser, Index):
                found += [self._repeats(refuser, place), self._stands(refuser, place)]
            else:
                found.append(f"SELECT {place} FROM given WHERE {_refuses(refuser)}")
        return found

    def refuses_row_alone(self) -> str | None:
        """A condition for rows of `given` that are refused whatever stands in the table; None if none is."""
        conditions = [_refuses(each) for each in self._refusers.values() if isinstance(each, Column | Check)]
        return " OR ".join(conditions) or None

    def in_the_way(self, suspected: AbstractSet[Refusal]) -> str:
        """A condition for refusals of which nobody knows whether they would have come in the row's turn.

        A row that was left out is written after the rows behind it. If it is refused by what looks at the row alone, or
        at its parents, it would have been refused in its turn too. If another row holds what it wants, that one may
        have come later; but not where this was looked for: of several rows that want the same, only the first is no
        suspect then.

        Args:
            suspected: the refusals that were looked for.
        """
        looked_for = {refusal for refusal in suspected if refusal.sqlstate == _UNIQUE}
        known = sorted(literal(name.by) for name, refusal in self._called.items() if refusal in looked_for)
        others = f" AND failed_constraint <> ALL (ARRAY[{', '.join(known)}])" if known else ""
        return f"failed_sqlstate IN ({literal(_UNIQUE)}, {literal(_EXCLUSION)}){others}"

    def _repeats(self, index: Index, place: str) -> str:
        """Rows of which an earlier one is equal to the index."""
        parts = _parts_of(index)
        names = [f"value_{number}" for number in range(1, len(parts) + 1)]
        numbers = ", ".join(map(str, range(1, len(parts) + 1)))
        values = ", ".join(f"given.{self._exact(name)}" for name, _ in parts)
        same = " AND ".join(
            f"given.{self._exact(name)} OPERATOR({equals}) twice.{value}"
            for (name, equals), value in zip(parts, names, strict=True)
        )
        return (
            f"SELECT given.{place} FROM given JOIN (SELECT {values}, pg_catalog.min({place}) FROM given "
            f"GROUP BY {numbers} HAVING pg_catalog.count(*) > 1) AS twice ({', '.join(names)}, first) "
            f"ON {same} WHERE given.{place} > twice.first"
        )

    def _stands(self, index: Index, place: str) -> str:
        """Rows of which one that stands under another key is equal to the index."""
        conditions = self._same(index, "given")
        if self._key is not None:
            conditions += f" AND ({self._same(self._key, 'given')}) IS NOT TRUE"
        # Looked for row by row: no plan reads the table.
        standing = f"SELECT true FROM {self._table} AS stands WHERE {conditions} LIMIT 1"
        return f"SELECT {place} FROM given WHERE ({standing})"

    def _same(self, index: Index, row: str) -> str:
        """Whether the row that stands and a row of `given` are equal to the index."""
        return " AND ".join(
            f"stands.{quoted(name)} OPERATOR({equals}) {row}.{self._exact(name)}" for name, equals in _parts_of(index)
        )

    def _exact(self, name: str) -> str:
        """A column of `given` as it is stored."""
        (column,) = [column for column in self._columns if column.name == name]
        return f"{quoted(name)}::{column.exact_type}"


def _parts_of(index: Index) -> Sequence[tuple[str, str]]:
    """The columns of a plain index, and what finds their values equal."""
    return [(part.column, part.equals) for part in index.parts if part.column is not None]


def _refusers(target: Target, columns: Sequence[Column], key: Index | None) -> Mapping[Refusal, _Refuser]:
    """What refuses rows with these columns. Of a column that is not given, the default decides."""
    given = frozenset(column.name for column in columns)
    found: dict[Refusal, _Refuser] = {
        Refusal(_NOT_NULL, column.name): column for column in columns if column.is_not_null
    }
    for reference in target.references:
        if given.issuperset(pair.column for pair in reference.pairs):
            found[Refusal(_FOREIGN_KEY, reference.name)] = reference
    for check in target.checks:
        if given.issuperset(check.reads):
            found[Refusal(_CHECK, check.name)] = check
    if key is None or (key.can_be_asked and given.issuperset(key.columns)):
        for index in target.indexes:
            if index is not key and index.can_be_asked and given.issuperset(index.columns):
                found[Refusal(_UNIQUE, index.name)] = index
    return found


def _called(refusers: Mapping[Refusal, _Refuser]) -> Mapping[Refusal, Refusal]:
    """Refusals as the server names them in partitions, but for a name that stands for several."""
    found = [
        (Refusal(refusal.sqlstate, name), refusal)
        for refusal, refuser in refusers.items()
        if isinstance(refuser, Index | Reference)
        for name in refuser.names
    ]
    times = Counter(name for name, _ in found)
    return {name: refusal for name, refusal in found if times[name] == 1}


def _refuses(refuser: Column | Reference | Check) -> str:
    """Whether a row of `given` is refused."""
    match refuser:
        case Column():
            return f"given.{quoted(refuser.name)} IS NULL"
        case Reference():
            return _lacks_parent(refuser)
        case Check():
            return f"({refuser.sql}) IS FALSE"


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
