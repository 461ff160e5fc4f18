"""What items need from elsewhere, fetched before their transaction: bounded, concurrent, in item order."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reliable_imports.engine.process.observer import Observer
from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.work.attempt import Attempt, Prepared, StoredItem
from reliable_imports.engine.work.doubts import Doubts
from reliable_imports.engine.work.user_code import UserCode
from reliable_imports.errors import ItemTimeout
from reliable_imports.models import ImportBatchItem
from reliable_imports.postgres.error_sorting import is_item_fault
from reliable_imports.processor.base import BaseProcessor

_POLL_SECONDS = 0.1
_CANCEL_SECONDS = 0.5
"""How long a task that is cancelled, and then its event loop, may take to end."""


_MAX_PREPARED = 50

NOTHING = Prepared(None, None)


@dataclass(eq=False, slots=True)
class _Call:
    """One call of `prepare_item`; what one thread sets in it others read."""

    item: ImportBatchItem
    began: float | None = None
    outcome: Prepared | None = None

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


class Preparer:
    """Calls `prepare_item` for several items at once; its threads and its event loop live as long as it does."""

    def __init__(self, processor: BaseProcessor, *, is_stopped: Callable[[], bool]) -> None:
        """
        Args:
            is_stopped: asked again and again while items are prepared; once it says so, they are given up.
        """
        self.is_wanted = type(processor).prepare_item is not BaseProcessor.prepare_item
        self._processor = processor
        self._is_stopped = is_stopped
        self._concurrency = max(1, processor.prepare_concurrency)
        self._limit = None if processor.item_timeout is None else processor.item_timeout.total_seconds()
        self._is_async = inspect.iscoroutinefunction(processor.prepare_item)
        self._idle: list[_Thread] = []
        # One for all items, so that a client which the processor keeps can be used again.
        self._loop: asyncio.AbstractEventLoop | None = None

    def prepare(self, items: Sequence[ImportBatchItem], *, tick: Callable[[], None]) -> list[Prepared] | None:
        """Call `prepare_item` for all of *items*, at most `prepare_concurrency` at once; results in their order.

        None if it was stopped meanwhile. An item that takes longer than `item_timeout` gets an ItemTimeout.

        Args:
            tick: called first, and again and again while this waits, unless an item keeps every thread from running.

        Raises:
            BaseException: what is no item's fault, such as KeyboardInterrupt.
        """
        calls = [_Call(item) for item in items]
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
            while waiting and len(running) < self._concurrency:
                call = waiting.pop()
                running[call] = self._thread()
                call.began = time.monotonic()
                running[call].start(lambda call=call: self._call(call, ended))  # type: ignore[misc]
            with contextlib.suppress(queue.Empty, KeyError):  # it was late, and has ended just now
                self._idle.append(running.pop(ended.get(timeout=_POLL_SECONDS)))
            for call in [call for call in running if call.is_late(self._limit)]:
                call.outcome = Prepared(None, ItemTimeout(self._late))
                running.pop(call).end()
            tick()
        for thread in running.values():
            thread.end()

    def _call(self, call: _Call, ended: queue.SimpleQueue[_Call]) -> None:
        try:
            outcome = Prepared(self._processor.prepare_item(call.item), None)
        except BaseException as error:  # sorted by the caller
            outcome = Prepared(None, error)
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
                error = ItemTimeout(self._late)
                break
        if error is not None:
            self._loop = None
        if len(calls) > 1:
            return any(call.outcome is None for call in calls)
        if calls[0].outcome is None:
            calls[0].outcome = Prepared(None, error)
        return False

    async def _gather(self, calls: Sequence[_Call]) -> None:
        free = asyncio.Semaphore(self._concurrency)
        is_alone = len(calls) == 1

        async def call_one(call: _Call) -> None:
            async with free:
                call.began = time.monotonic()
                outcome = await self._await(call.item)
                # Cancelled, perhaps by another one: to be tried again alone.
                if is_alone or not isinstance(outcome.error, asyncio.CancelledError):
                    call.outcome = outcome

        await asyncio.gather(*[call_one(call) for call in calls])

    async def _await(self, item: ImportBatchItem) -> Prepared:
        task = asyncio.ensure_future(self._processor.prepare_item(item))
        done, _ = await asyncio.wait({task}, timeout=self._limit)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
            return Prepared(None, ItemTimeout(self._late))
        try:
            return Prepared(task.result(), None)
        except BaseException as error:  # sorted by the caller
            return Prepared(None, error)

    @property
    def _late(self) -> str:
        return f"prepare_item took longer than item_timeout, {self._limit or 0:g} seconds"


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


class PreparedItems:
    """What `prepare_item` gave for the next items of a range.

    Attributes:
        are_wanted: the processor has a `prepare_item`.
    """

    def __init__(self, code: UserCode, batch_id: int, doubts: Doubts, stop: StopSignal, observer: Observer) -> None:
        self._preparer = Preparer(code.processor, is_stopped=lambda: stop.received is not None)
        self.are_wanted = self._preparer.is_wanted
        self._code = code
        self._batch_id = batch_id
        self._doubts = doubts
        self._observer = observer
        self._by_number: dict[int, Prepared] = {}

    def has_first_of(self, items: Sequence[StoredItem]) -> bool:
        return not self.are_wanted or (bool(items) and items[0].item_number in self._by_number)

    def of(self, item_number: int) -> Prepared | None:
        """What was prepared; None if it was not yet."""
        return self._by_number.get(item_number) if self.are_wanted else NOTHING

    def prepare(self, items: Sequence[StoredItem]) -> None:
        """Prepare the next items, or as many of them as are wanted at once."""
        self._by_number = {}
        wanted = []
        for stored in items[: 1 if self._doubts.is_one_by_one else _MAX_PREPARED]:
            doubt = self._doubts.of(stored.item_number)
            if stored.is_for_the_processor and (doubt is None or doubt.verdict is None):
                wanted.append(self._read(stored))
            else:
                self._by_number[stored.item_number] = NOTHING  # its outcome is known already
        if not wanted:
            return
        if self._doubts.is_one_by_one:
            self._observer.trying(wanted[0].item_number)
            outcomes = self._preparer.prepare(wanted, tick=lambda: None)
        else:
            # Which of them keeps the process from doing anything else nobody can tell; only that one does.
            outcomes = self._preparer.prepare(wanted, tick=lambda: self._observer.trying(None))
        self._observer.tried()
        if outcomes is not None:
            self._by_number.update(zip((item.item_number for item in wanted), outcomes, strict=True))

    def committed(self, attempts: Iterable[Attempt]) -> None:
        """Forget what was prepared for items that have ended."""
        if self._by_number:
            for attempt in attempts:
                self._by_number.pop(attempt.stored.item_number, None)

    def close(self) -> None:
        """Give back threads and the event loop."""
        self._preparer.close()

    def _read(self, stored: StoredItem) -> ImportBatchItem:
        try:
            data = self._code.read(stored).data
        except Exception:  # told when the item is tried
            data = None
        return stored.given(self._batch_id, data)
