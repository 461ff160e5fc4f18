"""Why items failed, as it comes out of the tables. Read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from reliable_imports.statuses import BatchStatus, ReasonState, Stage


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
