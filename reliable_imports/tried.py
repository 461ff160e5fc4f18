"""What a try came to. Read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reliable_imports.models import Fault
from reliable_imports.statuses import TryOutcome


@dataclass(frozen=True, slots=True)
class TriedRow:
    """A row that an item would write.

    Attributes:
        table: as the processor names it.
        before: its columns as they stand; None if there is no such row.
        after: its columns as they would stand, with what defaults and triggers make of them. A number from a sequence
            is another one in a run. Of a row that is inserted without a key, the columns that were given, as texts.
    """

    table: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Each column that would change, with what it is before and after."""
        before, after = self.before or {}, self.after or {}
        names = dict.fromkeys([*before, *after])
        return {
            name: (before.get(name), after.get(name))
            for name in names
            if not _is_same(before.get(name), after.get(name))
        }


def _is_same(one: Any, other: Any) -> bool:
    """As stored: 1.0 is not 1.00."""
    return type(one) is type(other) and (one == other or one != one) and str(one) == str(other)


@dataclass(frozen=True, slots=True)
class TriedItem:
    """What would become of one item.

    Attributes:
        item_number: in the source, or in the batch that it would be repeated from.
        batch_id: the batch that it would be repeated from; None for an item that is in no batch.
        reason: of a failed item, the fingerprint.
        words: why it would fail or be skipped.
        rows: what it would write by `upsert` and `insert`; a TableProcessor writes nothing else.
        result: what `process_item` returned.
        failed_before: of an item that has failed, for which reason.
        may_lack_rows: it failed for a row that is missing, and rows of earlier items were rolled back by then: in a run
            those are there.
        faults: all that is wrong with a failed item, as far as one attempt can tell.
    """

    item_number: int
    batch_id: int | None
    outcome: TryOutcome
    reason: str | None
    words: str | None
    rows: Sequence[TriedRow]
    result: Mapping[str, Any] | None
    failed_before: str | None
    may_lack_rows: bool = False
    faults: Sequence[Fault] = ()


@dataclass(frozen=True, slots=True)
class TriedReason:
    """Why items of a try would fail.

    Attributes:
        items: how many of those that were tried.
        same: how many of them have failed for it before.
        sample_item_number: the first of them.
    """

    reason: str
    title: str
    items: int
    same: int
    sample_item_number: int


@dataclass(frozen=True, slots=True)
class TryReport:
    """What a run would make of some items; nothing of it was kept.

    Attributes:
        total_items: how many there are, of which a sample may have been tried.
        items: those that were tried, in their order.
        warnings: what people should know of the source, a sentence each.
    """

    batch_type: str
    total_items: int
    items: Sequence[TriedItem]
    warnings: Sequence[str] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many items came to each outcome, by its word; 0 for those that none came to."""
        counted = Counter(item.outcome for item in self.items)
        return {outcome.value: counted[outcome] for outcome in TryOutcome}

    @property
    def created(self) -> int:
        """Items that make a row which is not there."""
        return self._count(TryOutcome.CREATED)

    @property
    def changed(self) -> int:
        """Items that change a row which is there."""
        return self._count(TryOutcome.CHANGED)

    @property
    def unchanged(self) -> int:
        """Items that complete, and leave every row as it stands."""
        return self._count(TryOutcome.UNCHANGED)

    @property
    def completed(self) -> int:
        """Items that complete by statements of their own, and of which no more is known."""
        return self._count(TryOutcome.COMPLETED)

    @property
    def skipped(self) -> int:
        """Items that have nothing to do."""
        return self._count(TryOutcome.SKIPPED)

    @property
    def failed(self) -> int:
        """Items that fail."""
        return self._count(TryOutcome.FAILED)

    @property
    def would_complete(self) -> int:
        """Items that are neither skipped nor failed."""
        return len(self.items) - self.skipped - self.failed

    @property
    def same_reason(self) -> int:
        """Items that have failed before, and fail for the same reason again."""
        return sum(item.reason is not None and item.reason == item.failed_before for item in self.items)

    @property
    def reasons(self) -> list[TriedReason]:
        """Why items fail, the commonest reason first."""
        by_reason: dict[str, list[TriedItem]] = {}
        for item in self.items:
            if item.reason is not None:
                by_reason.setdefault(item.reason, []).append(item)
        found = [
            TriedReason(
                reason,
                items[0].words or "",
                len(items),
                sum(item.failed_before == reason for item in items),
                items[0].item_number,
            )
            for reason, items in by_reason.items()
        ]
        return sorted(found, key=lambda each: -each.items)

    def _count(self, outcome: TryOutcome) -> int:
        return sum(item.outcome is outcome for item in self.items)
