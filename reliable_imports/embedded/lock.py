"""One process at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reliable_imports.errors import EmbeddedServerError

_PATIENCE = 330.0  # seconds; longer than a server may take to start


@contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """Hold the lock file *path*, and give its descriptor.

    The kernel frees it when the last process that has the descriptor ends, SIGKILL included: hand the descriptor to a
    child whose work must be over before anybody else goes on.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _wait_for(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"another process has held {path} for {_PATIENCE:.0f} seconds, starting or stopping the server"
                ) from None
            time.sleep(0.02)
        else:
            return
