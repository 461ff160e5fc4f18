"""The items of a try: of a batch that is made as for a run, and rolled back as soon as its items are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from reliable_imports.batches.column_check import ColumnCheck
from reliable_imports.batches.create import insert_batch, store_items
from reliable_imports.batches.deliveries import Offer
from reliable_imports.batches.duplicates import Keying
from reliable_imports.batches.read import read_batch
from reliable_imports.batches.repeats.correcting import corrected_from
from reliable_imports.batches.repeats.reprocess import chosen_by, items_of, lock_lineage, take_requested
from reliable_imports.batches.repeats.request import ReprocessRequest
from reliable_imports.batches.repeats.taking import insert_repeat_batch
from reliable_imports.engine.work.attempt import StoredItem
from reliable_imports.errors import ConfigurationError
from reliable_imports.items.given import as_numbers
from reliable_imports.models import Batch
from reliable_imports.postgres.connect import BEGIN, Connection, roll_back
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.facts import Facts
from reliable_imports.processor.table_reading import read_facts

_TRYING = load("trying.sql")


class StagedItem(NamedTuple):
    """An item that is to be tried.

    Attributes:
        batch_id, item_number: of the item that it repeats; None if it repeats none.
        failed_before: for which reason that one has failed.
    """

    stored: StoredItem
    batch_id: int | None
    item_number: int | None
    failed_before: str | None


@dataclass(frozen=True, slots=True)
class Staged:
    """What is to be tried.

    Attributes:
        batch: it may have been rolled back already.
        facts: of the processor, with what its table says.
        total_items: how many items there are, of which these may be a sample.
        warnings: what people should know of them, a sentence each.
    """

    batch: Batch
    facts: Facts
    total_items: int
    items: Sequence[StagedItem]
    warnings: Sequence[str]


def stage_delivery(
    connection: Connection, offer: Offer, processor: type[BaseProcessor], sample: int | None, *, may_set_up: bool
) -> Staged:
    """Items that are in no batch: a list, or a file.

    Raises:
        SourceError: the source cannot be split into items.
        InvalidTarget: the processor leaves something to its table that the table does not tell.
    """
    with _rolled_back(connection) as cursor:
        batch_id = insert_batch(cursor, offer)
        assert batch_id is not None  # a try has no idempotency key
        facts = read_facts(cursor, processor, may_set_up=may_set_up)
        keying, check = Keying.of(facts), ColumnCheck.of(facts)
        total, warnings = store_items(cursor, batch_id, offer, keying, check, processor.source_options.max_items)
        return _read(cursor, processor, batch_id, total, warnings, sample)


def stage_batch(
    connection: Connection, batch_id: int, processor: type[BaseProcessor], sample: int | None, *, may_set_up: bool
) -> Staged:
    """All items of a batch that is there. Raises UnknownBatch, InvalidTarget."""
    with _rolled_back(connection) as cursor:
        read_facts(cursor, processor, may_set_up=may_set_up)
        return _read(cursor, processor, batch_id, read_batch(cursor, batch_id).total_items, (), sample)


def stage_reprocess(
    connection: Connection,
    batch_id: int,
    request: ReprocessRequest,
    processor: type[BaseProcessor],
    sample: int | None,
    *,
    may_set_up: bool,
) -> Staged | None:
    """Items of a lineage that a request names, so many for each reason; None if there are none."""
    given = [name for name in ("canary", "hold", "skip") if getattr(request, name)]
    if given:
        raise ConfigurationError(f"{' and '.join(given)} would make a batch, and a try makes none; leave it out")
    with _rolled_back(connection) as cursor:
        first_batch_id, _ = lock_lineage(cursor, batch_id)
        chosen = {**chosen_by(cursor, batch_id, first_batch_id, request, processor), "sample": sample}
        items = items_of(request)
        total = None
        if sample is not None:
            cursor.execute(_TRYING["sample"].replace("{chosen}", items), as_numbers(chosen))
            found = cursor.fetchall()
            total = sum({reason: places for *_, reason, places in found}.values())
            batches, numbers, attempts = (
                (list(each) for each in list(zip(*found, strict=True))[:3]) if found else ([], [], [])
            )
            items = _TRYING["sampled"]
            chosen |= {"batches": batches, "items": numbers, "attempts": attempts}
        new_batch_id = insert_repeat_batch(
            cursor,
            batch_id,
            overwrite_newer=request.overwrite_newer,
            corrected_from=corrected_from(request),
        )
        chosen["new_batch_id"] = new_batch_id
        taken, _ = take_requested(cursor, items, chosen, request, processor)
        if taken == 0:
            return None
        facts = read_facts(cursor, processor, may_set_up=may_set_up)
        keying = Keying.of(facts)
        if keying is not None:
            keying.mark_duplicates(cursor, new_batch_id)
        return _read(cursor, processor, new_batch_id, taken if total is None else total, (), None)


def _read(
    cursor: Any,
    processor: type[BaseProcessor],
    batch_id: int,
    total: int,
    warnings: Sequence[str],
    sample: int | None,
) -> Staged:
    wanted = sample if sample is not None and sample < total else None
    cursor.execute(_TRYING["sample_items"], {"batch_id": batch_id, "total": total, "sample": wanted})
    items = []
    for row in cursor.fetchall():
        *columns, repeats_batch, repeats_item, failed_before = row
        stored = StoredItem(*columns)
        if stored.raw is not None:
            stored = msgspec.structs.replace(stored, raw=bytes(stored.raw))
        items.append(StagedItem(stored, repeats_batch, repeats_item, failed_before))
    facts = read_facts(cursor, processor, batch_id=batch_id)
    return Staged(read_batch(cursor, batch_id), facts, total, items, warnings)


@contextmanager
def _rolled_back(connection: Connection) -> Iterator[Any]:
    """A cursor in a transaction that is never committed."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(BEGIN)
            yield cursor
    finally:
        roll_back(connection)
