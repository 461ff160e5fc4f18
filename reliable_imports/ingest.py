"""Making a batch: every item of a source is stored, exactly as it came, before any is touched."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name
from psycopg2.extras import Json

from reliable_imports import copy_text
from reliable_imports.database import transaction
from reliable_imports.duplicates import Keying
from reliable_imports.errors import SourceError
from reliable_imports.json_text import TooLarge, dumps_item, plain_object
from reliable_imports.queries import load
from reliable_imports.source_item import SourceItem
from reliable_imports.sources import Source

logger = logging.getLogger("reliable_imports")

_COPY_BYTES = 64 * 1024
_BLOCK_LENGTH = 32 * 1024
"""Characters of lines that are put together before they are sent; few of them need two bytes."""

_INGEST = load("ingest.sql")
_WORK = load("work.sql")


def create_batch(
    connection: Connection,
    batch_type: str,
    items: Iterable[object],
    *,
    source: str | None,
    idempotency_key: str | None,
    requested_by: str | None,
    metadata: Mapping[str, Any] | None,
    keying: Keying | None,
) -> int:
    """Store *items* as a new batch in one transaction and return its id; see `BatchManager.create_batch`."""
    named = source or (items.name if isinstance(items, Source) else None)
    with transaction(connection) as cursor:
        delivery = {"batch_type": batch_type, "idempotency_key": idempotency_key}
        cursor.execute(
            _INGEST["insert_batch"],
            {**delivery, "source": named, "requested_by": requested_by, "metadata": Json(dict(metadata or {}))},
        )
        inserted = cursor.fetchone()
        if inserted is None:
            cursor.execute(_INGEST["find_delivery"], delivery)
            return int(cursor.fetchone()[0])
        batch_id = int(inserted[0])
        total = _copy_items(cursor, batch_id, items)
        warnings = [] if keying is None else keying.warnings(cursor, batch_id)
        # Known only now, when the file has been read to its end.
        sha256, size = (items.sha256, items.size) if isinstance(items, Source) else (None, None)
        cursor.execute(
            _INGEST["seal_batch"],
            {
                "batch_id": batch_id,
                "total_items": total,
                "source_sha256": sha256,
                "source_bytes": size,
                "warnings": warnings,
            },
        )
        cursor.execute(_INGEST["make_ranges"], {"batch_id": batch_id, "total_items": total})
        if keying is not None:
            keying.mark_duplicates(cursor, batch_id)
        level, message = ("info", "batch created") if total else ("warning", "batch created without items")
        details = {"items": total, "source": named}
        for log_level, log_message, log_details in [
            (level, message, details),
            *[("warning", each, {}) for each in warnings],
        ]:
            cursor.execute(
                _WORK["insert_log"],
                {
                    "batch_id": batch_id,
                    "run_id": None,
                    "level": log_level,
                    "message": log_message,
                    "details": Json(log_details),
                },
            )
    logger.log(logging.INFO if total else logging.WARNING, message, extra={"batch_id": batch_id, "items": total})
    return batch_id


def _copy_items(cursor: Any, batch_id: int, items: Iterable[object]) -> int:
    """COPY the items and return how many there were; an exception of the iterable comes through as it is."""
    counter = [0]
    reader = copy_text.BlockReader(_blocks(batch_id, items, counter))
    try:
        cursor.copy_expert(_INGEST["copy_items"], reader, size=_COPY_BYTES)
    except psycopg2.Error:
        if reader.error is not None:
            raise reader.error from None
        raise
    if cursor.rowcount != counter[0]:
        raise AssertionError(f"sent {counter[0]} items, but the server stored {cursor.rowcount}")
    return counter[0]


def _blocks(batch_id: int, items: Iterable[object], counter: list[int]) -> Iterator[str]:
    """The items as lines, joined: in one loop, for each step of it is taken once for every item."""
    escape = copy_text.escape
    lines: list[str] = []
    length = 0
    for number, value in enumerate(items, start=1):
        counter[0] = number
        if type(value) is SourceItem:
            line = _line(batch_id, number, value)
        elif (text := plain_object(value)) is not None:
            if "\\" in text:  # the encoder leaves nothing else to escape
                text = escape(text)
            line = f"{batch_id}\t{number}\t{text}\t\\N\t\\N\t\\N\t\\N\t\\N\n"
        else:
            line = _line(batch_id, number, _stored(number, value))
        lines.append(line)
        length += len(line)
        if length >= _BLOCK_LENGTH:
            yield "".join(lines)
            lines.clear()
            length = 0
    yield "".join(lines)


def _stored(number: int, value: object) -> SourceItem:
    try:
        return dumps_item(value)
    except TooLarge as error:
        raise SourceError("the items", f"item {number} holds {error}") from None


def _line(batch_id: int, number: int, item: SourceItem) -> str:
    if item.text is None:
        problem = None if item.problem is None else item.problem.replace("\0", "")
        return copy_text.line(batch_id, number, None, item.raw, problem, item.kind, item.line, item.offset)
    line = copy_text.NULL if item.line is None else item.line
    offset = copy_text.NULL if item.offset is None else item.offset
    return f"{batch_id}\t{number}\t{copy_text.escape(item.text)}\t\\N\t\\N\t\\N\t{line}\t{offset}\n"
