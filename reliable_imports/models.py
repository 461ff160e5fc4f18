"""What comes out of the tables, and what a processor is given. All of it is read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from reliable_imports.statuses import BatchStatus, ItemStatus, Stage


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
