from __future__ import annotations

import pytest

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext
from tests.conftest import Sql


class GuestsProcessor(BaseProcessor):
    """Refuses in several ways, and quotes what it refuses."""

    batch_type = "guests"
    sensitive = ("iban",)
    fixed = False

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        data = item.source_data
        if not isinstance(data, dict):
            raise TypeError("no fields")
        if data.get("skip"):
            ctx.skip(f"known: {data['skip']}")
        if data.get("complaint") and not self.fixed:
            raise ValueError(f"it said: {data['complaint'][::-1]}")
        ctx.insert("guests", {"name": data["name"], "room": data.get("room")})


@pytest.fixture
def guests(database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> BatchManager:
    monkeypatch.setattr(GuestsProcessor, "fixed", False)
    sql("CREATE TABLE rooms (number integer PRIMARY KEY)")
    sql("INSERT INTO rooms VALUES (1), (2)")
    sql("CREATE TABLE guests (name text NOT NULL, room integer REFERENCES rooms)")
    manager = BatchManager(database)
    manager.registry.register(GuestsProcessor)
    return manager
