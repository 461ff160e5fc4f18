"""Makes the chunks of one worker, and remembers what the last ones have taught."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import sqrt
from typing import Any

from reliable_imports.engine.isolation.chunk_writes import ChunkWrites, Isolation
from reliable_imports.engine.isolation.item_writes import ItemWrites
from reliable_imports.engine.isolation.statements import Statements
from reliable_imports.engine.isolation.transaction import MAX_SUBTRANSACTIONS
from reliable_imports.engine.process.observer import Observer
from reliable_imports.engine.work.chunk import Chunk
from reliable_imports.engine.work.claims import MAX_ITEMS
from reliable_imports.engine.work.tolerance import MustPause
from reliable_imports.engine.work.user_code import UserCode
from reliable_imports.errors import UnusableTarget
from reliable_imports.models import Batch
from reliable_imports.postgres.connect import Connection, discard_session, transaction
from reliable_imports.processor.context import Setting
from reliable_imports.processor.facts import facts_of
from reliable_imports.processor.this_process import process_id
from reliable_imports.writes.plans import Plans

_MAX_REMEMBERED = 100_000

_FEW_SURPRISES = 0.0016
"""Refusals that nothing foresees, of all declared writes: with more, most chunks hold one, and trying their rows as one
statement first is in vain."""

_MOST_TOGETHER = 20
"""Items that share a savepoint: as many as bring a thousand items into one transaction of fifty savepoints."""

_WEIGHT = 0.3
"""Of the last chunk, against those before it."""


class Pace:
    """How the next chunk is made, by what became of the last ones."""

    def __init__(self) -> None:
        self._unforeseen = 0.0
        self._undone = 0.0
        self._is_mixed = False
        self._went_as_one = False

    def committed(self, writes: ChunkWrites) -> None:
        """Take note of a chunk that was committed."""
        declared, own = writes.declared, writes.savepoints
        if declared.sent:
            self._unforeseen += _WEIGHT * (declared.unforeseen / declared.sent - self._unforeseen)
        if own.items:
            self._undone += _WEIGHT * (own.undone / own.items - self._undone)
        self._is_mixed = bool(own.items and declared.sent)
        self._went_as_one = declared.went_as_one

    @property
    def chunk_limit(self) -> int:
        """How many items a chunk may have.

        Where both kinds of writes meet, each item may need a subtransaction. If rows do not go as one statement, fifty
        subtransactions serve half of the items.
        """
        if self._is_mixed:
            return MAX_SUBTRANSACTIONS
        return MAX_ITEMS if self._went_as_one and self.as_one else MAX_ITEMS // 2

    @property
    def items_together(self) -> int:
        """How many items may share a savepoint.

        Of n items that do, each pays the nth part of it, and for each that fails up to n are repeated.
        """
        return max(2, min(_MOST_TOGETHER, round(1 / sqrt(max(self._undone, 1e-6)))))

    @property
    def as_one(self) -> bool:
        return self._unforeseen < _FEW_SURPRISES


class Chunks:
    """The chunks of one worker.

    Attributes:
        pace: how the next chunk is made.
    """

    def __init__(
        self,
        code: UserCode,
        batch: Batch,
        run_id: int,
        observer: Observer,
        *,
        check_deferred_sql: str | None,
        keeps_images: bool = False,
    ) -> None:
        """
        Args:
            check_deferred_sql: checks deferred constraints at once; None in a database without any.
            keeps_images: somebody asks what rows are before and after the items that write them.
        """
        self.pace = Pace()
        self._code = code
        self._batch = batch
        self._observer = observer
        self._check_deferred_sql = check_deferred_sql
        self._keeps_images = keeps_images
        self._lookup_cache: dict[tuple[Any, ...], Any] = {}
        self._setting = Setting(
            batch.id,
            batch.batch_type,
            run_id,
            self._lookup_cache,
            threading.get_ident(),
            process_id(),
            facts_of(code.processor).sensitive_names(),
        )
        self._plans = Plans()
        self._statements = Statements()

    def new(self, connection: Connection, *, one_by_one: bool, begin: Callable[[], None] | None = None) -> Chunk:
        """A chunk for the transaction that was begun on the connection.

        Args:
            begin: begins it when it is needed; see ChunkTransaction.
        """
        writes = self._writes(connection, one_by_one=one_by_one, begin=begin)
        return Chunk(self._code, self._batch, self._setting, writes, self._observer)

    def check_targets(self, connection: Connection) -> None:
        """Look at the tables that the processor says it writes to.

        Raises:
            MustPause: one of them cannot be written to, so no item could be imported.
        """
        processor = self._code.processor
        requests = facts_of(processor).write_requests()
        if not requests:
            return
        with transaction(connection):
            item = ItemWrites(chunk=self._writes(connection, one_by_one=True))
            for request in requests:
                try:
                    item.plan(request)
                except UnusableTarget as error:
                    raise MustPause(f"{type(processor).__qualname__} cannot write: {error}") from None

    def committed(self, chunk: Chunk, connection: Connection) -> None:
        """Learn from a chunk, and leave nothing of it behind in the session."""
        self.pace.committed(chunk.writes)
        if chunk.changed_session:
            discard_session(connection)
            self._plans.forget()
            self._statements.forget()
        if len(self._lookup_cache) > _MAX_REMEMBERED:
            self._lookup_cache.clear()

    def forget(self) -> None:
        """What undone items had looked up, and what was read of tables, may never have existed."""
        self._lookup_cache.clear()
        self._plans.forget()
        self._statements.forget()

    def _writes(
        self, connection: Connection, *, one_by_one: bool, begin: Callable[[], None] | None = None
    ) -> ChunkWrites:
        processor = self._code.processor
        isolation = Isolation(
            one_by_one=one_by_one,
            is_timed=processor.item_timeout is not None or processor.statement_timeout is not None,
            check_deferred_sql=self._check_deferred_sql,
            as_one=self.pace.as_one,
            items_together=self.pace.items_together,
        )
        return ChunkWrites(
            connection, self._plans, self._statements, isolation, begin=begin, keeps_images=self._keeps_images
        )
