"""What people ask about batches, items, reasons, runs and logs. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from reliable_imports.errors import UnknownBatch
from reliable_imports.items.given import as_numbers
from reliable_imports.items.redaction import shown_text
from reliable_imports.models import Batch, BatchSummary, ItemRecord, LogEntry, RunRecord
from reliable_imports.postgres.connect import Connection, one_row, rows, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import DATA_ERASED, BatchStatus, ItemStatus, Stage

if TYPE_CHECKING:
    from reliable_imports.causes import FailureReason, OutstandingReason

_READING = load("reading.sql")

T = TypeVar("T")


def get_batch(connection: Connection, batch_id: int) -> Batch:
    with transaction(connection) as cursor:
        return read_batch(cursor, batch_id)


def read_batch(cursor: Any, batch_id: int) -> Batch:
    """The same within a transaction that is under way."""
    cursor.execute(_READING["batch"], {"batch_id": batch_id})
    row = one_row(cursor)
    if row is None:
        raise UnknownBatch(batch_id)
    return _build(Batch, row, status=BatchStatus)


def list_summaries(
    connection: Connection, *, batch_type: str | None, status: BatchStatus | str | None, limit: int
) -> list[BatchSummary]:
    parameters = {
        "batch_id": None,
        "batch_type": batch_type,
        "status": None if status is None else BatchStatus(status).value,
        "limit": limit,
    }
    return [_build(BatchSummary, row, status=BatchStatus) for row in _select(connection, "summaries", parameters)]


def get_summary(connection: Connection, batch_id: int) -> BatchSummary:
    parameters = {"batch_id": batch_id, "batch_type": None, "status": None, "limit": 1}
    found = _select(connection, "summaries", parameters)
    if not found:
        raise UnknownBatch(batch_id)
    return _build(BatchSummary, found[0], status=BatchStatus)


def failure_reasons(connection: Connection, batch_id: int) -> list[FailureReason]:
    from reliable_imports.causes import FailureReason  # most questions do without

    get_batch(connection, batch_id)
    found = _select(connection, "failure_reasons", {"batch_id": batch_id})
    sensitive = sensitive_fields(connection, batch_id)
    return [_build(FailureReason, _with_sample(row, sensitive), stage=Stage) for row in found]


def outstanding_reasons(connection: Connection, batch_id: int) -> list[OutstandingReason]:
    from reliable_imports.causes import OutstandingReason

    get_batch(connection, batch_id)
    found = _select(connection, "outstanding_reasons", {"batch_id": batch_id})
    sensitive = sensitive_fields(connection, batch_id)
    return [_build(OutstandingReason, _with_sample(row, sensitive), stage=Stage) for row in found]


def sensitive_fields(connection: Connection, batch_id: int) -> frozenset[str]:
    return frozenset(row["field"] for row in _select(connection, "sensitive_fields", {"batch_id": batch_id}))


def repeated_items(connection: Connection, batch_id: int) -> dict[int, int]:
    get_batch(connection, batch_id)
    found = _select(connection, "repeated_items", {"batch_id": batch_id})
    return {row["repeats_batch_id"]: row["count"] for row in found}


def open_lineages(connection: Connection, batch_type: str) -> list[int]:
    return [row["first_batch_id"] for row in _select(connection, "open_lineages", {"batch_type": batch_type})]


def held_batches(connection: Connection, batch_id: int) -> list[int]:
    get_batch(connection, batch_id)
    return [row["id"] for row in _select(connection, "held_batches", {"batch_id": batch_id})]


def list_items(
    connection: Connection,
    batch_id: int,
    *,
    status: ItemStatus | str | None,
    reason: str | None,
    after: int,
    limit: int,
) -> list[ItemRecord]:
    get_batch(connection, batch_id)
    parameters = {
        "batch_id": batch_id,
        "status": None if status is None else ItemStatus(status).value,
        "reason": reason,
        "after": after,
        "limit": limit,
    }
    found = [_with_text(row, "source") for row in _select(connection, "items", parameters)]
    return [_build(ItemRecord, row, status=ItemStatus, stage=Stage) for row in found]


def count_outstanding(connection: Connection, batch_id: int) -> int:
    get_batch(connection, batch_id)
    return int(_select(connection, "outstanding", {"batch_id": batch_id})[0]["count"])


def count_ignored(connection: Connection, batch_id: int) -> int:
    get_batch(connection, batch_id)
    return int(_select(connection, "outstanding", {"batch_id": batch_id})[0]["ignored"])


def list_logs(
    connection: Connection, batch_id: int, *, item_number: int | None, levels: Sequence[str] | None, limit: int
) -> list[LogEntry]:
    get_batch(connection, batch_id)
    parameters = {
        "batch_id": batch_id,
        "item_number": item_number,
        "levels": None if levels is None else list(levels),
        "limit": limit,
    }
    return [_build(LogEntry, row) for row in _select(connection, "logs", parameters)]


def list_runs(
    connection: Connection,
    *,
    batch_id: int | None,
    dagster_run_id: str | None,
    batch_type: str | None,
    lineage: int | None,
) -> list[RunRecord]:
    parameters = {"batch_id": batch_id, "dagster_run_id": dagster_run_id, "batch_type": batch_type, "lineage": lineage}
    return [_build(RunRecord, row) for row in _select(connection, "runs", parameters)]


def _select(connection: Connection, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    with transaction(connection) as cursor:
        cursor.execute(_READING[query], as_numbers(parameters))
        return rows(cursor)


def _with_sample(row: dict[str, Any], sensitive: frozenset[str]) -> dict[str, Any]:
    """A row with its sample item as it may be shown."""
    named = _with_text(row, "sample_source")
    return {**named, "sample_source_data": shown_text(named["sample_source_data"], sensitive)}


def _with_text(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The item's text; of one that is kept as bytes what is no UTF-8 is shown as escapes."""
    raw = row.pop(f"{prefix}_raw")
    if raw is None and row[f"{prefix}_data"] is None:
        row[f"{prefix}_data"] = DATA_ERASED
    elif raw is not None:
        row[f"{prefix}_data"] = bytes(raw).decode("utf-8", "backslashreplace")
    return row


def _build(kind: type[T], row: dict[str, Any], **words: type) -> T:
    """A row as its dataclass, with the named columns turned into our words."""
    for column, word in words.items():
        if row[column] is not None:
            row[column] = word(row[column])
    return kind(**row)
