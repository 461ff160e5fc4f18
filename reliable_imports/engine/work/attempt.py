"""What became of one item."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import msgspec

from reliable_imports.engine.isolation.item_writes import ItemWrites
from reliable_imports.items.failure import Failure
from reliable_imports.items.redaction import without_secrets
from reliable_imports.processor.context import LogLine
from reliable_imports.processor.item import ImportBatchItem
from reliable_imports.processor.result import dumps_result
from reliable_imports.statuses import Outcome, Stage


class StoredItem(msgspec.Struct, frozen=True, gc=False):
    """An item as a claim reads it.

    Attributes:
        attempt: the number of the attempt that is about to be made.
        duplicate_of: another item of the batch with the same natural key, which wins; or, where `duplicate_fails`,
            makes this one fail.
        tries_last: the item has waited for others, and none of those was completed since.
    """

    item_number: int
    text: str | None
    raw: bytes | None
    line: int | None
    offset: int | None
    read_problem: str | None = None
    read_problem_kind: str | None = None
    earlier_attempts: int = 0
    origin_batch_id: int | None = None
    origin_item_number: int | None = None
    attempt: int = 1
    duplicate_of: int | None = None
    duplicate_fails: bool | None = None
    tries_last: bool = False

    @property
    def is_for_the_processor(self) -> bool:
        """Whether the processor sees it; what becomes of any other item is known beforehand."""
        return self.read_problem is None and self.duplicate_of is None

    def given(self, batch_id: int, source_data: Any = None, prepared: Any = None) -> ImportBatchItem:
        """The item as the processor gets it."""
        return ImportBatchItem(batch_id, self.item_number, source_data, self.line, self.offset, self.attempt, prepared)


class Retry(NamedTuple):
    """The item is tried again within the run.

    Attributes:
        pause: not before this long.
        waits_for_others: a deferred constraint was not met, and another item of the batch may bring what it needs.
    """

    pause: timedelta = timedelta(0)
    waits_for_others: bool = False


class Attempt(msgspec.Struct, eq=False):
    """What became of one item; a failed write can still turn a completed one into a failed one."""

    stored: StoredItem
    writes: ItemWrites
    item: ImportBatchItem | None = None
    """As the processor gets it; None until it was read."""
    outcome: Outcome = Outcome.COMPLETED
    stage: Stage = Stage.READ
    """How far the item has come."""
    result: str | None = None
    skip_reason: str | None = None
    failure: Failure | None = None
    is_environmental: bool = False
    """The failure says more about the world than about the item: an outage, a missing right, a missing table."""
    retry: Retry | None = None
    earlier_tries: Sequence[Failure] = ()
    """Failures in this run before this attempt, whose chunks were undone."""
    logs: list[LogLine] = []  # a new list for each
    natural_key: int | None = None
    """The natural key that the processor declares, hashed."""

    @property
    def source_data(self) -> Any:
        """As the processor gets it; None until it was read."""
        return None if self.item is None else self.item.source_data

    @property
    def number(self) -> int:
        """Of this attempt at the item, across all reprocessing."""
        return self.stored.attempt + len(self.earlier_tries)

    @property
    def is_final(self) -> bool:
        return self.retry is None

    @property
    def is_eventful(self) -> bool:
        """Whether there is more to say of it than that it was completed; most often there is not."""
        return self.outcome is not Outcome.COMPLETED or bool(self.logs) or bool(self.earlier_tries)

    def skip(self, reason: str) -> None:
        self.outcome, self.result, self.skip_reason = Outcome.SKIPPED, None, reason

    def fail(self, failure: Failure, *, is_environmental: bool) -> None:
        self.outcome, self.result, self.failure = Outcome.FAILED, None, failure
        self.is_environmental = is_environmental

    def hide(self, sensitive: frozenset[str]) -> None:
        """Take out of what is written down of the attempt what the item's sensitive fields hold; logs have none."""
        data = self.source_data
        hidden = partial(without_secrets, source_data=data, sensitive=sensitive)
        if self.result is not None:
            self.result = dumps_result(hidden(json.loads(self.result)))
        self.skip_reason = hidden(self.skip_reason)
        if self.failure is not None:
            self.failure = self.failure.without_values_of(sensitive, data)
        self.earlier_tries = [each.without_values_of(sensitive, data) for each in self.earlier_tries]
