"""What the items of one chunk write: statements of their own under savepoints, and declared writes sent together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reliable_imports.engine.isolation.declared_writes import DeclaredWrites
from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.engine.isolation.row_images import RowImages
from reliable_imports.engine.isolation.savepoints import Savepoints
from reliable_imports.engine.isolation.statements import Statements
from reliable_imports.engine.isolation.transaction import MAX_SUBTRANSACTIONS, ChunkTooLarge, ChunkTransaction
from reliable_imports.postgres.connect import Connection
from reliable_imports.writes.plans import Plans


@dataclass(frozen=True, slots=True)
class Isolation:
    """How the items of a chunk are kept apart.

    Attributes:
        one_by_one: the chunk has one item, and every error must be pinned on it.
        is_timed: an item, or each of its statements, has only so much time.
        check_deferred_sql: checks an item's deferred constraints at once; None in a database without any.
        as_one: few declared writes have been refused of late that nothing foresees, so rows are tried as one statement.
        items_together: that may share a savepoint.
    """

    one_by_one: bool
    is_timed: bool
    check_deferred_sql: str | None
    as_one: bool
    items_together: int


class ChunkWrites:
    """One chunk's transaction, and the two ways to write in it.

    Attributes:
        plans: what is known of the tables that are written to; more is added.
        statements: what is known of the statements that items send; likewise.
        images: what rows are before and after the items that write them; None if nobody asks.
    """

    def __init__(
        self,
        connection: Connection,
        plans: Plans,
        statements: Statements,
        isolation: Isolation,
        *,
        begin: Callable[[], None] | None = None,
        keeps_images: bool = False,
    ) -> None:
        """
        Args:
            begin: see ChunkTransaction.
        """
        self.plans = plans
        self.statements = statements
        self.check_deferred_sql = isolation.check_deferred_sql
        self.transaction = ChunkTransaction(connection, begin)
        self.images = RowImages(self.transaction) if keeps_images else None
        self.savepoints = Savepoints(
            self.transaction,
            statements,
            items_together=isolation.items_together,
            one_by_one=isolation.one_by_one,
            is_timed=isolation.is_timed,
        )
        self.declared = DeclaredWrites(
            self.transaction,
            plans,
            check_deferred_sql=isolation.check_deferred_sql,
            as_one=isolation.as_one,
            images=self.images,
        )

    @property
    def is_full(self) -> bool:
        """Whether the next item might need a subtransaction more than there should be."""
        return self.transaction.subtransactions >= MAX_SUBTRANSACTIONS and not self.savepoints.is_open

    @property
    def written_items(self) -> int:
        """How many items have written something that stands."""
        own, declared = self.savepoints, self.declared
        return declared.sent - declared.refused + own.items - own.undone

    def queue_declared(self, item: ItemRecord) -> None:
        """The item is complete, and what it has declared waits for its neighbours.

        Raises:
            ChunkTooLarge: there is no room for the writes of some neighbours, which must not wait for this one.
        """
        if self.images is not None and self.images.share_rows(item):
            self.flush_declared()
            self.images.share_rows(item)
        self.declared.queue(item)

    def flush_declared(self) -> None:
        """Send the declared writes of the items before this one.

        Raises:
            ChunkTooLarge: there is no room for some of them.
        """
        if self.declared.are_waiting:
            self.savepoints.close()
            if self.declared.flush():
                raise ChunkTooLarge

    def finish(self) -> list[ItemRecord]:
        """Send the declared writes, and make sure that the transaction is still the one that was begun.

        `declared.take_errors` tells what the server refused. Returns the items whose writes found no room: they must
        go into the next chunk. What is pending then must be sent before COMMIT.
        """
        self.savepoints.close()
        unsent = self.declared.flush()
        self.declared.lost = None  # whoever called this is told of them
        if not self.transaction.is_open:  # a statement was refused, and its savepoint is pending
            self.transaction.send_for_all()
        self.transaction.require_open()
        return unsent
