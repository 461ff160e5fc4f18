"""Which declared writes may share a statement: rows of one kind, none of which meets another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.writes.joined_texts import columns_of_texts
from reliable_imports.writes.plan import Plan, Write
from reliable_imports.writes.row_texts import Expressions

_MAX_KINDS = 8


class RowKind(NamedTuple):
    """Rows that one statement can write, and the items that have declared them, one each."""

    plan: Plan
    expressions: Expressions
    writes: Sequence[Write]
    items: Sequence[ItemRecord]
    columns: Sequence[str] | None
    """See `columns_of_texts`; None where a text holds a separator."""


class RowsByKind:
    """Writes that wait, by kind of row.

    Attributes:
        why_not: they cannot be sent as columns for this reason; empty if they can.
        are_distinct: no row would meet another one.
    """

    def __init__(self, waiting: Sequence[ItemRecord]) -> None:
        self.why_not, self.kinds = _kinds_of(waiting)
        self.are_distinct = _have_distinct_keys(self.kinds)


def _kinds_of(waiting: Sequence[ItemRecord]) -> tuple[str, Sequence[RowKind]]:
    """The writes of items that have declared one each, to one table, by kind of row; or why they cannot be sent so."""
    kinds: dict[tuple[Plan, Expressions], tuple[list[Write], list[ItemRecord]]] = {}
    for item in waiting:
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
            kinds[key] = kind = [], []
        writes, items = kind
        writes.append(write)
        items.append(item)
    if len({plan.target.name for plan, _ in kinds}) > 1:
        return "neighbours write to another table", ()
    return "", [
        RowKind(*key, writes, items, columns_of_texts([write.texts for write in writes]))
        for key, (writes, items) in kinds.items()
    ]


def _have_distinct_keys(kinds: Sequence[RowKind]) -> bool:
    """Whether no row would meet another one: one INSERT cannot touch a row twice.

    The server refuses to, should different texts be one key to it. But it does not notice where rows of several kinds
    have a statement each, or where rows that change nothing are left out.
    """
    keys = [write.key for kind in kinds for write in kind.writes if write.key is not None]
    if len(keys) != len(set(keys)):
        return False
    if len(kinds) == 1 and not kinds[0].plan.many_rows.spares_sequence:
        return True
    return all(
        kind.plan.key.show_equality([write.key for write in kind.writes if write.key is not None]) for kind in kinds
    )
