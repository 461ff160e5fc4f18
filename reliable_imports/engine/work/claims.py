"""Which items a worker takes next: ranges of its batch that nobody else holds, and items that wait for another try."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.engine.isolation.session import MAX_SUBTRANSACTIONS
from reliable_imports.engine.work.attempt import StoredItem
from reliable_imports.models import Batch
from reliable_imports.postgres.connect import BEGIN, roll_back
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor

_SUSPECTS = load("suspects.sql")
_WORK = load("work.sql")

MAX_ITEMS = 1000
"""Items in a transaction; fewer where each needs a subtransaction, or takes long."""

DEATH_SECONDS = 0.1
"""How long the server may show the session of a dead worker after it has let go of its locks."""

_MAX_IDLE = timedelta(minutes=15)
_MAX_BYTES = 1_000_000
"""Of source data, as the database stores it, in memory at once; but for the first item, which may be larger."""


class Suspected(Exception):
    """The next range was in the hands of a worker that is gone: its items must be tried where they can do no harm."""

    @property
    def range_number(self) -> int:
        return int(self.args[0])  # survives the way from a child process


class Claim(NamedTuple):
    """What one transaction holds.

    Attributes:
        range_number: 0 for items that are tried again after their range has moved on.
        first_item: where the range stands; None for such items.
        is_suspect: one of the items may have killed a worker.
        is_shared: another run that lives is about to take this range, or did.
        has_elder: one of those began before this run.
        is_announced: the run has said before that it would take this range, so it will be known where it died.
    """

    transaction_id: int
    range_number: int
    first_item: int | None
    items: list[StoredItem]
    is_suspect: bool
    is_shared: bool = False
    has_elder: bool = False
    is_announced: bool = True


class Claims:
    """Claims items for one run. All that it holds in memory was read from the database: items never change."""

    def __init__(
        self,
        batch: Batch,
        processor: BaseProcessor,
        run_id: int,
        *,
        prepares: bool,
    ) -> None:
        """
        Args:
            prepares: items are prepared before they are tried, without a lock.
        """
        self.settings = ""
        """SQL that settles a chunk's transaction, and leaves nothing behind in the session."""
        self.left: set[int] = set()
        """Suspect ranges in which another worker looks for the killer; 0 for the items that wait for another try."""
        self._batch = batch
        self._processor = processor
        self._run_id = run_id
        self._prepares = prepares
        self._from_range = 0
        self._ahead: list[StoredItem] = []
        self._ahead_range = -1

    def attach(self, connection: Connection) -> None:
        """Claim on *connection* from now on."""
        self._connection = connection
        self.settings = _transaction_settings(connection, self._processor)

    def forget(self) -> None:
        """What was read ahead may not be there."""
        self._ahead = []
        self._ahead_range = -1

    def went_on(self, claim: Claim, done: int) -> None:
        """The first *done* items of a claim were committed; the others need not be read again."""
        if claim.first_item is not None:
            self._from_range = claim.range_number
            self._ahead = claim.items[done:]
            self._ahead_range = claim.range_number

    def announce(self, cursor: Any, claim: Claim) -> None:
        """Let go of the range, but say that this run is at it: for others to choose, and in case it dies there."""
        if claim.range_number:
            self._ahead, self._ahead_range = claim.items, claim.range_number
            self._from_range = claim.range_number
        cursor.execute(_WORK["announce"] + "; COMMIT", {"run_id": self._run_id, "range_number": claim.range_number})

    def go_alone(self, range_number: int, until: int | None) -> None:
        """Say which item is tried alone next, in case this process is lost with the one that watches it."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                _SUSPECTS["go_alone"],
                {"batch_id": self._batch.id, "run_id": self._run_id, "range_number": range_number, "until": until},
            )

    def next_range(self, cursor: Any, limit: int) -> Claim | None:
        """The next open range that nobody holds or has announced, from the last one on and then from the beginning.

        If there are only ranges that others have announced, one whose worker is slow, where that is safe: a range that
        is being prepared belongs to its oldest run.
        """
        are_shared = False
        for claim in self._free_ranges(cursor):
            if not claim.is_shared:
                return claim
            are_shared = True
        if are_shared:
            time.sleep(DEATH_SECONDS)
            for claim in self._free_ranges(cursor, take_anyway=True):
                if not claim.is_shared or not self._prepares or (claim.is_announced and not claim.has_elder):
                    return claim
        return None

    def _free_ranges(self, cursor: Any, *, take_anyway: bool = False) -> Iterator[Claim]:
        """One after the other; each is let go when the next one is asked for."""
        for from_range in dict.fromkeys((self._from_range, 0)):
            next_range = from_range
            while claim := self._query_range(cursor, next_range, take_anyway=take_anyway):
                if claim.is_suspect and claim.range_number not in self.left:
                    raise Suspected(claim.range_number)
                if not claim.is_suspect:
                    yield claim
                next_range = claim.range_number + 1
                roll_back(self._connection)
            roll_back(self._connection)

    def of_range(self, range_number: int, until: int | None) -> Callable[[Any, int], Claim | None]:
        """What claims the items of one range, up to *until*; it waits for whoever holds the range."""

        def claim_of(cursor: Any, limit: int) -> Claim | None:
            claim = self._query_range(cursor, range_number, take_anyway=True, wait=True)
            if claim is None or claim.range_number != range_number:
                return None
            if until is not None and claim.items[0].item_number > until:
                return None
            return claim

        return claim_of

    def _query_range(self, cursor: Any, from_range: int, *, take_anyway: bool, wait: bool = False) -> Claim | None:
        waiting = f"{_WORK['wait_for_range']}; " if wait else ""
        have_until = self._ahead[-1].item_number if self._ahead else 0
        have_bytes = sum([len(item.text or item.raw or b"") for item in self._ahead])
        cursor.execute(
            f"{BEGIN}; {self.settings}{waiting}{_WORK['claim_chunk']}",
            {
                "batch_id": self._batch.id,
                "range_number": from_range,
                "run_id": self._run_id,
                "from_range": from_range,
                "have_range": self._ahead_range if self._ahead else -1,
                "have_until": have_until,
                "limit": MAX_ITEMS,
                # At least one: those that are held may be of another range, or done by others meanwhile.
                "max_bytes": max(1, _MAX_BYTES - have_bytes),
                "take_anyway": take_anyway,
            },
        )
        rows = cursor.fetchall()
        if not rows:
            return None
        transaction_id, range_number, next_item, *is_which = rows[0][0]
        items = [StoredItem(*row[1:]) for row in rows[1:]]
        kept: list[StoredItem] = []
        if self._ahead and range_number == self._ahead_range:
            kept = [item for item in self._ahead if item.item_number >= next_item]
        return Claim(transaction_id, range_number, next_item, kept + items, *map(bool, is_which))

    def due_retries(self, cursor: Any, limit: int) -> Claim | None:
        """Items that wait for another try and are due."""
        claim = self._query_retries(cursor, min(limit, MAX_SUBTRANSACTIONS))
        if claim is None or not claim.is_suspect:
            return claim
        if claim.range_number not in self.left:
            raise Suspected(claim.range_number)
        return None

    def one_retry(self, cursor: Any, limit: int) -> Claim | None:
        """Likewise, one item alone; it waits for whoever holds the last ones."""
        while (claim := self._query_retries(cursor, 1)) is None:
            roll_back(self._connection)
            cursor.execute(_WORK["due_retry"], {"batch_id": self._batch.id})
            if (due := cursor.fetchone()) is None:
                return None
            cursor.execute(_WORK["wait_for_retries"], {"batch_id": self._batch.id, "items": list(due)})
        return claim

    def _query_retries(self, cursor: Any, limit: int) -> Claim | None:
        cursor.execute(
            f"{BEGIN}; {self.settings}{_WORK['claim_retries']}",
            {"batch_id": self._batch.id, "run_id": self._run_id, "limit": limit},
        )
        rows = cursor.fetchall()
        if not rows:
            return None
        transaction_id, are_suspect, are_announced = rows[0][:3]
        items = [StoredItem(*row[3:]) for row in rows]
        return Claim(transaction_id, 0, None, items, are_suspect, is_announced=are_announced)


def _transaction_settings(connection: Connection, processor: BaseProcessor) -> str:
    """Settings of a chunk's transaction, which leave nothing behind in the session."""
    # A worker that is frozen in the middle of a chunk gives its range back after this long.
    longest = max(_MAX_IDLE, 2 * (processor.item_timeout or _MAX_IDLE / 2))
    settings = f"SET LOCAL idle_in_transaction_session_timeout = '{round(longest.total_seconds())}s'; "
    if _notices_dead_clients(connection):
        # The locks of a worker that was killed while a statement runs are free within half a second.
        settings += "SET LOCAL client_connection_check_interval = 500; "
    limits = [limit for limit in (processor.statement_timeout, processor.item_timeout) if limit is not None]
    if limits:
        settings += f"SET LOCAL statement_timeout = {max(1, round(min(limits).total_seconds() * 1000))}; "
    return settings


def _notices_dead_clients(connection: Connection) -> bool:
    """Whether the server can look for a client that is gone while a statement runs: from 14 on, on some systems."""
    if connection.server_version < 140_000:
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; SET LOCAL client_connection_check_interval = 500; ROLLBACK")
    except psycopg2.Error:
        if connection.closed:
            raise
        roll_back(connection)
        return False
    return True
