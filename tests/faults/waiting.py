"""Waiting for something to come true; a time-out means that a test hangs, never that something was slow."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which whatever is waited for will never come."""


def wait_for(condition: Callable[[], object], what: str, *, patience: float = PATIENCE) -> None:
    until = time.monotonic() + patience
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"waited {patience:.0f} seconds in vain until {what}")
        time.sleep(0.01)
