"""What is written down of ranges in which a worker died, until it is known which item killed it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.database import connect, transaction
from reliable_imports.queries import load

_WORK = load("work.sql")

DEATH_SECONDS = 0.1
"""How long the server may show the session of a dead worker after it has let go of its locks."""

# A worker that is frozen gives its turn back.
_TURN_SETTING = "SET LOCAL idle_in_transaction_session_timeout = '15min'"
_TOUCH_SECONDS = 60.0


class LoneDeaths(NamedTuple):
    """Child processes that died while an item was tried alone in them, and how the last one did."""

    item_number: int
    deaths: int
    how: str


class Suspects:
    """The suspects of one batch, as one run sees and tells them. Range 0: items that wait for another try."""

    def __init__(self, dsn: str, batch_id: int, run_id: int) -> None:
        self._dsn = dsn
        self._batch_id = batch_id
        self._run_id = run_id
        self._turn: Any = None
        self._touch_turn_at = 0.0

    @contextlib.contextmanager
    def turn(self, range_number: int) -> Iterator[bool]:
        """Whether no other worker looks for a killer in this range; none will, until the block is left."""
        with ExitStack() as opened:
            try:
                cursor = opened.enter_context(connect(self._dsn)).cursor()
                cursor.execute(f"BEGIN; {_TURN_SETTING}; {_WORK['take_turn']}", self._of(range_number))
                is_ours = cursor.fetchone() == (True,)
                self._turn = cursor
            except psycopg2.Error:  # two that look for it only cost a child or two more
                is_ours = True
            try:
                yield is_ours
            finally:
                self._turn = None

    def keep_turn(self) -> None:
        """Called while somebody looks for a killer: whoever is slow keeps the turn, and only who is frozen loses it."""
        if self._turn is not None and time.monotonic() > self._touch_turn_at:
            self._touch_turn_at = time.monotonic() + _TOUCH_SECONDS
            with contextlib.suppress(psycopg2.Error):
                self._turn.execute("SELECT")

    def add(
        self, connection: Connection, range_number: int, item_number: int = 0, deaths: int = 0, how: str | None = None
    ) -> None:
        """Say that a range is suspect, or what is known of one of its items, and that the run goes on in this session.

        Both at once: until then the run looks dead to others, which makes the range suspect as well.
        """
        known = {**self._of(range_number), "item_number": item_number, "deaths": deaths, "how": how}
        with transaction(connection) as cursor:
            cursor.execute(_WORK["suspect"], known)
            cursor.execute(_WORK["move_run"], {"run_id": self._run_id})

    def lone_deaths(self, connection: Connection, range_number: int) -> list[LoneDeaths]:
        """What whoever looked for the killer before has seen."""
        with connection.cursor() as cursor:
            cursor.execute(_WORK["lone_deaths"], self._of(range_number))
            return [LoneDeaths._make(row) for row in cursor.fetchall()]

    def losses(self, connection: Connection, range_number: int) -> list[tuple[int, int]]:
        """Items of the range that were tried alone when their worker was lost, and how many workers that were."""
        for is_last_look in (False, True):
            with connection.cursor() as cursor:
                cursor.execute(_WORK["losses"], {**self._of(range_number), "run_id": self._run_id})
                found = cursor.fetchall()
            if not any(lives for _, lives in found) or is_last_look:
                break
            time.sleep(DEATH_SECONDS)  # nobody else tries them alone while it is our turn
        return sorted(Counter(item_number for item_number, lives in found if not lives).items())

    @contextlib.contextmanager
    def putting_off(self, connection: Connection, range_number: int, item_number: int) -> Iterator[Any]:
        """Let the range go on without the item that comes next in it, which is tried after all others.

        The block may write more on the cursor that it is given.
        """
        with transaction(connection) as cursor:
            cursor.execute(_WORK["put_off"], {**self._of(range_number), "item_number": item_number})
            yield cursor

    def forget_losses(self, connection: Connection, item_numbers: Sequence[int]) -> None:
        """Begin to count the workers that are lost with these items anew."""
        with connection.cursor() as cursor:
            cursor.execute(_WORK["forget_losses"], {"batch_id": self._batch_id, "items": list(item_numbers)})

    def clear(self, connection: Connection, range_number: int, until: int | None) -> None:
        """All killers of the range are known; with *until*, up to that item."""
        with connection.cursor() as cursor:
            cursor.execute(_WORK["trust"], {**self._of(range_number), "until": until})

    def range_of(self, connection: Connection, item_number: int) -> int:
        """The open range that holds the item; 0 if it waits for another try."""
        with connection.cursor() as cursor:
            cursor.execute(_WORK["range_of"], {"batch_id": self._batch_id, "item_number": item_number})
            found = cursor.fetchone()
        return 0 if found is None else int(found[0])

    def announced_range(self, connection: Connection) -> int | None:
        """The range that the run has said it works on."""
        with connection.cursor() as cursor:
            cursor.execute(_WORK["announced_range"], {"run_id": self._run_id})
            found = cursor.fetchone()
        return None if found is None else found[0]

    def _of(self, range_number: int) -> dict[str, object]:
        return {"batch_id": self._batch_id, "range_number": range_number}
