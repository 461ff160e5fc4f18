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


def wants_preparation(processor: BaseProcessor) -> bool:
    return type(processor).prepare_item is not BaseProcessor.prepare_item


def prepare(processor: BaseProcessor, items: Sequence[ImportBatchItem]) -> list[Prepared]:
    """Call `prepare_item` for all of *items*, at most `prepare_concurrency` at once; results in their order.

    Raises:
        BaseException: what is no item's fault, such as KeyboardInterrupt.
    """
    limit = max(1, processor.prepare_concurrency)
    if inspect.iscoroutinefunction(processor.prepare_item):
        # In a thread of its own, for the caller's may have a running event loop.
        with ThreadPoolExecutor(1) as executor:
            outcomes = executor.submit(asyncio.run, _gather(processor, items, limit)).result()
    else:
        with ThreadPoolExecutor(limit) as executor:
            outcomes = list(executor.map(lambda item: _call(processor, item), items))
    for outcome in outcomes:
        if outcome.error is not None and not is_item_fault(outcome.error):
            raise outcome.error
    return outcomes


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
