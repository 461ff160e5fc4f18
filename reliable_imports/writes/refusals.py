"""Asks the server what an error is about where it does not say: which column refuses its value, and what a partition's
table and constraint are called for all partitions alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from reliable_imports.items.failure import Named, Refused
from reliable_imports.items.fingerprint import server_places
from reliable_imports.postgres.queries import load
from reliable_imports.writes.identifiers import literal
from reliable_imports.writes.plan import Write
from reliable_imports.writes.target import Column, Target

_WRITES = load("writes.sql")
_WITH_ERROR_INFO = 160_000
_LENGTH = re.compile(r"(?:character varying|character|bit varying|bit)\((\d+)\)")
_TAKES_ALL = frozenset({"text", "character varying", "bytea"})
_TOO_LONG = "22001"
_CHECK = "23514"


class Cell(NamedTuple):
    """A value that a column may have refused; *row* is whose, as the caller counts."""

    row: int
    table: str
    column: Column
    text: str


def names_no_column(sqlstate: str, table: str | None, column: str | None, constraint: str | None) -> bool:
    """Whether an error is about a value, as far as its class tells, and does not say of which column."""
    if column is not None:
        return False
    # A domain has a check, but no table.
    return (sqlstate.startswith("22") and constraint is None) or (sqlstate == _CHECK and table is None)


def is_raised_by_code(context: str | None) -> bool:
    """Whether a function of the team's in the database has brought an error about, and not the row as it was given."""
    return bool(server_places(context))


def cells_of(row: int, writes: Sequence[Write]) -> Iterator[Cell]:
    for write in writes:
        target = write.plan.target
        instead = {place for place, _ in write.expressions}
        for place, (name, text) in enumerate(zip(write.plan.columns, write.texts, strict=True)):
            column = target.columns[name]
            if text is not None and place not in instead and column.exact_type not in _TAKES_ALL:
                yield Cell(row, target.root, column, text)


def refusals_query(cells: Sequence[Cell], server_version: int) -> str:
    """SQL that answers one JSON text: of each cell that its column refuses, its place and SQLSTATE."""
    texts = f"ARRAY[{', '.join(literal(cell.text) for cell in cells)}]::text[]"
    types = f"ARRAY[{', '.join(literal(cell.column.exact_type) for cell in cells)}]::text[]"
    which = "refused_values" if server_version >= _WITH_ERROR_INFO else "refused_values_before_16"
    return _WRITES[which].format(texts=texts, types=types)


def refusals(cells: Sequence[Cell], answer: str | None) -> dict[int, list[Refused]]:
    """By row, the columns that refuse their values."""
    found: dict[int, list[Refused]] = {}
    states: dict[int, str] = dict(json.loads(answer)) if answer else {}
    for place, cell in enumerate(cells):
        state = states.get(place) or _limit(cell)
        if state is not None:
            found.setdefault(cell.row, []).append(Refused(cell.table, cell.column.name, state, cell.text))
    return found


def _limit(cell: Cell) -> str | None:
    """What a cast does not tell: it cuts where an assignment refuses."""
    length = _LENGTH.fullmatch(cell.column.exact_type)
    return _TOO_LONG if length is not None and len(cell.text.rstrip(" ")) > int(length[1]) else None


def named_by_target(target: Target, schema: str, table: str, constraint: str | None) -> Named | None:
    """What `root_names` would answer, if what is known of a target says it: nothing is to be asked then.

    None of a partition, which has names of its own, of a name that needs quotes, and of what the target does not list.
    """
    if target.root != f"{schema}.{table}":
        return None
    if constraint is None:
        return Named(target.root)
    # A CHECK may be called like an index that is no constraint: what a constraint is over counts.
    over: dict[str, AbstractSet[str]] = {
        index.name: index.columns if index.is_constraint else frozenset() for index in target.indexes
    }
    over |= {check.name: check.reads for check in target.checks}
    over |= {each.name: {pair.column for pair in each.pairs} for each in target.references}
    return Named(target.root, constraint, tuple(sorted(over[constraint]))) if constraint in over else None


def named_by_server(row: Sequence[Any] | None, table: str | None, constraint: str | None) -> Named:
    """What `root_names` answers; the names as they were given if it does not know the table."""
    if row is None or row[0] is None:
        return Named(table, constraint)
    root, root_constraint, columns = row
    return Named(root, root_constraint or constraint, tuple(columns or ()))
