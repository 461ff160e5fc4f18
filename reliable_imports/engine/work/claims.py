"""Which items a worker takes next: ranges of its batch that nobody else holds, and items that wait for another try."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence, Set
from datetime import timedelta
from itertools import dropwhile
from typing import Any, NamedTuple

import psycopg2

from reliable_imports.engine.isolation.transaction import MAX_SUBTRANSACTIONS
from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.work.attempt import StoredItem
from reliable_imports.engine.work.audit_log import AuditLog
from reliable_imports.items.failure import Failure
from reliable_imports.postgres.connect import BEGIN, Connection, roll_back, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor

_SUSPECTS = load("suspects.sql")
_WORK = load("work.sql")

MAX_ITEMS = 2000
"""Items in a transaction, where one statement writes their rows; fewer where it does not, or where items take long."""

MAX_IN_HAND = 2 * MAX_ITEMS
"""Items that a worker has in hand: those of a transaction, and as many that are tried while it ends."""

RETRIES = 0
"""In place of a range's number: the items that are tried again after their range has moved on."""

_ENOUGH_AHEAD = MAX_IN_HAND - MAX_ITEMS // 4
"""So that small chunks do not read a few items each."""

DEATH_SECONDS = 0.1
"""How long the server may show the session of a dead worker after it has let go of its locks."""

_AGAIN_SECONDS = 0.05
_NO_RANGE = -1
_MAX_IDLE = timedelta(minutes=15)
_MAX_BYTES = 2_000_000
"""Of source data, in memory at once; but for the first item, which may be larger. Servers before 14 do not tell what is
compressed, so what is stored is counted there."""


class Suspected(NamedTuple):
    """The next range was in the hands of a worker that is gone: its items must be tried where they can do no harm."""

    range_number: int


class Claim(NamedTuple):
    """What one transaction holds.

    Attributes:
        range_number: RETRIES for items that are tried again after their range has moved on.
        next_item: where the range stands; None for such items.
        last_item: where it ends; likewise.
        is_suspect: one of the items may have killed a worker.
        is_shared: another run that lives is about to take this range, or did.
        has_elder: one of those began before this run.
        is_published: the run has said before that it would take this range, so it will be known where it died.
    """

    transaction_id: int
    range_number: int
    next_item: int | None
    last_item: int | None
    items: list[StoredItem]
    is_suspect: bool
    is_shared: bool = False
    has_elder: bool = False
    is_published: bool = True


class ReadAhead(NamedTuple):
    """Items of the range that comes next, which need not be read again: items never change."""

    range_number: int = _NO_RANGE
    items: Sequence[StoredItem] = ()


class Claims:
    """Claims items for one run."""

    def __init__(
        self,
        connection: Connection,
        processor: BaseProcessor,
        audit_log: AuditLog,
        *,
        prepares: bool,
        left_to_others: Set[int],
    ) -> None:
        """
        Args:
            prepares: items are prepared before they are tried, without a lock.
            left_to_others: suspect ranges, or RETRIES, in which another worker looks for the killer.
        """
        self._connection = connection
        self._settings: str | None = None
        self._processor = processor
        self._statement_limit = _statement_limit(processor)
        self._without_limit = without_statement_limit(processor)
        self._audit_log = audit_log
        self._prepares = prepares
        self._left_to_others = left_to_others
        self._from_range = 0
        self._ahead = ReadAhead()
        self._following = ReadAhead()
        self._ours = {"batch_id": audit_log.batch_id, "run_id": audit_log.run_id}

    def attach(self, connection: Connection) -> None:
        """Claim on another connection from now on."""
        self._connection = connection
        self._settings = None
        self.forget()

    @property
    def settings(self) -> str:
        """SQL for the beginning of a transaction in which user code runs; it leaves nothing behind in the session."""
        return self._settings_of_chunks + self._statement_limit

    @property
    def _settings_of_chunks(self) -> str:
        if self._settings is None:
            self._settings = transaction_settings(self._connection, self._processor)
        return self._settings

    def forget(self) -> None:
        """What was read ahead may not be there."""
        self._ahead = self._following = ReadAhead()

    def advance(self, claim: Claim, done: int) -> None:
        """The first *done* items of a claim were committed; the others need not be read again."""
        if claim.range_number != RETRIES:
            self._from_range = claim.range_number
            left = claim.items[done:]
            self._ahead = ReadAhead(claim.range_number, left) if left else self._following
            self._following = ReadAhead()

    def publish_range(self, cursor: Any, claim: Claim) -> None:
        """Let go of the range, but say that this run is at it: for others to choose, and in case it dies there."""
        self.advance(claim, 0)
        published = {"run_id": self._audit_log.run_id, "range_number": claim.range_number}
        cursor.execute(f"{self._without_limit}{_WORK['publish_range']}; COMMIT", published)

    def note_lone_item(self, range_number: int, until: int | None) -> None:
        """Say which item is tried alone next, in case this process is lost with the one that watches it."""
        with self._connection.cursor() as cursor:
            cursor.execute(_SUSPECTS["note_lone_item"], {**self._ours, "range_number": range_number, "until": until})

    # Ranges

    def next_range(self, cursor: Any) -> Claim | Suspected | None:
        """The next open range that nobody holds or has published, from the last one on and then from the beginning.

        If there are only ranges that others have published, one whose worker is slow, where that is safe: a range that
        is being prepared belongs to its oldest run.
        """
        are_shared = False
        for claim in self._free_ranges(cursor):
            if claim.is_suspect:
                return self._suspected(claim)
            if not claim.is_shared:
                return claim
            are_shared = True
        if are_shared:
            time.sleep(DEATH_SECONDS)
            for claim in self._free_ranges(cursor, take_anyway=True):
                if claim.is_suspect:
                    return self._suspected(claim)
                if not claim.is_shared or not self._prepares or (claim.is_published and not claim.has_elder):
                    return claim
        return None

    def range_after(self, cursor: Any, claim: Claim) -> ReadAhead:
        """The first items of the range behind that of a claim, if the claim holds the last items of its range.

        None if that is not free. Else the transaction of the claim locks it too; its end lets go of it, and publishes
        it in the same moment.
        """
        if claim.last_item is None or claim.items[-1].item_number < claim.last_item:
            return ReadAhead()
        room = _room_beside(claim.items)
        parameters = self._parameters(claim.range_number + 1, ReadAhead(), wanted=MAX_ITEMS, room=room)
        cursor.execute(f"{self._without_limit}{_WORK['claim_chunk']}", parameters)
        following = _claim_of(cursor.fetchall(), ReadAhead())
        if self._statement_limit:
            cursor.execute(self._statement_limit)
        if following is None or following.is_suspect or following.is_shared:
            return ReadAhead()
        if following.range_number != claim.range_number + 1:  # of several open ranges the first one is published
            return ReadAhead()
        self._following = ReadAhead(following.range_number, following.items)
        return self._following

    def range_alone(self, cursor: Any, range_number: int, until: int | None) -> Claim | None:
        """The items of one range, if the next one is not past *until*; waits for whoever holds the range."""
        claim = self._query_range(cursor, range_number, take_anyway=True, wait=True)
        if claim is None or claim.range_number != range_number:
            return None
        if until is not None and claim.items[0].item_number > until:
            return None
        return claim

    def _free_ranges(self, cursor: Any, *, take_anyway: bool = False) -> Iterator[Claim]:
        """One after the other but those that are left to others; each is let go when the next one is asked for."""
        for from_range in dict.fromkeys((self._from_range, 0)):
            next_range = from_range
            while claim := self._query_range(cursor, next_range, take_anyway=take_anyway):
                if not claim.is_suspect or claim.range_number not in self._left_to_others:
                    yield claim
                next_range = claim.range_number + 1
                roll_back(self._connection)
            roll_back(self._connection)

    def _suspected(self, claim: Claim) -> Suspected:
        roll_back(self._connection)
        return Suspected(claim.range_number)

    def _query_range(self, cursor: Any, from_range: int, *, take_anyway: bool, wait: bool = False) -> Claim | None:
        waiting = f"{_WORK['wait_for_range']}; " if wait else ""
        ahead = self._ahead
        wanted, room = 1, 1  # at least one: those that are held may be of another range, or done by others meanwhile
        if len(ahead.items) < _ENOUGH_AHEAD:
            wanted, room = MAX_IN_HAND - len(ahead.items), _room_beside(ahead.items)
        parameters = self._parameters(from_range, ahead, wanted=wanted, room=room, take_anyway=take_anyway)
        return _claim_of(self._claim(cursor, f"{waiting}{_WORK['claim_chunk']}", parameters), ahead)

    def _parameters(
        self,
        from_range: int,
        ahead: ReadAhead,
        *,
        wanted: int,
        room: int,
        take_anyway: bool = False,
    ) -> dict[str, Any]:
        return {
            **self._ours,
            "range_number": from_range,
            "from_range": from_range,
            "have_range": ahead.range_number if ahead.items else _NO_RANGE,
            "have_until": ahead.items[-1].item_number if ahead.items else 0,
            "limit": wanted,
            "max_bytes": room,
            "take_anyway": take_anyway,
        }

    # Retries

    def due_retries(self, cursor: Any, limit: int) -> Claim | Suspected | None:
        """Items that wait for another try and are due."""
        cursor.execute(_WORK["has_retries"], self._ours)
        if cursor.fetchone() == (False,):
            return None
        claim = self._query_retries(cursor, min(limit, MAX_SUBTRANSACTIONS))
        if claim is None or not claim.is_suspect:
            return claim
        return None if RETRIES in self._left_to_others else self._suspected(claim)

    def retry_alone(self, cursor: Any, stop: StopSignal) -> Claim | None:
        """Likewise, one item alone; waits for whoever holds the last ones."""
        batch_id = self._audit_log.batch_id
        while (claim := self._query_retries(cursor, 1)) is None and stop.received is None:
            roll_back(self._connection)
            cursor.execute(_WORK["due_retry"], {"batch_id": batch_id})
            if (due := cursor.fetchone()) is None:
                return None
            cursor.execute(_WORK["wait_for_retries"], {"batch_id": batch_id, "items": list(due)})
            time.sleep(_AGAIN_SECONDS)  # whoever tries those that wait for others need not hold this one
        return claim

    def seconds_to_next_retry(self) -> float | None:
        """Until an item that nobody else holds may be tried again; None if there is none."""
        with self._connection.cursor() as cursor:
            cursor.execute(_WORK["next_retry"], {"batch_id": self._audit_log.batch_id})
            row = cursor.fetchone()
        return None if row is None else row[0]

    def postpone(self, range_number: int, item_number: int, failure: Failure) -> None:
        """Let the range go on without this item, which comes next in it, and try the item when the others are done."""
        item = {"batch_id": self._audit_log.batch_id, "range_number": range_number, "item_number": item_number}
        with transaction(self._connection) as cursor:
            cursor.execute(_WORK["postpone_retry" if range_number == RETRIES else "postpone_item"], item)
            details = {"item_number": item_number, "error": failure.title}
            self._audit_log.say(cursor, "warning", "item postponed until the others are done", details)

    def _query_retries(self, cursor: Any, limit: int) -> Claim | None:
        rows = self._claim(cursor, _WORK["claim_retries"], {**self._ours, "limit": limit})
        if not rows:
            return None
        transaction_id, are_suspect, are_published = rows[0][:3]
        items = [StoredItem(*row[3:]) for row in rows]
        return Claim(transaction_id, RETRIES, None, None, items, are_suspect, is_published=are_published)

    def _claim(self, cursor: Any, query: str, parameters: dict[str, Any]) -> list[Any]:
        """Begin a transaction by a claim, which may wait for a lock: what limits statements of items comes after it."""
        cursor.execute(f"{BEGIN}; {self._settings_of_chunks}{query}", parameters)
        rows: list[Any] = cursor.fetchall()
        if rows and self._statement_limit:
            cursor.execute(self._statement_limit)
        return rows


def _room_beside(items: Sequence[StoredItem]) -> int:
    """How many bytes may be read while these are held."""
    return max(1, _MAX_BYTES - sum([len(item.text or item.raw or b"") for item in items]))


def _claim_of(rows: Sequence[Any], ahead: ReadAhead) -> Claim | None:
    """What the server has answered to a claim, with the items that were read before."""
    if not rows:
        return None
    transaction_id, range_number, next_item, last_item, *is_which = rows[0][0]
    items = [
        StoredItem(number, text, raw, line, offset, *(json.loads(more) if more else ()))
        for _, number, text, raw, line, offset, more in rows[1:]
    ]
    if range_number == ahead.range_number:
        # Most often none of them has been done by another worker meanwhile.
        items = [*dropwhile(lambda item: item.item_number < next_item, ahead.items), *items]
    return Claim(transaction_id, range_number, next_item, last_item, items, *map(bool, is_which))


def transaction_settings(connection: Connection, processor: BaseProcessor) -> str:
    """Settings of a chunk's transaction, which leave nothing behind in the session."""
    # A worker that is frozen in the middle of a chunk gives its range back after this long.
    longest = max(_MAX_IDLE, 2 * (processor.item_timeout or _MAX_IDLE / 2))
    settings = f"SET LOCAL idle_in_transaction_session_timeout = '{round(longest.total_seconds())}s'; "
    if _notices_dead_clients(connection):
        # The locks of a worker that was killed while a statement runs are free within half a second.
        settings += "SET LOCAL client_connection_check_interval = 500; "
    return settings


def without_statement_limit(processor: BaseProcessor) -> str:
    """SQL that goes before a statement of the framework's own, in a transaction in which those of items are limited."""
    return "SET LOCAL statement_timeout TO DEFAULT; " if _statement_limit(processor) else ""


def _statement_limit(processor: BaseProcessor) -> str:
    limits = [limit for limit in (processor.statement_timeout, processor.item_timeout) if limit is not None]
    return f"SET LOCAL statement_timeout = {max(1, round(min(limits).total_seconds() * 1000))}; " if limits else ""


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
