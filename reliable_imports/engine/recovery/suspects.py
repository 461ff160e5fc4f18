"""What is written down of ranges in which a worker died, until it is known which item killed it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg2

from reliable_imports.engine.recovery.connection import connect_patiently
from reliable_imports.engine.recovery.reconnection import Reconnector
from reliable_imports.engine.work.audit_log import AuditLog
from reliable_imports.engine.work.claims import DEATH_SECONDS, MAX_IN_HAND, RETRIES
from reliable_imports.postgres.connect import transaction
from reliable_imports.postgres.queries import load

_SUSPECTS = load("suspects.sql")
_WORK = load("work.sql")

ANY_ITEM = 0
"""In place of an item's number: the range is suspect, and no item of it is known by name."""

# A worker that is frozen gives the search lock back.
_LOCK_SETTING = "SET LOCAL idle_in_transaction_session_timeout = '15min'"
_TOUCH_SECONDS = 60.0


class LoneDeaths(NamedTuple):
    """Child processes that died while an item was tried alone in them, and how one of them did."""

    item_number: int
    deaths: int
    how: str


class SearchLock:
    """The right to look for a killer in one range, held on a connection of its own."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._touch_at = 0.0

    def keep(self) -> None:
        """Called while somebody looks for a killer: whoever is slow keeps the lock, and only who is frozen loses it."""
        if time.monotonic() > self._touch_at:
            self._touch_at = time.monotonic() + _TOUCH_SECONDS
            self.is_held()

    def is_held(self) -> bool:
        """Whether it is still ours: a restart of the server, for one, takes it away."""
        try:
            self._cursor.execute("SELECT")
        except psycopg2.Error:
            return False
        return True


class Suspects:
    """The suspects of one batch, as one run sees and tells them. A range may be RETRIES.

    Whatever is asked or told here is a step of the run: after a lost connection it is asked or told again.
    """

    def __init__(self, dsn: str, reconnector: Reconnector, audit_log: AuditLog) -> None:
        self._dsn = dsn
        self._reconnector = reconnector
        self._audit_log = audit_log

    @contextlib.contextmanager
    def search_lock(self, range_number: int) -> Iterator[SearchLock | None]:
        """Keep other workers from looking for a killer in this range; None if one of them does so already."""
        if not self._ask(_SUSPECTS["take_search_lock"], self._of(range_number))[0][0]:  # taken for the moment of asking
            yield None
            return
        stop = self._reconnector.connection.stop
        with contextlib.closing(connect_patiently(self._dsn, self._audit_log.batch_id, stop)) as own:
            cursor = own.cursor()
            try:
                cursor.execute(f"BEGIN; {_LOCK_SETTING}; {_SUSPECTS['take_search_lock']}", self._of(range_number))
                is_ours = cursor.fetchone() == (True,)
            except psycopg2.Error:
                is_ours = False
            yield SearchLock(cursor) if is_ours else None

    def add(self, range_number: int, item_number: int = ANY_ITEM, deaths: int = 0, how: str | None = None) -> None:
        """Say that a range is suspect, or what this run has seen of one of its items, and that the run goes on here.

        Both at once: until then the run looks dead to others, which makes the range suspect as well.
        """
        known = {**self._of(range_number), "item_number": item_number, "deaths": deaths, "how": how}
        self._ask(f"{_SUSPECTS['suspect']}; {_WORK['move_run']}", known)

    def lone_deaths(self, range_number: int) -> list[LoneDeaths]:
        """What all that have looked for the killer have seen."""
        return [LoneDeaths._make(row) for row in self._ask(_SUSPECTS["lone_deaths"], self._of(range_number))]

    def losses(self, range_number: int) -> dict[int, int]:
        """How many workers were lost while an item of the range was tried alone, by the item's number."""
        found = self._ask(_SUSPECTS["losses"], self._of(range_number))
        if any(lives for _, lives in found):
            time.sleep(DEATH_SECONDS)  # nobody else tries them alone while we hold the search lock
            found = self._ask(_SUSPECTS["losses"], self._of(range_number))
        return dict(sorted(Counter(item_number for item_number, lives in found if not lives).items()))

    def postpone(self, range_number: int, item_number: int) -> None:
        """Let the range go on without the item that comes next in it, which is tried after all others."""
        item = {**self._of(range_number), "item_number": item_number}

        def postpone() -> None:
            with transaction(self._reconnector.connection.current) as cursor:
                cursor.execute(_SUSPECTS["postpone_suspect"], item)
                details = {"item_number": item_number}
                self._audit_log.say(cursor, "warning", "item postponed until the others are done", details)

        self._reconnector.run_step(postpone)

    def forget_losses(self, item_numbers: Sequence[int]) -> None:
        """Begin to count the workers that are lost with these items anew."""
        self._ask(_SUSPECTS["forget_losses"], {"batch_id": self._audit_log.batch_id, "items": list(item_numbers)})

    def last_in_hand(self, range_number: int) -> int | None:
        """The last item of the range that a worker which died there can have tried; None for RETRIES."""
        if range_number == RETRIES:
            return None
        ((last,),) = self._ask(_SUSPECTS["last_in_hand"], {**self._of(range_number), "most": MAX_IN_HAND})
        return int(last)

    def clear(self, range_number: int, until: int | None) -> None:
        """All items of the range up to *until* have been tried, or all of RETRIES, if nobody has paused the batch."""
        if range_number == RETRIES:
            self._ask(_SUSPECTS["clear_retries"], self._of(RETRIES))
        else:
            self._ask(_SUSPECTS["clear_range"], {**self._of(range_number), "until": until})

    def range_of(self, item_number: int) -> int:
        """The open range that holds the item; RETRIES if the item waits for another try."""
        found = self._ask(_SUSPECTS["range_of"], {"batch_id": self._audit_log.batch_id, "item_number": item_number})
        return int(found[0][0]) if found else RETRIES

    def published_range(self) -> int | None:
        """The range that the run has said it works on."""
        ((range_number,),) = self._ask(_SUSPECTS["published_range"], {"run_id": self._audit_log.run_id})
        return None if range_number is None else int(range_number)

    def _ask(self, statements: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        """Run statements as one transaction, and return the rows of the last, if it gives any."""

        def ask() -> list[tuple[Any, ...]]:
            with self._reconnector.connection.current.cursor() as cursor:
                cursor.execute(statements, parameters)
                return cursor.fetchall() if cursor.description is not None else []

        return self._reconnector.run_step(ask)

    def _of(self, range_number: int) -> dict[str, object]:
        return {
            "batch_id": self._audit_log.batch_id,
            "range_number": range_number,
            "run_id": self._audit_log.run_id,
        }
