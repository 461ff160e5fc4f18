"""A child process for items that may kill or outstay their worker: the parent sees it die, and knows of which item."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

POSSIBLE = hasattr(os, "fork")

_NO_ITEM = 0
_POLL_SECONDS = 0.02
_TIMEOUT_GRACE = 2.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a child ended.

    Attributes:
        value: what the work returned, if it came to its end.
        error: what it raised, if it did.
        died: the child ended without either; `how` says in words how.
        item: the item that was being tried when it died.
        outstayed: it was killed because that item took too long.
    """

    value: Any = None
    error: BaseException | None = None
    died: bool = False
    how: str = ""
    item: int | None = None
    outstayed: bool = False


class ChildProcess:
    """Runs work in a forked child. Nothing of the child's memory comes back but what the work returns."""

    def __init__(self, *, item_timeout: timedelta | None, stop_received: Callable[[], bool]) -> None:
        self._limit = None if item_timeout is None else item_timeout.total_seconds() + _TIMEOUT_GRACE
        self._stop_received = stop_received
        shared = memoryview(mmap.mmap(-1, 16))
        # Each is written at once, so that the parent reads what it was before or what it is then.
        self._item = shared[:8].cast("q")
        self._since = shared[8:].cast("d")
        self.forking = threading.Lock()
        """Held at a fork, and by threads in the middle of what a child must not inherit half done."""

    def note_item(self, number: int | None) -> None:
        """Called in the child: this item's code is about to run, and its time begins; None: nobody can tell whose."""
        self._since[0] = math.inf  # never the time of one item with the number of another
        self._item[0] = number or _NO_ITEM
        self._since[0] = time.monotonic()

    def note_tried(self) -> None:
        """Called in the child: the items' code has ended. Their chunk may take as long as it takes from now on."""
        self._since[0] = math.inf

    def note_between(self) -> None:
        """Called in the child: no item is being tried."""
        self._since[0] = math.inf
        self._item[0] = _NO_ITEM

    def run(self, work: Callable[[], Any], *, tick: Callable[[], None]) -> ChildEnd:
        """Run *work* in a child and wait for its end.

        Args:
            tick: called in the parent about twice a second.
        """
        import ctypes  # noqa: F401 - loaded now, for few runs have a child, and a child should load nothing
        import pickle  # noqa: F401

        self.note_between()
        reader, writer = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        parent = os.getpid()
        with self.forking, warnings.catch_warnings():
            # Python warns of threads that hold locks at a fork. Those of the engine are kept from it by the lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os.close(reader)
            _be_the_child(work, writer, parent)
        os.close(writer)
        try:
            return self._wait(child, reader, tick)
        except BaseException:
            _kill(child)
            raise
        finally:
            os.close(reader)

    def _wait(self, child: int, reader: int, tick: Callable[[], None]) -> ChildEnd:
        late: tuple[int, float] | None = None
        told = False
        next_tick = time.monotonic() + 0.5
        sent = bytearray()
        os.set_blocking(reader, False)
        while True:
            ended, status = _reaped(child)
            _drain(reader, sent)  # while it lives too: what it sends may be more than a pipe holds
            if ended:
                break
            trying = self._trying
            if self._limit is not None and late is None and time.monotonic() - trying[1] > self._limit:
                late = trying
                os.kill(child, signal.SIGKILL)
            if self._stop_received() and not told:
                told = True
                os.kill(child, signal.SIGTERM)
            if time.monotonic() > next_tick:
                tick()
                next_tick = time.monotonic() + 0.5
            time.sleep(_POLL_SECONDS)
        message = _message(bytes(sent))
        if message is not None:
            return ChildEnd(value=message[0], error=message[1])
        died_at = self._trying
        if late is not None and died_at != late:
            return ChildEnd(died=True, how=_how(status))  # it came to its end at the last moment: no item's fault
        item = None if died_at[0] == _NO_ITEM else died_at[0]
        return ChildEnd(died=True, how=_how(status), item=item, outstayed=late is not None)

    @property
    def _trying(self) -> tuple[int, float]:
        """The item that is being tried, and since when: for ever, if its time does not run."""
        since = self._since[0]
        return self._item[0], since


def _be_the_child(work: Callable[[], Any], writer: int, parent: int) -> None:
    import pickle

    try:
        # What an item sends to its whole process group does not reach the parent, which passes signals on.
        os.setpgid(0, 0)
        _die_with(parent)
        try:
            message: tuple[Any, BaseException | None] = (work(), None)
        except BaseException as error:  # all of it is for the parent to sort
            message = (None, error)
        try:
            data = pickle.dumps(message)
            pickle.loads(data)
        except Exception:  # an exception that cannot be pickled, or not be read again
            data = pickle.dumps((None, RuntimeError(f"{type(message[1]).__name__}: {message[1]}")))
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)
    finally:
        # Nothing of the parent's is cleaned up here: not its connections, not its exit handlers.
        os._exit(0)


def _die_with(parent: int) -> None:
    """See to it that the child does not outlive its parent."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _drain(reader: int, sent: bytearray) -> None:
    """Add what the pipe holds now; a process that the child has left behind may keep it open for ever."""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(reader, 65536):
            sent += data


def _reaped(child: int) -> tuple[bool, int]:
    """Whether the child has ended, and its exit status."""
    try:
        ended, status = os.waitpid(child, os.WNOHANG)
    except ChildProcessError:  # where SIGCHLD is ignored the kernel keeps no status
        return True, 0
    return ended != 0, status


def _message(data: bytes) -> tuple[Any, BaseException | None] | None:
    """What the child sent, or None if it did not come to the end of it."""
    import pickle

    try:
        message: tuple[Any, BaseException | None] = pickle.loads(data)
        return message
    except Exception:  # whatever pickle makes of half a message
        return None


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = next((f", {known.name}" for known in signal.Signals if known == number), "")  # some have no name
        return f"signal {number}{name}"
    return f"exit status {os.WEXITSTATUS(status)}"


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
