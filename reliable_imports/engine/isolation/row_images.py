"""What stands in rows before and after the items that write them, for whoever only tries items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.engine.isolation.transaction import ChunkTransaction
from reliable_imports.writes.plan import Plan, Write

Row = Mapping[str, Any]


class RowImage(NamedTuple):
    """One row that an item writes.

    Attributes:
        before, after: its columns; None where there is no row.
        is_known: False where the row could not be looked for, so that neither tells anything.
    """

    write: Write
    before: Row | None
    after: Row | None
    is_known: bool


class RowImages:
    """The images of one chunk. Rows are looked up by the keys that items declare."""

    def __init__(self, transaction: ChunkTransaction) -> None:
        self._transaction = transaction
        self._of: dict[int, list[RowImage]] = {}
        self._looked_at: Sequence[tuple[ItemRecord, Write]] = ()
        self._before: list[Row | None] = []
        self._known: list[bool] = []
        self._waiting: set[tuple[int, tuple[str | None, ...]]] = set()

    def of(self, item: ItemRecord) -> list[RowImage]:
        """What one item of the chunk has written."""
        return self._of.get(id(item), [])

    def share_rows(self, item: ItemRecord) -> bool:
        """Whether an item that waits writes a row that *item* writes, too: then each must be looked at by itself."""
        keys = {(write.plan.target.oid, write.key) for write in item.declared if write.key is not None}
        if keys & self._waiting:
            return True
        self._waiting |= keys
        return False

    def before(self, writes: Sequence[tuple[ItemRecord, Write]]) -> None:
        """Look at the rows that are about to be written."""
        self._waiting.clear()
        self._looked_at = writes
        self._before, self._known = self._look()

    def after(self) -> None:
        """Look at them again; what was written stands, or its item fails."""
        rows, known = self._look()
        for place, (item, write) in enumerate(self._looked_at):
            before, after = self._before[place], rows[place]
            is_known = self._known[place] and known[place]
            if is_known and before is None and after is None and write.plan.always_inserts(write):
                after = dict(zip(write.plan.columns, write.texts, strict=True))
            elif before is None and after is None:
                is_known = False  # a trigger has given it another key, or has left it out
            self._of.setdefault(id(item), []).append(RowImage(write, before, after, is_known))
        self._looked_at = ()

    def _look(self) -> tuple[list[Row | None], list[bool]]:
        """For each write the row that stands now, and whether it could be looked for."""
        found: list[Row | None] = [None] * len(self._looked_at)
        known = [write.key is not None or write.plan.always_inserts(write) for _, write in self._looked_at]
        by_plan: dict[Plan, list[int]] = {}
        for place, (_, write) in enumerate(self._looked_at):
            if write.key is not None:
                by_plan.setdefault(write.plan, []).append(place)
        for plan, places in by_plan.items():
            if self._query(plan, places, found):
                continue
            for place in places:  # one of the keys is no value of its column
                known[place] = self._query(plan, [place], found)
        return found, known

    def _query(self, plan: Plan, places: Sequence[int], found: list[Row | None]) -> bool:
        transaction = self._transaction
        statement = plan.standing_rows([self._looked_at[place][1] for place in places])
        rows = transaction.ask(statement)
        if rows is None:
            return False
        _, *names = [column.name for column in transaction.cursor.description or ()]
        for index, *values in rows:
            found[places[index]] = dict(zip(names, values, strict=True))
        return True
