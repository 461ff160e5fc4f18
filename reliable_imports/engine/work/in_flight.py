"""What overlaps: a chunk that the server is at work on, and the items after it, which are tried meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE

from reliable_imports.engine.work.attempt import Attempt, StoredItem
from reliable_imports.engine.work.chunk import Chunk
from reliable_imports.engine.work.claims import Claim, ReadAhead
from reliable_imports.engine.work.recorder import CompletedItems
from reliable_imports.postgres.connect import Connection

_MOMENT_SECONDS = 20e-6
"""Long enough for the other thread to have the interpreter, and short beside what it does with it."""


class InFlight:
    """A chunk that is finished in a thread, which lets go of the interpreter while it waits for the server.

    User code runs in the worker's own thread alone. So only chunks that call none when they are finished are in flight.

    Attributes:
        chunk: whose items were tried.
        behind: those that come next.
    """

    def __init__(
        self,
        connection: Connection,
        chunk: Chunk,
        behind: ReadAhead,
        finish: Callable[[], list[Attempt]],
    ) -> None:
        """
        Args:
            connection: nobody else sends anything on it until the chunk lands.
            finish: writes, records and commits the chunk; returns the attempts that found no room.
        """
        self.chunk = chunk
        self.behind = behind
        self._connection = connection
        self._carried: list[Attempt] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(finish,), daemon=True)
        self._thread.start()

    def land(self) -> list[Attempt]:
        """Wait for the end; return the attempts that found no room. Raises whatever finishing the chunk has raised."""
        self._thread.join()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback leads here, and would keep the chunk until the garbage is collected
        return self._carried

    def give_way(self) -> None:
        """Leave the interpreter to the thread while it has something to send: the server must not wait for it."""
        while self._connection.get_transaction_status() != TRANSACTION_STATUS_ACTIVE and self._thread.is_alive():
            time.sleep(_MOMENT_SECONDS)

    def abandon(self) -> None:
        """Break it off. Its transaction can be rolled back then, unless it was committed already."""
        while self._thread.is_alive():
            with contextlib.suppress(psycopg2.Error):  # nothing is under way at this moment
                self._connection.cancel()
            self._thread.join(timeout=0.1)

    def _run(self, finish: Callable[[], list[Attempt]]) -> None:
        try:
            self._carried = finish()
        except BaseException as error:  # raised where it lands
            self._error = error


@dataclass(slots=True)
class Ahead:
    """Items that are tried before they are claimed.

    Attributes:
        range_number: of all of them.
        items: what comes next.
        trying: the numbers of those that were tried, or are being tried.
        chunk: that they are part of. Its transaction begins when one of them needs the database.
        claim: what that transaction holds.
        completed: what will be told of them if all goes well.
        is_lost: it could not begin, so the items must be tried again.
        error: why not, if that was an error.
    """

    range_number: int
    items: Sequence[StoredItem]
    trying: list[int] = field(default_factory=list)
    chunk: Chunk = field(init=False)
    claim: Claim | None = None
    completed: CompletedItems | None = None
    is_lost: bool = False
    error: Exception | None = None

    def is_begun_by(self, claim: Claim) -> bool:
        """Whether the claim begins with these items, and none of them was left without a transaction that it needed."""
        return not self.is_lost and claim.is_published and claim.items[0].item_number == self.items[0].item_number
