"""What comes out of the tables, and what a processor is given. All of it is read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from reliable_imports.statuses import BatchStatus, ItemStatus, ReasonState, Stage, TryOutcome


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of `import_batches`: what was accepted, and what it repeats.

    Attributes:
        is_held: it waits until a person has it processed, and no sensor begins it.
        is_canary: a few items for each reason are tried; the rest is taken when those have ended.
        corrected_from: its items have data of their own instead of that of the items that they repeat; where that comes
            from, such as a file. None for all other batches.
    """

    id: int
    batch_type: str
    status: BatchStatus
    source: str | None
    source_sha256: str | None
    source_bytes: int | None
    idempotency_key: str | None
    reprocess_of: int | None
    first_batch_id: int
    overwrite_newer: bool
    is_held: bool
    is_canary: bool
    corrected_from: str | None
    requested_by: str | None
    note: str | None
    metadata: Mapping[str, Any]
    warnings: Sequence[str]
    total_items: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of items that were delivered.

    Attributes:
        batch_id: the batch that has them: made for them, or there already.
        is_new: whether it was made for them.
        warnings: what people should know, a sentence each; of a new batch, they are kept with it.
    """

    batch_id: int
    is_new: bool
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """Where a batch stands. `total_items` is always the sum of the other four counts.

    Attributes:
        pause_reason: why the batch is paused, in words; None unless it is.
        warnings: what people should know of the delivery, a sentence each.
        open_items: pending and processing ones.
        reprocess_of: the batch that this one repeats, or None.
        first_batch_id: the first batch of its lineage; its own id unless it is a reprocess batch.
        erased_items: items whose data is gone, because somebody was to be forgotten or it was old; counted above too.
        seconds: from the first start to the end, or to now while it runs; None before it has started.
    """

    batch_id: int
    batch_type: str
    status: BatchStatus
    source: str | None
    total_items: int
    completed_items: int
    failed_items: int
    skipped_items: int
    open_items: int
    reprocess_of: int | None
    first_batch_id: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    pause_reason: str | None
    warnings: Sequence[str]
    erased_items: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class FailureReason:
    """A group of a batch's failed items with one cause.

    Attributes:
        reason: the fingerprint; `ReprocessRequest(reasons=[...])` takes it.
        title: the cause in words, without a value of any item.
        items: how many items of the batch failed for it.
        sample_item_number: the first of them.
        sample_source_data: what that item holds, as JSON text, sensitive fields masked; the raw bytes as text where it
            could not be read.
    """

    reason: str
    title: str
    stage: Stage
    error_type: str
    items: int
    retryable_items: int
    sample_item_number: int
    sample_source_data: str
    sample_line: int | None
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class OutstandingReason:
    """Failed items with one cause, of one batch of a lineage, that no later item repeats.

    Attributes:
        batch_id: the batch that they failed in.
        reason: the fingerprint; None for items that a cancelled batch left undone, which have no title or stage either.
        sample_item_number, sample_source_data: as in `FailureReason`.
    """

    batch_id: int
    reason: str | None
    title: str | None
    stage: Stage | None
    items: int
    sample_item_number: int
    sample_source_data: str


@dataclass(frozen=True, slots=True)
class CommonValue:
    """What many items hold in the field at fault.

    Attributes:
        value: as text, at most 200 characters; None where the field is empty or missing; `***` where it is sensitive.
    """

    value: str | None
    items: int


@dataclass(frozen=True, slots=True)
class ReasonSummary:
    """One cause of failures, in the batches that were asked for.

    Attributes:
        reason: the fingerprint; its beginning is enough wherever a reason is asked for.
        title: the cause in words, without a value of any item.
        field: the field or column at fault; None where none is known.
        rule: what was not met: a constraint, a kind of error of the model's, or the name of an exception.
        items: failed items with this cause. An item that was repeated and failed again is another item of its batch.
        only: those of them that have no other cause.
        outstanding: those that no later item repeats; of one batch, those of its whole lineage.
        outstanding_only: those of these that have no other cause: what is gone once this cause is.
        waiting: those that are repeated by a batch that has not ended.
        batches: in how many batches it was met.
        last_batch_id: the newest of them.
        met_first_in: the oldest batch in which it was met, also if others were asked for.
        first_seen: over all batches also that of the same cause under the code before.
        values: the commonest values of the field at fault, in the batches in which something is outstanding, or in all
            if nothing is. Of each batch the 20 commonest are counted, so a value may have more.
        note: what a person has said of it last.
        ignored_why: why it is to be left; None unless a person has said so.
        has_surged: it is ignored and told all the same: more than twice as many items failed for it on one day since
            then, ten at least, as on any day before.
        continues: the reason that the same cause had under the code before.
    """

    reason: str
    title: str
    state: ReasonState
    batch_type: str
    field: str | None
    rule: str
    items: int
    only: int
    outstanding: int
    outstanding_only: int
    waiting: int
    retryable_items: int
    batches: int
    last_batch_id: int
    met_first_in: int
    first_seen: datetime
    last_seen: datetime
    values: tuple[CommonValue, ...]
    note: str | None
    ignored_why: str | None
    ignored_until: datetime | None
    has_surged: bool | None
    continues: str | None


@dataclass(frozen=True, slots=True)
class FailedSample:
    """A failed item of one cause, for people.

    Attributes:
        field, value: the field at fault, and what the item holds there; None where it is empty, if `is_empty` says so.
        source_data: the item as JSON text with the field at fault first, sensitive fields masked; the raw bytes as text
            where it could not be read.
        reasons: all of its causes.
        retry_at: when another try may succeed without anybody's help; None if it waits for a person.
    """

    batch_id: int
    item_number: int
    source_line: int | None
    attempts: int
    stage: Stage
    error_type: str
    error_message: str
    reasons: tuple[str, ...]
    retryable: bool
    retry_at: datetime | None
    failed_at: datetime
    field: str | None
    value: str | None
    is_empty: bool
    source_data: str
    is_outstanding: bool


@dataclass(frozen=True, slots=True)
class ReasonBatch:
    """A batch in which a cause was met."""

    batch_id: int
    status: BatchStatus
    source: str | None
    reprocess_of: int | None
    items: int
    outstanding: int
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class ReasonAction:
    """What somebody did about a cause.

    Attributes:
        kind: `note`, `ignore`, `end_ignore`, or `repeat`.
        text: what was said; of a repeat the note of its batch.
        until: until when it is ignored; None for good.
        batch_id, items, failed_again: of a repeat: its batch, how many items of the cause it took, and how many of
            them failed for it again.
    """

    at: datetime
    by: str | None
    kind: str
    text: str | None
    until: datetime | None
    batch_id: int | None
    items: int | None
    failed_again: int | None


@dataclass(frozen=True, slots=True)
class ReasonDetails:
    """All that is known of one cause.

    Attributes:
        summary: over the batches that were asked for.
        samples: items that are outstanding first, of the newest batch that has any.
        days: how many items failed for it on which day (UTC), by the day on which their batch met it first.
        batches: where it was met, the newest first.
        actions: what people did about it, oldest first.
        due_at: when the next of those may be tried again that wait for no person; None if there are none.
        traceback: the calls that led to the first sample's error.
    """

    summary: ReasonSummary
    samples: tuple[FailedSample, ...]
    days: tuple[tuple[date, int], ...]
    batches: tuple[ReasonBatch, ...]
    actions: tuple[ReasonAction, ...]
    due_at: datetime | None
    traceback: str | None


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One row of the view `import_batch_items`: an item, where it is, and its latest attempt.

    Attributes:
        source_data: `data erased` once it was; so for samples of reasons.
        erased_at: when somebody was forgotten, or old data purged; None for most.
    """

    batch_id: int
    item_number: int
    status: ItemStatus
    source_data: str
    source_line: int | None
    attempts: int
    result: Mapping[str, Any] | None
    skip_reason: str | None
    stage: Stage | None
    error_type: str | None
    error_message: str | None
    reason: str | None
    retryable: bool | None
    finished_at: datetime | None
    erased_at: datetime | None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the audit log."""

    id: int
    batch_id: int
    item_number: int | None
    run_id: int | None
    level: str
    message: str
    details: Mapping[str, Any] | None
    logged_at: datetime


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One execution of a batch by somebody.

    Attributes:
        code_version: changes with the text of the processor's class; None if that has no source file.
        state: `running`, `finished`, `interrupted`, or `lost` when its heartbeat stopped without an end.
    """

    run_id: int
    batch_id: int
    runner: str
    dagster_run_id: str | None
    mode: str
    code_version: str | None
    state: str
    completed: int
    failed: int
    skipped: int
    started_at: datetime
    ended_at: datetime | None
    seconds: float
    error: str | None


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


class Fault(NamedTuple):
    """One of the things that are wrong with an item.

    Attributes:
        reason: the fingerprint of its cause, the same for all failures with this cause.
        title: the cause in words, without values.
        field: the field or column that it is about, if it is about one; `*` in a path stands for keys and positions
            that the item has chosen.
        rule: what was not met: a kind of error of the model's, a constraint, the name of an SQLSTATE or an exception.
        value: what the field held, as text and cut; None where that is not known, is no single value, or is sensitive.
    """

    reason: str
    title: str
    field: str | None
    rule: str
    value: str | None = None


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
