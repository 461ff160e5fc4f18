"""What is written down of ranges in which a worker died, until it is known which item killed it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import psycopg2

from reliable_imports.engine.recovery.connection import Link
from reliable_imports.engine.work.audit_log import Trail
from reliable_imports.engine.work.claims import DEATH_SECONDS
from reliable_imports.postgres.connect import transaction
from reliable_imports.postgres.queries import load

_SUSPECTS = load("suspects.sql")
_WORK = load("work.sql")

# A worker that is frozen gives its turn back.
_TURN_SETTING = "SET LOCAL idle_in_transaction_session_timeout = '15min'"
_TOUCH_SECONDS = 60.0
_LAST_ITEM = 2**63 - 1

T = TypeVar("T")


class LoneDeaths(NamedTuple):
    """Child processes that died while an item was tried alone in them, and how one of them did."""

    item_number: int
    deaths: int
    how: str


class Suspects:
    """The suspects of one batch, as one run sees and tells them. Range 0: items that wait for another try.

    Everything is asked and told through lost connections, as `Link.kept` has it.
    """

    def __init__(self, dsn: str, link: Link, trail: Trail) -> None:
        self._dsn = dsn
        self._link = link
        self._trail = trail
        self._turn: Any = None
        self._touch_turn_at = 0.0

    @contextlib.contextmanager
    def turn(self, range_number: int) -> Iterator[bool]:
        """Whether no other worker looks for a killer in this range; none will, until the block is left."""
        if not self._fetch("take_turn", self._of(range_number))[0][0]:  # taken for the moment of asking
            yield False
            return
        with Link(self._dsn, self._trail.batch_id, self._link.stop) as own:
            own.open_patiently()
            self._turn = own.connection.cursor()
            try:
                self._turn.execute(f"BEGIN; {_TURN_SETTING}; {_SUSPECTS['take_turn']}", self._of(range_number))
                is_ours = self._turn.fetchone() == (True,)
            except psycopg2.Error:
                is_ours = False
            try:
                yield is_ours
            finally:
                self._turn = None

    def keep_turn(self) -> None:
        """Called while somebody looks for a killer: whoever is slow keeps the turn, and only who is frozen loses it."""
        if self._turn is not None and time.monotonic() > self._touch_turn_at:
            self._touch_turn_at = time.monotonic() + _TOUCH_SECONDS
            self.has_turn()

    def has_turn(self) -> bool:
        """Whether it is still ours: a restart of the server, for one, takes it away."""
        try:
            self._turn.execute("SELECT")
        except psycopg2.Error:
            return False
        return True

    def add(self, range_number: int, item_number: int = 0, deaths: int = 0, how: str | None = None) -> None:
        """Say that a range is suspect, or what this run has seen of one of its items, and that the run goes on here.

        Both at once: until then the run looks dead to others, which makes the range suspect as well.
        """
        known = {**self._of(range_number), "item_number": item_number, "deaths": deaths, "how": how}

        def add() -> None:
            with transaction(self._link.connection) as cursor:
                cursor.execute(_SUSPECTS["suspect"], known)
                cursor.execute(_WORK["move_run"], known)

        self._link.kept(add)

    def lone_deaths(self, range_number: int) -> list[LoneDeaths]:
        """What all that have looked for the killer have seen."""
        return [LoneDeaths._make(row) for row in self._fetch("lone_deaths", self._of(range_number))]

    def losses(self, range_number: int) -> dict[int, int]:
        """How many workers were lost while an item of the range was tried alone, by the item's number."""
        found = self._fetch("losses", self._of(range_number))
        if any(lives for _, lives in found):
            time.sleep(DEATH_SECONDS)  # nobody else tries them alone while it is our turn
            found = self._fetch("losses", self._of(range_number))
        return dict(sorted(Counter(item_number for item_number, lives in found if not lives).items()))

    def put_off(self, range_number: int, item_number: int) -> None:
        """Let the range go on without the item that comes next in it, which is tried after all others."""
        item = {**self._of(range_number), "item_number": item_number}

        def put_off() -> None:
            with transaction(self._link.connection) as cursor:
                cursor.execute(_SUSPECTS["put_off"], item)
                details = {"item_number": item_number}
                self._trail.say(cursor, "warning", "item put off until the others are done", details)

        self._link.kept(put_off)

    def forget_losses(self, item_numbers: Sequence[int]) -> None:
        """Begin to count the workers that are lost with these items anew."""
        self._run("forget_losses", {"batch_id": self._trail.batch_id, "items": list(item_numbers)})

    def clear(self, range_number: int, until: int | None) -> None:
        """All items of the range, or all up to *until*, have been tried, if nobody has paused the batch meanwhile."""
        if range_number:
            self._run("trust", {**self._of(range_number), "until": until or _LAST_ITEM})
        else:
            self._run("trust_retries", self._of(0))

    def range_of(self, item_number: int) -> int:
        """The open range that holds the item; 0 if it waits for another try."""
        found = self._fetch("range_of", {"batch_id": self._trail.batch_id, "item_number": item_number})
        return int(found[0][0]) if found else 0

    def announced_range(self) -> int | None:
        """The range that the run has said it works on."""
        ((range_number,),) = self._fetch("announced_range", {"run_id": self._trail.run_id})
        return None if range_number is None else int(range_number)

    def _fetch(self, name: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        return self._execute(name, parameters, lambda cursor: cursor.fetchall())

    def _run(self, name: str, parameters: dict[str, object]) -> None:
        self._execute(name, parameters, lambda cursor: None)

    def _execute(self, name: str, parameters: dict[str, object], read: Callable[[Any], T]) -> T:
        def execute() -> T:
            with self._link.connection.cursor() as cursor:
                cursor.execute(_SUSPECTS[name], parameters)
                return read(cursor)

        return self._link.kept(execute)

    def _of(self, range_number: int) -> dict[str, object]:
        return {"batch_id": self._trail.batch_id, "range_number": range_number, "run_id": self._trail.run_id}
