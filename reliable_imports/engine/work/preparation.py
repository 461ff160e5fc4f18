"""What items need from elsewhere, fetched before their transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from reliable_imports.engine.process.call_result import CallResult
from reliable_imports.engine.process.observer import Observer
from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.work.attempt import Attempt, StoredItem
from reliable_imports.engine.work.doubts import Doubts
from reliable_imports.engine.work.user_code import UserCode
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.item import ImportBatchItem

if TYPE_CHECKING:
    from reliable_imports.engine.process.concurrent_calls import ConcurrentCalls

_MAX_PREPARED = 50

NOTHING = CallResult(None, None)


def is_prepared(processor: BaseProcessor) -> bool:
    """Whether the processor has a `prepare_item`."""
    return type(processor).prepare_item is not BaseProcessor.prepare_item


def preparing_calls(processor: BaseProcessor, *, is_stopped: Callable[[], bool]) -> ConcurrentCalls:
    """Calls of `prepare_item`, as many at once and each as long as the processor says."""
    from reliable_imports.engine.process.concurrent_calls import ConcurrentCalls

    limit = processor.item_timeout
    seconds = 0 if limit is None else limit.total_seconds()
    return ConcurrentCalls(
        processor.prepare_item,
        at_once=max(1, processor.prepare_concurrency),
        longest=limit,
        too_late=f"prepare_item took longer than item_timeout, {seconds:g} seconds",
        is_stopped=is_stopped,
    )


class PreparedItems:
    """What `prepare_item` gave for the next items of a range.

    Attributes:
        are_wanted: the processor has a `prepare_item`.
    """

    def __init__(self, code: UserCode, batch_id: int, doubts: Doubts, stop: StopSignal, observer: Observer) -> None:
        self.are_wanted = is_prepared(code.processor)
        self._calls = (
            preparing_calls(code.processor, is_stopped=lambda: stop.received is not None) if self.are_wanted else None
        )
        self._code = code
        self._batch_id = batch_id
        self._doubts = doubts
        self._observer = observer
        self._by_number: dict[int, CallResult] = {}

    def has_first_of(self, items: Sequence[StoredItem]) -> bool:
        return not self.are_wanted or (bool(items) and items[0].item_number in self._by_number)

    def of(self, item_number: int) -> CallResult | None:
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
        if not wanted or self._calls is None:
            return
        if self._doubts.is_one_by_one:
            self._observer.trying(wanted[0].item_number)
            outcomes = self._calls.call(wanted, tick=lambda: None)
        else:
            # Which of them keeps the process from doing anything else nobody can tell; only that one does.
            outcomes = self._calls.call(wanted, tick=lambda: self._observer.trying(None))
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
        if self._calls is not None:
            self._calls.close()

    def _read(self, stored: StoredItem) -> ImportBatchItem:
        try:
            data = self._code.read(stored).data
        except Exception:  # told when the item is tried
            data = None
        return stored.given(self._batch_id, data)
