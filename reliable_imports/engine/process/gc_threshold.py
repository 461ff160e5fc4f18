"""Fewer garbage collections while a batch is worked.

A chunk's objects, some ten for each item, all live until it is committed and then die without a collection. At Python's
default threshold a collection comes every 700 of them, finds nothing to free, and passes them on to the older
generations, whose collections walk over all that the program holds: a twentieth of the time of a declared write.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLD = 20_000
"""New containers, more than a chunk makes; a processor that leaves cycles behind has them collected all the same."""

_lock = threading.Lock()
_runs = 0
_before = (0, 0, 0)


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Raises the threshold while any run of this process is at work."""
    global _runs, _before
    with _lock:
        if _runs == 0:
            _before = gc.get_threshold()
            if 0 < _before[0] < _THRESHOLD:  # 0: somebody wants none at all
                gc.set_threshold(_THRESHOLD, *_before[1:])
        _runs += 1
    try:
        yield
    finally:
        with _lock:
            _runs -= 1
            if _runs == 0:
                gc.set_threshold(*_before)
