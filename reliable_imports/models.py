"""What comes out of the tables, and what a processor is given. All of it is read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from reliable_imports.statuses import BatchStatus, ItemStatus, Stage


class ImportBatchItem(msgspec.Struct, frozen=True):
    """One item of a batch, as a processor gets it.

    Attributes:
        batch_id: the batch it belongs to.
        item_number: its number within the batch, from 1, in the order of the source.
        source_data: the stored item, parsed; in a mapping, the processor's `null_tokens` are None already.
        line: 1-based line in the source file where the item begins, or None.
        offset: 0-based byte offset of that in the decompressed file, or None.
        attempt: 1 for the first try; counts on across reprocessing.
        prepared: what the processor's `prepare_item` returned for this item; None without one.
    """

    batch_id: int
    item_number: int
    source_data: Any
    line: int | None = None
    offset: int | None = None
    attempt: int = 1
    prepared: Any = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of `import_batches`: what was accepted, and what it repeats.

    Attributes:
        is_held: it waits until a person has it processed, and no sensor begins it.
        is_canary: a few items for each reason are tried; the rest is taken when those have ended.
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
