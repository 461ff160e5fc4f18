"""What items need from elsewhere, fetched before their transaction: bounded, concurrent, in item order."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from reliable_imports.faults import is_item_fault
from reliable_imports.models import ImportBatchItem
from reliable_imports.processor import BaseProcessor


class Prepared(NamedTuple):
    """What `prepare_item` gave for one item, or what it raised."""

    value: Any
    error: BaseException | None


class Preparer:
    """Calls `prepare_item` for several items at once; its event loop lives as long as it does."""

    def __init__(self, processor: BaseProcessor) -> None:
        self.is_wanted = type(processor).prepare_item is not BaseProcessor.prepare_item
        self._processor = processor
        self._limit = max(1, processor.prepare_concurrency)
        self._is_async = inspect.iscoroutinefunction(processor.prepare_item)
        self._executor: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def prepare(self, items: Sequence[ImportBatchItem]) -> list[Prepared]:
        """Call `prepare_item` for all of *items*, at most `prepare_concurrency` at once; results in their order.

        Raises:
            BaseException: what is no item's fault, such as KeyboardInterrupt.
        """
        if self._executor is None:
            # An event loop runs in a thread of its own, for the caller's may have a running one.
            self._executor = ThreadPoolExecutor(1 if self._is_async else self._limit)
        if self._is_async:
            if self._loop is None:
                # One for all items, so that a client which the processor keeps can be used again.
                self._loop = asyncio.new_event_loop()
            gather = _gather(self._processor, items, self._limit)
            outcomes = self._executor.submit(self._loop.run_until_complete, gather).result()
        else:
            outcomes = list(self._executor.map(lambda item: _call(self._processor, item), items))
        for outcome in outcomes:
            if outcome.error is not None and not is_item_fault(outcome.error):
                raise outcome.error
        return outcomes

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        if self._loop is not None and not self._loop.is_running():
            self._loop.close()
            self._loop = None


def _call(processor: BaseProcessor, item: ImportBatchItem) -> Prepared:
    try:
        return Prepared(processor.prepare_item(item), None)
    except BaseException as error:  # sorted by the caller
        return Prepared(None, error)


async def _gather(processor: BaseProcessor, items: Sequence[ImportBatchItem], limit: int) -> list[Prepared]:
    free = asyncio.Semaphore(limit)

    async def call(item: ImportBatchItem) -> Prepared:
        async with free:
            try:
                return Prepared(await processor.prepare_item(item), None)
            except BaseException as error:  # sorted by the caller
                return Prepared(None, error)

    return await asyncio.gather(*[call(item) for item in items])
