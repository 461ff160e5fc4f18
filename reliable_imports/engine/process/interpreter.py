"""Python's own settings while a batch is worked: fewer garbage collections, and threads that wait less for each other.

A chunk's objects, some ten for each item, all live until it is committed and then die without a collection. At Python's
default threshold a collection comes every 700 of them, finds nothing to free, and passes them on to the older
generations, whose collections walk over all that the program holds: a twentieth of the time of a declared write.

A thread that has waited for the server needs the interpreter to send what comes next. The worker's own thread, which
tries items meanwhile, gives it up only when it is asked to: by default after five milliseconds, in which the server
could have written hundreds of rows.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLD = 20_000
"""New containers, more than a chunk makes; a processor that leaves cycles behind has them collected all the same."""

_SWITCH_SECONDS = 0.0002
"""How long one thread waits before it asks another one for the interpreter."""

_lock = threading.Lock()
_runs = 0
_threshold_before = (0, 0, 0)
_switch_before = 0.0


@contextmanager
def settings_for_a_run() -> Iterator[None]:
    """Sets both while any run of this process is at work."""
    global _runs, _threshold_before, _switch_before
    with _lock:
        if _runs == 0:
            _threshold_before, _switch_before = gc.get_threshold(), sys.getswitchinterval()
            if 0 < _threshold_before[0] < _THRESHOLD:  # 0: somebody wants none at all
                gc.set_threshold(_THRESHOLD, *_threshold_before[1:])
            sys.setswitchinterval(min(_SWITCH_SECONDS, _switch_before))
        _runs += 1
    try:
        yield
    finally:
        with _lock:
            _runs -= 1
            if _runs == 0:
                gc.set_threshold(*_threshold_before)
                sys.setswitchinterval(_switch_before)
