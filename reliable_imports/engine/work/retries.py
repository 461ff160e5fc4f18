"""Items that wait for another try: when to look for them, and how long to wait for them."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable

from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.engine.work.claims import Claims

_MAX_TIMED = 10_000
_APART_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 1.0
"""The batch may be paused, or a range come free, meanwhile."""


class Retries:
    """Remembers when the items that this worker has postponed are due. The database knows of all of them."""

    def __init__(self) -> None:
        self._due: list[float] = []
        self._looked_at = 0.0

    def committed(self, attempts: Iterable[Attempt]) -> None:
        """Take note of those that are tried again after a pause."""
        for attempt in attempts:
            if attempt.retry is not None and attempt.retry.pause and len(self._due) < _MAX_TIMED:
                heapq.heappush(self._due, time.monotonic() + attempt.retry.pause.total_seconds())

    def are_due(self) -> bool:
        """Whether to look for retries before the next range: now and then, while ones of our own are due."""
        now = time.monotonic()
        if not self._due or self._due[0] > now or now - self._looked_at < _APART_SECONDS:
            return False
        self._looked_at = now
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
        return True

    def wait(self, claims: Claims, stop: StopSignal) -> bool:
        """Sleep until an item may be tried again, or a second; False if there is none that nobody else is at."""
        seconds = claims.seconds_to_next_retry()
        if seconds is None:
            return False
        until = time.monotonic() + min(seconds, _LONGEST_WAIT_SECONDS)
        while stop.received is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        return True
