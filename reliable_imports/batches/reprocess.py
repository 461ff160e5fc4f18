"""Running items again: a new batch, linked to the one it repeats, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name
from psycopg2.extensions import new_type, register_type
from psycopg2.extras import Json

from reliable_imports.batches.duplicates import Keying
from reliable_imports.batches.request import ReprocessRequest, WhichItems
from reliable_imports.errors import IdempotencyKeyTaken, UnknownBatch, UnknownReason
from reliable_imports.postgres import copy_text
from reliable_imports.postgres.connect import transaction
from reliable_imports.postgres.queries import load
from reliable_imports.sources import SourceOptions
from reliable_imports.sources.again import read_again

_JSON_AS_TEXT = new_type((114,), "JSON_AS_TEXT", lambda text, cursor: text)

_INGEST = load("ingest.sql")
_REPROCESS = load("reprocess.sql")
_WORK = load("work.sql")


def create_reprocess_batch(
    connection: Connection,
    batch_id: int,
    request: ReprocessRequest,
    keying: Keying | None,
    options: SourceOptions | None,
) -> int | None:
    """Take the items under the lock of the lineage into a new batch; see `BatchManager.create_reprocess_batch`.

    Args:
        options: how the processor reads files now; rows that could not be read are read again so.
    """
    with transaction(connection) as cursor:
        cursor.execute(_REPROCESS["lock_lineage"], {"batch_id": batch_id})
        first = cursor.fetchone()
        if first is None:
            raise UnknownBatch(batch_id)
        chosen = {
            "first_batch_id": first[0],
            "which": request.which.value,
            "reasons": None if request.reasons is None else list(request.reasons),
            "exclude_reasons": list(request.exclude_reasons),
            "max_attempts": request.max_attempts,
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
            cursor.execute(_REPROCESS["unknown_reasons"], chosen)
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
        cursor.execute(_REPROCESS["close_cancelled_ranges"], chosen)
        cursor.execute(_REPROCESS["close_cancelled_retries"], chosen)
        taken, read_again = _take(cursor, {**chosen, "new_batch_id": new_batch_id}, request, options)
        if taken == 0:
            cursor.execute("ROLLBACK TO SAVEPOINT nothing_taken")
            cursor.execute(_REPROCESS["find_open_reprocess"], chosen)
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
    chosen = _REPROCESS["ended_items" if request.which is WhichItems.ALL else "outstanding_items"]
    items = _REPROCESS["repeats"].format(chosen=chosen)
    reading = None
    if options is not None:
        cursor.execute(_REPROCESS["lineage_reading"], parameters)
        reading = cursor.fetchone()
    if options is None or reading is None:
        cursor.execute(f"{_REPROCESS['take']}\n{items}", parameters)
        return cursor.rowcount, 0
    taken = read = 0
    # What is chosen stays the same from the first page to the last: a cursor of the server has one snapshot.
    cursor.execute(f"{_REPROCESS['declare']}\n{items}", parameters)
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
            cursor.copy_expert(_REPROCESS["copy_repeats"], copy_text.BlockReader(lines))
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
    """The newest batch of the lineage."""
    with transaction(connection) as cursor:
        cursor.execute(_REPROCESS["lock_lineage"], {"batch_id": batch_id})
        first = cursor.fetchone()
        if first is None:
            raise UnknownBatch(batch_id)
        cursor.execute(_REPROCESS["find_last_of_lineage"], {"first_batch_id": first[0]})
        return int(cursor.fetchone()[0] or batch_id)
