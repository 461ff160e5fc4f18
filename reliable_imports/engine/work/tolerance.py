"""When failures are too many, or too much alike, to go on."""

from __future__ import annotations

from collections.abc import Iterable

from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.errors import ItemTimeout, UnusableTarget
from reliable_imports.items.failure import Failure
from reliable_imports.postgres.error_sorting import is_environmental_state, is_refusal_of_a_row
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.statuses import Stage

_MIN_SHARE_ITEMS = 100
# Files are mostly named by the item, so their absence is the item's affair.
_OF_THE_ITEM = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)


def is_environmental(failure: Failure, error: BaseException | None) -> bool:
    """Whether a failure says more about the world than about its item, so that the next one will likely fail too."""
    if error is not None and is_refusal_of_a_row(error):
        return False
    if failure.sqlstate is not None:
        return is_environmental_state(failure.sqlstate)
    if isinstance(error, UnusableTarget):
        return True
    if isinstance(error, ItemTimeout) and failure.stage is Stage.PREPARE:
        return True  # a service that does not answer
    return isinstance(error, OSError | ImportError) and not isinstance(error, _OF_THE_ITEM)


class CircuitBreaker:
    """Counts failures in a row that have one environmental reason."""

    def __init__(self, processor: BaseProcessor) -> None:
        self._limit = processor.breaker_after
        self._reason: str | None = None
        self._streak = 0

    def forget(self) -> None:
        """Called when a chunk was undone: its items are tried again."""
        self._reason, self._streak = None, 0

    def observe(self, attempts: Iterable[Attempt]) -> str | None:
        """Take note of attempts in item order; return why the batch must be paused, if it must."""
        for attempt in attempts:
            failure = attempt.failure
            if failure is None or not attempt.environmental:
                self._reason, self._streak = None, 0
                continue
            self._streak = self._streak + 1 if failure.reason == self._reason else 1
            self._reason = failure.reason
            if self._limit is not None and self._streak >= self._limit:
                return f"{self._streak} items in a row failed for one reason: {failure.title}"
        return None


def excess(processor: BaseProcessor, failed: int, ended: int) -> str | None:
    """Why *failed* of *ended* items are more than the processor tolerates, if they are."""
    if processor.max_failed_items is not None and failed > processor.max_failed_items:
        return f"{failed} items have failed, and max_failed_items is {processor.max_failed_items}"
    share = processor.max_failed_share
    if share is not None and ended >= _MIN_SHARE_ITEMS and failed > share * ended:
        return f"{failed} of {ended} items have failed, and max_failed_share is {share:g}"
    return None
