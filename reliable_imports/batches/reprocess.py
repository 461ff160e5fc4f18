"""Running items again: a new batch, linked to the one it repeats, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg2.extensions import new_type, register_type
from psycopg2.extras import Json

from reliable_imports.batches.duplicates import Keying
from reliable_imports.errors import ConfigurationError, IdempotencyKeyTaken, UnknownBatch, UnknownReason
from reliable_imports.models import DueLineage
from reliable_imports.postgres import copy_text
from reliable_imports.postgres.connect import Connection, rows, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.sources import SourceOptions
from reliable_imports.sources.again import read_again

_JSON_AS_TEXT = new_type((114,), "JSON_AS_TEXT", lambda text, cursor: text)

_INGEST = load("ingest.sql")
_REPROCESS = load("reprocess.sql")
_WORK = load("work.sql")


@dataclass(frozen=True, slots=True)
class ReprocessRequest:
    """Which items of a batch's line are to be run again, and who asked.

    Attributes:
        failed_items_only: only outstanding failures; else the latest repeat of every item that has an end.
        reasons: only failures with one of these fingerprints.
        due_only: only retryable failures whose back-off is over.
        retryable_only: only retryable failures, due or not.
        permanent_only: only failures that no back-off will cure.
        max_attempts: only failures with fewer attempts.
        resolved_references_only: only failures for want of a row that is there now.
        exclude_cancelled: not what a cancelled batch has left undone.
        overwrite_newer: an old item may overwrite what a newer one has written under the same key.
        exclude_reasons: no failures with these fingerprints.
        from_item, to_item: only these items, numbered as in the first batch of the line, both included.
    """

    failed_items_only: bool = True
    reasons: Sequence[str] | None = None
    due_only: bool = False
    retryable_only: bool = False
    permanent_only: bool = False
    max_attempts: int | None = None
    resolved_references_only: bool = False
    exclude_cancelled: bool = False
    overwrite_newer: bool = False
    exclude_reasons: Sequence[str] = ()
    from_item: int | None = None
    to_item: int | None = None
    idempotency_key: str | None = None
    requested_by: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        """Raises ConfigurationError: all items were asked for, and some failures."""
        narrowed = {
            "reason": self.reasons is not None,
            "due_only": self.due_only,
            "retryable_only": self.retryable_only,
            "permanent_only": self.permanent_only,
            "max_attempts": self.max_attempts is not None,
            "resolved_references_only": self.resolved_references_only,
            "exclude_cancelled": self.exclude_cancelled,
            "exclude_reasons": bool(self.exclude_reasons),
        }
        if not self.failed_items_only and any(narrowed.values()):
            given = ", ".join(name for name, is_given in narrowed.items() if is_given)
            raise ConfigurationError(
                f"failed_items_only=False runs all items again, completed ones too, and cannot be narrowed by {given}, "
                "which choose among failures; leave one of them out, or choose by from_item and to_item"
            )


def create_reprocess_batch(
    connection: Connection,
    batch_id: int,
    request: ReprocessRequest,
    keying: Keying | None,
    options: SourceOptions | None,
) -> int | None:
    """Take the items under the line's lock into a new batch; see `BatchManager.create_reprocess_batch`.

    Args:
        options: how the processor reads files now; rows that could not be read are read again so.
    """
    with transaction(connection) as cursor:
        cursor.execute(_REPROCESS["lock_lineage"], {"batch_id": batch_id})
        first = cursor.fetchone()
        if first is None:
            raise UnknownBatch(batch_id)
        line = {
            "first_batch_id": first[0],
            "reasons": None if request.reasons is None else list(request.reasons),
            "due_only": request.due_only,
            "retryable_only": request.retryable_only,
            "permanent_only": request.permanent_only,
            "max_attempts": request.max_attempts,
            "resolved_references_only": request.resolved_references_only,
            "exclude_cancelled": request.exclude_cancelled,
            "exclude_reasons": list(request.exclude_reasons),
            "from_item": request.from_item,
            "to_item": request.to_item,
        }
        if request.idempotency_key is not None:
            cursor.execute(
                _INGEST["find_delivery"], {"batch_type": first[1], "idempotency_key": request.idempotency_key}
            )
            if (known := cursor.fetchone()) is not None:
                if known[1] != first[0] or known[0] == first[0]:
                    raise IdempotencyKeyTaken(request.idempotency_key, int(known[0]), batch_id)
                return int(known[0])
        if request.reasons is not None:
            cursor.execute(_REPROCESS["unknown_reasons"], line)
            if (unknown := cursor.fetchone()) is not None:
                raise UnknownReason(unknown[0], batch_id)
        cursor.execute("SAVEPOINT nothing_taken")
        cursor.execute(
            _REPROCESS["insert_reprocess_batch"],
            {
                "batch_id": batch_id,
                "overwrite_newer": request.overwrite_newer,
                "idempotency_key": request.idempotency_key,
                "requested_by": request.requested_by,
                "note": request.note,
            },
        )
        new_batch_id = int(cursor.fetchone()[0])
        # Waits for chunks that are under way; after this nobody else works on what a cancelled batch left undone.
        cursor.execute(_REPROCESS["close_cancelled_ranges"], line)
        cursor.execute(_REPROCESS["close_cancelled_retries"], line)
        taken, read_again = _take(cursor, {**line, "new_batch_id": new_batch_id}, request, options)
        if taken == 0:
            cursor.execute("ROLLBACK TO SAVEPOINT nothing_taken")
            cursor.execute(_REPROCESS["find_open_reprocess"], line)
            open_batch = cursor.fetchone()
            return None if open_batch is None else int(open_batch[0])
        seal: dict[str, Any] = {
            "batch_id": new_batch_id,
            "total_items": taken,
            "source_sha256": None,
            "source_bytes": None,
            "source_reading": None,
            "warnings": [],
        }
        cursor.execute(_INGEST["seal_batch"], seal)
        cursor.execute(_INGEST["make_ranges"], {"batch_id": new_batch_id, "total_items": taken})
        if keying is not None:
            keying.mark_duplicates(cursor, new_batch_id)
        details: dict[str, Any] = {
            "items": taken,
            "reprocess_of": batch_id,
            "requested_by": request.requested_by,
            "note": request.note,
        }
        if read_again:
            details["items_read_again"] = read_again
        for logged_in, message in ((new_batch_id, "reprocess batch created"), (batch_id, "reprocess requested")):
            cursor.execute(
                _WORK["insert_log"],
                {
                    "batch_id": logged_in,
                    "run_id": None,
                    "level": "info",
                    "message": message,
                    "details": Json({**details, "batch_id": new_batch_id}),
                },
            )
        return new_batch_id


def _take(
    cursor: Any, parameters: dict[str, Any], request: ReprocessRequest, options: SourceOptions | None
) -> tuple[int, int]:
    """Put the items into the new batch; how many there are, and of how many the kept bytes can be read now."""
    chosen = _REPROCESS["failures" if request.failed_items_only else "all_items"]
    reading = None
    if options is not None:
        cursor.execute(_REPROCESS["line_reading"], parameters)
        reading = cursor.fetchone()
    if options is None or reading is None:
        cursor.execute(f"{_REPROCESS['take']}\n{chosen}", parameters)
        return cursor.rowcount, 0
    taken = read = 0
    # What is chosen stays the same from the first page to the last: a cursor of the server has one snapshot.
    cursor.execute(f"{_REPROCESS['declare']}\n{chosen}", parameters)
    with cursor.connection.cursor() as pages:
        register_type(_JSON_AS_TEXT, pages)
        while True:
            pages.execute(_REPROCESS["fetch"])
            page = [_Chosen(*row) for row in pages.fetchall()]
            if not page:
                return taken, read
            lines = []
            for item in page:
                repeat = item.read_again(reading[0], options)
                read += item.read_problem is not None and repeat.read_problem is None
                lines.append(copy_text.line(*repeat))
            cursor.copy_expert(_REPROCESS["copy_items"], copy_text.BlockReader(lines))
            taken += len(page)


class _Chosen(NamedTuple):
    """A row for import_items."""

    batch_id: int
    item_number: int
    source_data: str | None
    source_raw: memoryview | bytes | None
    read_problem: str | None
    read_problem_kind: str | None
    source_line: int | None
    source_offset: int | None
    repeats_batch_id: int
    repeats_item_number: int
    origin_batch_id: int
    origin_item_number: int
    earlier_attempts: int

    def read_again(self, reading: Mapping[str, Any], options: SourceOptions) -> _Chosen:
        """The row with what its bytes are now, if it could not be read and is something else now."""
        if self.source_raw is None:
            return self
        raw = bytes(self.source_raw)
        item = None if self.read_problem is None else read_again(raw, reading, options)
        if item is None:
            return self._replace(source_raw=raw)
        problem = None if item.problem is None else item.problem.replace("\0", "")
        return self._replace(
            source_data=item.text, source_raw=item.raw, read_problem=problem, read_problem_kind=item.kind
        )


def last_of_lineage(connection: Connection, batch_id: int) -> int:
    """The newest batch of the line."""
    with transaction(connection) as cursor:
        cursor.execute(_REPROCESS["lock_lineage"], {"batch_id": batch_id})
        first = cursor.fetchone()
        if first is None:
            raise UnknownBatch(batch_id)
        cursor.execute(_REPROCESS["find_last_of_lineage"], {"first_batch_id": first[0]})
        return int(cursor.fetchone()[0] or batch_id)


def lineages_due(connection: Connection, limit: int, exclude_reasons: Sequence[str]) -> list[DueLineage]:
    """Lines that a sensor should start a run for, oldest first."""
    with transaction(connection) as cursor:
        cursor.execute(_REPROCESS["lineages_due"], {"limit": limit, "exclude_reasons": list(exclude_reasons)})
        return [DueLineage(**row) for row in rows(cursor)]


def failing_lineages(connection: Connection, batch_type: str | None, retryable_only: bool) -> list[int]:
    with transaction(connection) as cursor:
        cursor.execute(_REPROCESS["failing_lineages"], {"batch_type": batch_type, "retryable_only": retryable_only})
        return [first_batch_id for (first_batch_id,) in cursor.fetchall()]


def count_waiting(connection: Connection, batch_types: Sequence[str]) -> dict[str, int]:
    with transaction(connection) as cursor:
        cursor.execute(_REPROCESS["count_waiting"], {"batch_types": batch_types})
        return dict(cursor.fetchall())
