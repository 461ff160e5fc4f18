"""When failures are too many, or too much alike, to go on."""

from __future__ import annotations

from collections.abc import Iterable

from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.errors import ItemTimeout, UnusableTarget
from reliable_imports.items.failure import Failure
from reliable_imports.postgres.connect import Connection
from reliable_imports.postgres.error_sorting import is_environmental_state, is_refusal_of_a_row
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.statuses import Stage

_WORK = load("work.sql")

_MIN_SHARE_ITEMS = 100
# Files are mostly named by the item, so their absence is the item's affair.
_OF_THE_ITEM = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)


class MustPause(Exception):
    """The batch cannot go on now, through no fault of its items; what was undone stays pending."""


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


class Tolerance:
    """What a processor tolerates: failures in all, and failures in a row that have one environmental reason."""

    def __init__(self, processor: BaseProcessor, batch_id: int) -> None:
        self._processor = processor
        self._batch_id = batch_id
        self._reason: str | None = None
        self._streak = 0

    def forget(self) -> None:
        """Called when a chunk was undone: its items are tried again."""
        self._reason, self._streak = None, 0

    def observe(self, attempts: Iterable[Attempt]) -> None:
        """Take note of attempts in item order, before they are recorded.

        Raises:
            MustPause: too many in a row have failed for one reason.
        """
        limit = self._processor.breaker_after
        for attempt in attempts:
            failure = attempt.failure
            if failure is None or not attempt.is_environmental:
                self.forget()
                continue
            self._streak = self._streak + 1 if failure.reason == self._reason else 1
            self._reason = failure.reason
            if limit is not None and self._streak >= limit:
                raise MustPause(f"{self._streak} items in a row failed for one reason: {failure.title}")

    def check(self, connection: Connection) -> None:
        """Compare what has failed since the batch was begun or resumed with what may fail.

        Raises:
            MustPause: more has failed.
        """
        most, share = self._processor.max_failed_items, self._processor.max_failed_share
        if most is None and share is None:
            return
        with connection.cursor() as cursor:
            cursor.execute(_WORK["count_against_tolerance"], {"batch_id": self._batch_id})
            ((failed, ended),) = cursor.fetchall()
        if most is not None and failed > most:
            raise MustPause(f"{failed} items have failed, and max_failed_items is {most}")
        if share is not None and ended >= _MIN_SHARE_ITEMS and failed > share * ended:
            raise MustPause(f"{failed} of {ended} items have failed, and max_failed_share is {share:g}")
