"""A bound on how long one item's code may run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

_AGAIN_SECONDS = 0.5


class TimedOut(BaseException):
    """No `Exception`, so that a processor's `except Exception` lets it pass."""


@contextmanager
def time_limit(limit: timedelta) -> Iterator[None]:
    """Raise TimedOut in the block when *limit* is over, and again and again until the block ends.

    Only the main thread can be interrupted, and only between two instructions of Python: a call of the driver that
    waits is bounded by statement_timeout, and whoever ignores both is killed by the parent process.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return
    is_over = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Not once the block has ended: that would keep the timer from being stopped.
        if not is_over:
            raise TimedOut

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, limit.total_seconds(), _AGAIN_SECONDS)
            yield
        finally:
            is_over = True  # if it rings right before, the next time is half a second away
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
