"""Several calls of one function at once: bounded in number and in time, in threads or as tasks of an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from reliable_imports.engine.process.call_result import CallResult
from reliable_imports.errors import ItemTimeout
from reliable_imports.postgres.error_sorting import is_item_fault

_POLL_SECONDS = 0.1
_CANCEL_SECONDS = 0.5
"""How long a task that is cancelled, and then its event loop, may take to end."""


@dataclass(eq=False, slots=True)
class _Call:
    """One call; what one thread sets in it others read."""

    argument: Any
    began: float | None = None
    outcome: CallResult | None = None

    def is_late(self, limit: float | None) -> bool:
        is_running = self.began is not None and self.outcome is None
        return is_running and limit is not None and time.monotonic() - (self.began or 0) > limit


class _Thread:
    """Runs what it is given, one after the other, and does not keep the process from ending.

    A call that never ends holds its thread for ever: then the thread is left behind, and another one made.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def start(self, job: Callable[[], None]) -> None:
        """Begin *job*, which raises nothing."""
        self._jobs.put(job)

    def end(self) -> None:
        """End when the job that is under way has ended."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class ConcurrentCalls:
    """Calls one function for several arguments at once; its threads and its event loop live as long as it does."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        at_once: int,
        longest: timedelta | None,
        too_late: str,
        is_stopped: Callable[[], bool],
    ) -> None:
        """
        Args:
            function: a coroutine function is awaited in an event loop, any other is called in threads.
            at_once: how many calls may be under way.
            longest: how long each may take; None for as long as it likes.
            too_late: the words of the ItemTimeout that one gets which takes longer.
            is_stopped: asked again and again during calls; once it says so, they are given up.
        """
        self._function = function
        self._at_once = at_once
        self._limit = None if longest is None else longest.total_seconds()
        self._too_late = too_late
        self._is_stopped = is_stopped
        self._is_async = inspect.iscoroutinefunction(function)
        self._idle: list[_Thread] = []
        # One for all items, so that a client which the processor keeps can be used again.
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, arguments: Sequence[Any], *, tick: Callable[[], None]) -> list[CallResult] | None:
        """Call the function for all of *arguments*; results in their order, None if it was stopped meanwhile.

        Args:
            tick: called first, and again and again while this waits, unless a call keeps every thread from running.

        Raises:
            BaseException: what is no item's fault, such as KeyboardInterrupt.
        """
        calls = [_Call(argument) for argument in arguments]
        tick()
        if not self._is_async:
            self._call_in_threads(calls, tick)
        elif self._call_as_tasks(calls, tick):
            # One of them ended the loop, or cancelled the others: alone, each pays for what it does itself.
            for call in calls:
                if call.outcome is None and not self._is_stopped():
                    self._call_as_tasks([call], tick)
        if self._is_stopped():
            return None
        outcomes = []
        for call in calls:
            assert call.outcome is not None
            if call.outcome.error is not None and not is_item_fault(call.outcome.error):
                raise call.outcome.error
            outcomes.append(call.outcome)
        return outcomes

    def close(self) -> None:
        for thread in self._idle:
            thread.end()
        self._idle.clear()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _thread(self) -> _Thread:
        return self._idle.pop() if self._idle else _Thread()

    # In threads

    def _call_in_threads(self, calls: Sequence[_Call], tick: Callable[[], None]) -> None:
        ended: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        waiting = list(reversed(calls))
        running: dict[_Call, _Thread] = {}
        while (waiting or running) and not self._is_stopped():
            while waiting and len(running) < self._at_once:
                call = waiting.pop()
                running[call] = self._thread()
                call.began = time.monotonic()
                running[call].start(lambda call=call: self._call(call, ended))  # type: ignore[misc]
            with contextlib.suppress(queue.Empty, KeyError):  # it was late, and has ended just now
                self._idle.append(running.pop(ended.get(timeout=_POLL_SECONDS)))
            for call in [call for call in running if call.is_late(self._limit)]:
                call.outcome = CallResult(None, ItemTimeout(self._too_late))
                running.pop(call).end()
            tick()
        for thread in running.values():
            thread.end()

    def _call(self, call: _Call, ended: queue.SimpleQueue[_Call]) -> None:
        try:
            outcome = CallResult(self._function(call.argument), None)
        except BaseException as error:  # sorted by the caller
            outcome = CallResult(None, error)
        if call.outcome is None:
            call.outcome = outcome
            ended.put(call)

    # As tasks of an event loop

    def _call_as_tasks(self, calls: Sequence[_Call], tick: Callable[[], None]) -> bool:
        """Whether some of several calls have no outcome, for one of them may have kept the others from it."""
        loop = self._loop = self._loop or asyncio.new_event_loop()
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def run() -> None:
            error = _run_in(loop, self._gather(calls))
            if error is not None or self._loop is not loop:
                loop.close()
            ended.put(error)

        # The loop runs in a thread of its own, for the caller's may have a running one.
        thread = self._thread()
        thread.start(run)
        allowed = None if self._limit is None else self._limit + 2 * _CANCEL_SECONDS
        while True:
            try:
                error = ended.get(timeout=_POLL_SECONDS)
                self._idle.append(thread)
                break
            except queue.Empty:
                tick()
            if self._is_stopped() or any(call.is_late(allowed) for call in calls):
                # It does not come to its end, and is left behind with its thread.
                thread.end()
                error = ItemTimeout(self._too_late)
                break
        if error is not None:
            self._loop = None
        if len(calls) > 1:
            return any(call.outcome is None for call in calls)
        if calls[0].outcome is None:
            calls[0].outcome = CallResult(None, error)
        return False

    async def _gather(self, calls: Sequence[_Call]) -> None:
        free = asyncio.Semaphore(self._at_once)
        is_alone = len(calls) == 1

        async def call_one(call: _Call) -> None:
            async with free:
                call.began = time.monotonic()
                outcome = await self._await(call.argument)
                # Cancelled, perhaps by another one: to be tried again alone.
                if is_alone or not isinstance(outcome.error, asyncio.CancelledError):
                    call.outcome = outcome

        await asyncio.gather(*[call_one(call) for call in calls])

    async def _await(self, argument: Any) -> CallResult:
        task = asyncio.ensure_future(self._function(argument))
        done, _ = await asyncio.wait({task}, timeout=self._limit)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
            return CallResult(None, ItemTimeout(self._too_late))
        try:
            return CallResult(task.result(), None)
        except BaseException as error:  # sorted by the caller
            return CallResult(None, error)


def _run_in(loop: asyncio.AbstractEventLoop, work: Any) -> BaseException | None:
    """Run *work* to its end in an event loop; what keeps it from it is returned, and what it has left is cancelled."""
    try:
        loop.run_until_complete(work)
        return None
    except BaseException as error:  # the loop was stopped, the work cancelled, or a task raised SystemExit
        with contextlib.suppress(BaseException):
            loop.run_until_complete(_cancel_tasks())
        return error


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # looked at, so that nothing complains of it later
