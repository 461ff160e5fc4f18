"""What a user of Reliable Imports would write for the same rows, in four ways."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from benchmarks.rows import NUMBERED, TARGET, UPSERT
from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext, TableProcessor

RETURNING_KEY = f"{UPSERT} RETURNING code"
RETURNING_ID = f"{UPSERT.replace(TARGET, NUMBERED)} RETURNING id"


class Row(BaseModel):
    """The name may be missing here, so that it is the server that refuses it: that is what is measured."""

    code: str
    name: str | None
    city: str
    amount_cents: int
    quantity: int
    note: str


class DeclaredTableProcessor(TableProcessor):
    """Declared altogether: checked against a pydantic model, then upserted."""

    table = "bench.target"
    key = ("code",)
    model = Row


class DeclaredUpsertProcessor(BaseProcessor):
    """The write is declared by `ctx.upsert` and sent with those of other items."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("bench.target", item.source_data, key="code")


class OwnStatementProcessor(BaseProcessor):
    """A statement of one's own, run at once."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.execute(UPSERT, item.source_data)


class ReturningKeyProcessor(BaseProcessor):
    """The same with RETURNING of what was given."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any]:
        return {"target_table": TARGET, "target_id": ctx.fetch_value(RETURNING_KEY, item.source_data)}


class ReturningIdProcessor(BaseProcessor):
    """The same with RETURNING of the row's number, as whoever needs the id of a new row writes it."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any]:
        return {"target_table": NUMBERED, "target_id": ctx.fetch_value(RETURNING_ID, item.source_data)}


class NothingProcessor(BaseProcessor):
    """The cost of tracking alone."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        pass


CAUSES = 8


class RefusingProcessor(BaseProcessor):
    """Refuses every item, for one of several causes; only the scenario of failures uses it."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.reject("is not what we want", field=f"field_{item.item_number % CAUSES}")


PROCESSORS: tuple[type[BaseProcessor], ...] = (
    DeclaredTableProcessor,
    DeclaredUpsertProcessor,
    OwnStatementProcessor,
    ReturningKeyProcessor,
    ReturningIdProcessor,
    NothingProcessor,
)


def manager_of(dsn: str) -> BatchManager:
    """A manager that knows the processors above, on a database that is migrated already."""
    manager = BatchManager(dsn, migrate=False)
    for processor in PROCESSORS:
        manager.registry.register(processor)
    return manager
