"""A batch that repeats items of others: how it is made, and what it keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from reliable_imports.batches.corrections.sorting import ItemId
from reliable_imports.items.source_item import SourceItem
from reliable_imports.postgres import copy_text
from reliable_imports.postgres.queries import load
from reliable_imports.sources import SourceOptions
from reliable_imports.sources.again import read_again

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
    cursor.execute(_of_chosen("take", chosen), _narrowed(parameters, after, limit))
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
    cursor.execute(_of_chosen("declare", chosen), _narrowed(parameters, after, limit))
    with cursor.connection.cursor() as pages:
        while True:
            pages.execute(_REPROCESS["fetch"])
            page = [(_Repeat(*row[:9]), _Unread(*row[9:])) for row in pages.fetchall()]
            if not page:
                pages.execute(_REPROCESS["close"])
                return taken, read
            lines = []
            for repeat, unread in page:
                data = unread.read_again(reading[0], options)
                if data is None:
                    lines.append(copy_text.line(*repeat, *_NO_DATA))
                else:
                    read += data.read_problem is None
                    lines.append(copy_text.line(*repeat.with_data_of_its_own(), *data))
            cursor.copy_expert(_REPROCESS["copy_repeats"], copy_text.BlockReader(lines))
            taken += len(page)


def _of_chosen(query: str, chosen: str) -> str:
    repeats = _REPROCESS["repeats"].replace("{chosen}", chosen)
    return _REPROCESS[query].replace("{repeats}", repeats)


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
    cursor.execute(_of_chosen("declare_with_data", chosen), _narrowed(parameters, 0, None))
    with cursor.connection.cursor() as pages:
        while limit is None or taken < limit:
            pages.execute(_REPROCESS["fetch"])
            page = [(_Repeat(*row[:9]), *row[9:]) for row in pages.fetchall()]
            if not page:
                break
            lines = []
            for repeat, text, raw, is_read, line, offset in page:
                item = ItemId(repeat.repeats_batch_id, repeat.repeats_item_number)
                new = correct(item, text if raw is None else bytes(raw), is_read)
                if new is None:
                    continue
                taken += 1
                own = repeat.with_data_of_its_own()._replace(item_number=taken)
                lines.append(copy_text.line(*own, *_Data(new.text, new.raw, None, None, line, offset)))
                if taken == limit:
                    break
            cursor.copy_expert(_REPROCESS["copy_repeats"], copy_text.BlockReader(lines))
        pages.execute(_REPROCESS["close"])
    return taken


class _Repeat(NamedTuple):
    """Numbers and links of a row for import_items."""

    batch_id: int
    item_number: int
    repeats_batch_id: int
    repeats_item_number: int
    origin_batch_id: int
    origin_item_number: int
    repeats_attempts: int
    data_batch_id: int | None
    data_item_number: int | None

    def with_data_of_its_own(self) -> _Repeat:
        return self._replace(data_batch_id=None, data_item_number=None)


class _Data(NamedTuple):
    """Data of a row for import_items."""

    source_data: str | None
    source_raw: bytes | None
    read_problem: str | None
    read_problem_kind: str | None
    source_line: int | None
    source_offset: int | None


_NO_DATA = _Data(None, None, None, None, None, None)


class _Unread(NamedTuple):
    """What is known of an item that could not be read; of others there are no bytes."""

    read_problem: str | None
    read_problem_kind: str | None
    source_line: int | None
    source_offset: int | None
    source_raw: memoryview | None

    def read_again(self, reading: Mapping[str, Any], options: SourceOptions) -> _Data | None:
        """What the bytes are now; None if they are what they were."""
        if self.source_raw is None:
            return None
        raw = bytes(self.source_raw)
        item = read_again(raw, reading, options)
        if item is None:
            return None
        problem = None if item.problem is None else item.problem.replace("\0", "")
        if (item.raw, problem, item.kind) == (raw, self.read_problem, self.read_problem_kind):
            return None
        return _Data(item.text, item.raw, problem, item.kind, self.source_line, self.source_offset)
