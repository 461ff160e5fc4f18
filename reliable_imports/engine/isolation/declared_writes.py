"""Writes that items have only declared: sent together when the chunk ends or somebody reads, isolated on the server."""

from __future__ import annotations

import psycopg2

from reliable_imports.engine.isolation.as_columns import AsColumns
from reliable_imports.engine.isolation.as_statements import send_as_statements, statements_of
from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.engine.isolation.row_images import RowImages
from reliable_imports.engine.isolation.row_kinds import RowsByKind
from reliable_imports.engine.isolation.transaction import ChunkSpoiled, ChunkTooLarge, ChunkTransaction
from reliable_imports.engine.isolation.write_error import WriteError
from reliable_imports.writes.plans import Plans


class DeclaredWrites:
    """The declared writes of one chunk. They are sent as columns, or where that is not possible as statements.

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
        self.lost: ChunkSpoiled | ChunkTooLarge | None = None
        self._transaction = transaction
        self._plans = plans
        self._check_deferred_sql = check_deferred_sql
        self._as_columns = AsColumns(transaction, plans, as_one=as_one)
        self._images = images
        self._waiting: list[ItemRecord] = []
        self._by_kind: RowsByKind | None = None
        self._errors: list[WriteError] = []

    @property
    def unforeseen(self) -> float:
        """How many of those that were refused, about, nothing could have told beforehand."""
        return self._as_columns.unforeseen

    @property
    def went_as_one(self) -> bool:
        """See `AsColumns`."""
        return self._as_columns.went_as_one

    @property
    def are_waiting(self) -> bool:
        return bool(self._waiting)

    def queue(self, item: ItemRecord) -> None:
        """The item is complete, and its writes wait for those of its neighbours."""
        self._waiting.append(item)
        self._by_kind = None

    def prepare(self) -> None:
        """Do what can be done of a flush before the transaction begins."""
        self._by_kind = RowsByKind(self._waiting)

    def flush(self) -> list[ItemRecord]:
        """Send what waits; return the items whose writes found no room. The savepoint of others must be closed."""
        if not self._waiting:
            return []
        self.lost = ChunkSpoiled()
        waiting, self._waiting = self._waiting, []
        unsent: list[ItemRecord] = []
        if self._images is not None:
            self._images.before([(item, write) for item in waiting for write in item.declared])
        by_kind, self._by_kind = self._by_kind or RowsByKind(waiting), None
        errors = self._as_columns.send(waiting, by_kind)
        if errors is None:
            errors, unsent = send_as_statements(waiting, self._transaction, self._check_deferred_sql)
        self.sent += len(waiting) - len(unsent)
        self.refused += len(errors)
        self._errors += errors
        if any(error.is_of_the_table for error in errors):
            self._plans.forget()
        if self._images is not None:
            self._images.after()
        self.lost = ChunkTooLarge() if unsent else None
        return unsent

    def take_errors(self) -> list[WriteError]:
        """What the server has refused since this was asked last."""
        # Not kept here: an item refers to its chunk, which would then wait for the garbage collector.
        errors, self._errors = self._errors, []
        return errors

    def refuse_again(self, item: ItemRecord) -> psycopg2.Error | None:
        """The error of writes that were refused, with what `apply_writes` is not told: where it came from.

        They are sent once more, and undone. None if the server takes them now.
        """
        savepoint = self._transaction.new_savepoint()
        self._transaction.send_for_all(f"SAVEPOINT {savepoint}")
        error = None
        try:
            statements, _ = statements_of(item, self._transaction)
            self._transaction.cursor.execute("; ".join(filter(None, [statements, self._check_deferred_sql])))
        except psycopg2.Error as refusal:
            error = refusal
        self._transaction.send_for_all(f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}")
        return error
