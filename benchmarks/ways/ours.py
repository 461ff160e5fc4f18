"""Reliable Imports as it comes: BatchManager.create_batch from a list of dicts, then BatchManager.process_batch."""

from __future__ import annotations

from functools import partial

from benchmarks.measuring import Clock
from benchmarks.processors import (
    DeclaredTableProcessor,
    DeclaredUpsertProcessor,
    NothingProcessor,
    OwnStatementProcessor,
    manager_of,
)
from benchmarks.rows import Item, check_counts, completed_and_failed
from benchmarks.ways.way import Way
from reliable_imports import BaseProcessor

DECLARED_UPSERT = "ours: declared, ctx.upsert"
DECLARED_TABLE = "ours: declared, TableProcessor with a pydantic model"
OWN_STATEMENT = "ours: any process_item, one ctx.execute"
NOTHING = "ours: an item that does nothing"


def run(processor: type[BaseProcessor], dsn: str, items: list[Item], clock: Clock) -> None:
    manager = manager_of(dsn)
    with clock.timing("create"):
        batch_id = manager.create_batch(processor.batch_type, items)
    with clock.timing("process"):
        summary = manager.process_batch(batch_id)
    expected = (len(items), 0) if processor is NothingProcessor else completed_and_failed(items)
    check_counts(f"completed and failed items of {summary}", (summary.completed_items, summary.failed_items), expected)


_TRACKS = "everything"

WAYS = [
    Way(DECLARED_UPSERT, partial(run, DeclaredUpsertProcessor), isolates=True, tracks=_TRACKS),
    Way(DECLARED_TABLE, partial(run, DeclaredTableProcessor), isolates=True, tracks=_TRACKS),
    Way(OWN_STATEMENT, partial(run, OwnStatementProcessor), isolates=True, tracks=_TRACKS),
    Way(NOTHING, partial(run, NothingProcessor), isolates=False, tracks=_TRACKS, writes=False),
]
