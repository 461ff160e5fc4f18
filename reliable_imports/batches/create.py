"""Making a batch: every item of a source is stored, exactly as it came, before any is touched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg2

from reliable_imports.batches.column_check import ColumnCheck
from reliable_imports.batches.deliveries import (
    EarlierBatch,
    Offer,
    find_before_reading,
    find_by_content,
    find_by_key,
    log,
    same_content_warning,
    told_of_same_content,
    told_of_same_key,
)
from reliable_imports.batches.duplicates import Keying, SeenKeys
from reliable_imports.errors import SourceError
from reliable_imports.items.given import json_object
from reliable_imports.items.json_write import TooLarge, dumps_item, plain_object
from reliable_imports.items.source_item import SourceItem
from reliable_imports.log import logger
from reliable_imports.models import Delivery
from reliable_imports.postgres import copy_text
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.sources import Source
from reliable_imports.sources.again import reading_of
from reliable_imports.sources.limits import LARGEST_NUMBER, too_many_items

_COPY_BYTES = 64 * 1024
_BLOCK_LENGTH = 32 * 1024
"""Characters of lines that are put together before they are sent; few of them need two bytes."""

_INGEST = load("ingest.sql")


class _Repeats(Exception):
    """The content is that of an earlier batch, which is known only when it has been read to its end."""

    def __init__(self, earlier: EarlierBatch) -> None:
        self.earlier = earlier
        super().__init__()


def create_batch(
    connection: Connection, offer: Offer, *, keying: Keying | None, check: ColumnCheck | None, max_items: int
) -> Delivery:
    """Store the items as a new batch in one transaction; see `BatchManager.deliver`."""
    with connection.cursor() as cursor:
        named = find_by_key(cursor, offer)
    if named is not None:
        return told_of_same_key(connection, offer, named)
    held = find_before_reading(connection, offer)
    if held is not None:
        return told_of_same_content(connection, offer, held)
    try:
        with transaction(connection) as cursor:
            batch_id = insert_batch(cursor, offer)
            if batch_id is None:  # a delivery with this key was under way, and is committed now
                named = find_by_key(cursor, offer)
            else:
                return _fill_batch(cursor, batch_id, offer, keying, check, max_items)
    except _Repeats as repeats:
        return told_of_same_content(connection, offer, repeats.earlier)
    assert named is not None
    return told_of_same_key(connection, offer, named)


def insert_batch(cursor: Any, offer: Offer) -> int | None:
    """A batch without items yet, and its id; None if the offer's idempotency key names another one."""
    cursor.execute(
        _INGEST["insert_batch"],
        {
            "batch_type": offer.batch_type,
            "idempotency_key": offer.idempotency_key,
            "source": offer.source,
            "requested_by": offer.requested_by,
            "metadata": json_object("metadata", offer.metadata),
        },
    )
    inserted = cursor.fetchone()
    return None if inserted is None else int(inserted[0])


def _fill_batch(
    cursor: Any, batch_id: int, offer: Offer, keying: Keying | None, check: ColumnCheck | None, max_items: int
) -> Delivery:
    total, warnings = store_items(cursor, batch_id, offer, keying, check, max_items)
    left_out = offer.items.findings.left_out if isinstance(offer.items, Source) else {}
    level, message = ("info", "batch created") if total else ("warning", "batch created without items")
    log(cursor, batch_id, level, message, {"items": total, "source": offer.source, **left_out})
    for warning in warnings:
        log(cursor, batch_id, "warning", warning, {})
    has_problem = not total or bool(warnings)
    logger.log(
        logging.WARNING if has_problem else logging.INFO,
        message,
        extra={"batch_id": batch_id, "items": total, "warnings": warnings},
    )
    return Delivery(batch_id, is_new=True, warnings=tuple(warnings))


def store_items(
    cursor: Any, batch_id: int, offer: Offer, keying: Keying | None, check: ColumnCheck | None, max_items: int
) -> tuple[int, list[str]]:
    """Put the offer's items into a batch that has none; how many there are, and what people should know of them."""
    seen = None if keying is None else SeenKeys(keying)
    total = _copy_items(cursor, batch_id, offer.items, check, seen, max_items)
    warnings = [] if keying is None else keying.warnings(cursor, batch_id)
    warnings += [] if check is None else check.warnings()
    reading = None
    # Known only now, when the file has been read to its end.
    sha256, size = None, None
    if isinstance(offer.items, Source):
        sha256, size = offer.items.sha256, offer.items.size
        warnings += offer.items.findings.warnings
        reading = reading_of(offer.items)
    if sha256 is not None and size is not None:
        # Waits for a delivery of the same content that is under way, and is then seen by the next statement.
        cursor.execute(_INGEST["lock_content"], {"batch_type": offer.batch_type, "sha256": sha256})
        earlier = find_by_content(cursor, offer, sha256, size, batch_id)
        if earlier is not None and offer.same_content != "warn":
            raise _Repeats(earlier)
        if earlier is not None:
            warnings.append(same_content_warning(earlier))
    cursor.execute(
        _INGEST["seal_batch"],
        {
            "batch_id": batch_id,
            "total_items": total,
            "source_sha256": sha256,
            "source_bytes": size,
            "source_reading": None if reading is None else json_object("source_reading", reading),
            "warnings": warnings,
        },
    )
    cursor.execute(_INGEST["make_ranges"], {"batch_id": batch_id, "total_items": total})
    if keying is not None:
        keying.mark_duplicates(cursor, batch_id, seen)
    return total, warnings


def _copy_items(
    cursor: Any,
    batch_id: int,
    items: Iterable[object],
    check: ColumnCheck | None,
    seen: SeenKeys | None,
    max_items: int,
) -> int:
    """COPY the items and return how many there were; an exception of the iterable comes through as it is."""

    def look(block: str, count: int) -> None:
        _check_count(items, count, max_items)
        if check is not None:
            check.look(block)

    counter = [0]
    begun = iter(items) if check is None else check.begin(items)
    reader = copy_text.BlockReader(_blocks(batch_id, begun, counter, look, seen))
    try:
        cursor.copy_expert(_INGEST["copy_items"], reader, size=_COPY_BYTES)
    except psycopg2.Error as error:
        if reader.error is not None:
            raise reader.error from None
        said = cursor.connection.info.error_message
        if cursor.connection.closed and said:  # all of it: the server's last words were why it closed the connection
            raise type(error)(said.strip()) from None
        raise
    if cursor.rowcount != counter[0]:
        raise AssertionError(f"sent {counter[0]} items, but the server stored {cursor.rowcount}")
    return counter[0]


def _blocks(
    batch_id: int,
    items: Iterable[object],
    counter: list[int],
    look: Callable[[str, int], None],
    seen: SeenKeys | None,
) -> Iterator[str]:
    """The items as lines, joined: in one loop, for each step of it is taken once for every item."""
    escape = copy_text.escape
    only = None if seen is None else seen.only
    keys: list[Any] = []
    lines: list[str] = []
    length = 0
    for number, value in enumerate(items, start=1):
        counter[0] = number
        if type(value) is SourceItem:
            line = _line(batch_id, number, value)
            if seen is not None and value.problem is None:
                keys.append(seen.key_of_json(value.text))
        elif (text := plain_object(value)) is not None:
            if only is not None:
                keys.append(value.get(only))  # type: ignore[attr-defined]  # only a dict has such a text
            elif seen is not None:
                keys.append(seen.key_of(value))  # type: ignore[arg-type]
            if "\\" in text:  # the encoder leaves nothing else to escape
                text = escape(text)
            line = f"{batch_id}\t{number}\t{text}\t\\N\t\\N\t\\N\t\\N\t\\N\n"
        else:
            stored = _stored(number, value)
            line = _line(batch_id, number, stored)
            if seen is not None and stored.problem is None:
                keys.append(seen.key_of_json(stored.text))
        lines.append(line)
        length += len(line)
        if length >= _BLOCK_LENGTH:
            block = "".join(lines)
            look(block, number)
            if seen is not None:
                seen.note(keys)
                keys.clear()
            yield block
            lines.clear()
            length = 0
    if seen is not None:
        seen.note(keys)
        seen.finish()
    block = "".join(lines)
    look(block, counter[0])
    yield block


def _check_count(items: Iterable[object], count: int, max_items: int) -> None:
    """Raise SourceError if there are more items than a batch may have; looked at now and then."""
    if isinstance(items, Source):
        items.check_items(count)
    elif count > max_items:
        raise SourceError("the items", too_many_items(max_items))


def _stored(number: int, value: object) -> SourceItem:
    try:
        return dumps_item(value)
    except TooLarge as error:
        raise SourceError("the items", f"item {number} holds {error}") from None


def _line(batch_id: int, number: int, item: SourceItem) -> str:
    # A later line has its offset alone.
    line = None if item.line is None or item.line > LARGEST_NUMBER else item.line
    if item.text is None:
        problem = None if item.problem is None else item.problem.replace("\0", "")
        return copy_text.line(batch_id, number, None, item.raw, problem, item.kind, line, item.offset)
    offset = copy_text.NULL if item.offset is None else item.offset
    shown_line = copy_text.NULL if line is None else line
    return f"{batch_id}\t{number}\t{copy_text.escape(item.text)}\t\\N\t\\N\t\\N\t{shown_line}\t{offset}\n"
