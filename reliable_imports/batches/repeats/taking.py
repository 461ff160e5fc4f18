"""A batch that repeats items of others: how it is made, and what it keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from psycopg2.extensions import new_type, register_type

from reliable_imports.batches.corrections.sorting import ItemId
from reliable_imports.items.source_item import SourceItem
from reliable_imports.postgres import copy_text
from reliable_imports.postgres.queries import load
from reliable_imports.sources import SourceOptions
from reliable_imports.sources.again import read_again

_JSON_AS_TEXT = new_type((114,), "JSON_AS_TEXT", lambda text, cursor: text)

_INGEST = load("ingest.sql")
_REPROCESS = load("reprocess.sql")


def insert_repeat_batch(
    cursor: Any,
    batch_id: int,
    *,
    overwrite_newer: bool = False,
    is_held: bool = False,
    corrected_from: str | None = None,
    idempotency_key: str | None = None,
    requested_by: str | None = None,
    note: str | None = None,
) -> int:
    """A batch without items yet, for repeats of items of the lineage of *batch_id*, whose lock is held."""
    cursor.execute(
        _REPROCESS["insert_reprocess_batch"],
        {
            "batch_id": batch_id,
            "overwrite_newer": overwrite_newer,
            "is_held": is_held,
            "corrected_from": corrected_from,
            "idempotency_key": idempotency_key,
            "requested_by": requested_by,
            "note": note,
        },
    )
    return int(cursor.fetchone()[0])


def take(cursor: Any, chosen: str, parameters: Mapping[str, Any], *, after: int = 0, limit: int | None = None) -> int:
    """Put items into a new batch; how many there are.

    Args:
        chosen: SQL that chooses them, by `batch_id` and `item_number`, with the `attempts` that count.
        after: the last number that the batch has given already.
    """
    statement = f"{_REPROCESS['take']}\n{_REPROCESS['repeats'].replace('{chosen}', chosen)}"
    cursor.execute(statement, _narrowed(parameters, after, limit))
    return int(cursor.rowcount)


def take_and_read_again(
    cursor: Any,
    chosen: str,
    parameters: Mapping[str, Any],
    options: SourceOptions | None,
    *,
    after: int = 0,
    limit: int | None = None,
) -> tuple[int, int]:
    """Do what `take` does; also give of how many items the kept bytes can be read now, which could not be before.

    Args:
        options: how the processor reads files now; None if nobody knows.
    """
    reading = None
    if options is not None:
        cursor.execute(_REPROCESS["lineage_reading"], parameters)
        reading = cursor.fetchone()
    if options is None or reading is None:
        return take(cursor, chosen, parameters, after=after, limit=limit), 0
    taken = read = 0
    # What is chosen stays the same from the first page to the last: a cursor of the server has one snapshot.
    items = _REPROCESS["repeats"].replace("{chosen}", chosen)
    cursor.execute(f"{_REPROCESS['declare']}\n{items}", _narrowed(parameters, after, limit))
    with cursor.connection.cursor() as pages:
        register_type(_JSON_AS_TEXT, pages)
        while True:
            pages.execute(_REPROCESS["fetch"])
            page = [_Chosen(*row) for row in pages.fetchall()]
            if not page:
                pages.execute(_REPROCESS["close"])
                return taken, read
            lines = []
            for item in page:
                repeat = item.read_again(reading[0], options)
                read += item.read_problem is not None and repeat.read_problem is None
                lines.append(copy_text.line(*repeat))
            cursor.copy_expert(_REPROCESS["copy_repeats"], copy_text.BlockReader(lines))
            taken += len(page)


def _narrowed(parameters: Mapping[str, Any], after: int, limit: int | None) -> dict[str, Any]:
    return {"from_item": None, "to_item": None, **parameters, "after": after, "limit": limit}


def seal_repeat_batch(cursor: Any, batch_id: int, total_items: int) -> None:
    """Say how many items the batch has."""
    cursor.execute(
        _INGEST["seal_batch"],
        {
            "batch_id": batch_id,
            "total_items": total_items,
            "source_sha256": None,
            "source_bytes": None,
            "source_reading": None,
            "warnings": [],
        },
    )


def take_corrected(
    cursor: Any,
    chosen: str,
    parameters: Mapping[str, Any],
    correct: Callable[[ItemId, str | bytes, bool], SourceItem | None],
    *,
    limit: int | None = None,
) -> int:
    """Put items into a new batch with data of their own; how many there are.

    Args:
        correct: given an item, its stored data, and whether that could be read, gives what its repeat has; None leaves
            the item alone.
    """
    taken = 0
    items = _REPROCESS["repeats"].replace("{chosen}", chosen)
    cursor.execute(f"{_REPROCESS['declare']}\n{items}", _narrowed(parameters, 0, None))
    with cursor.connection.cursor() as pages:
        register_type(_JSON_AS_TEXT, pages)
        while limit is None or taken < limit:
            pages.execute(_REPROCESS["fetch"])
            page = [_Chosen(*row) for row in pages.fetchall()]
            if not page:
                break
            lines = []
            for item in page:
                data = item.source_data if item.source_raw is None else bytes(item.source_raw)
                assert data is not None  # what is erased is not outstanding
                repeats = ItemId(item.repeats_batch_id, item.repeats_item_number)
                new = correct(repeats, data, item.read_problem is None)
                if new is None:
                    continue
                taken += 1
                repeat = item._replace(
                    item_number=taken,
                    source_data=new.text,
                    source_raw=new.raw,
                    read_problem=None,
                    read_problem_kind=None,
                )
                lines.append(copy_text.line(*repeat))
                if taken == limit:
                    break
            cursor.copy_expert(_REPROCESS["copy_repeats"], copy_text.BlockReader(lines))
        pages.execute(_REPROCESS["close"])
    return taken


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
