from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from reliable_imports import BaseProcessor, BatchManager
from tests.conftest import Sql

Register = Callable[..., None]


@pytest.fixture
def manager(database: str, sql: Sql) -> Iterator[BatchManager]:
    """A manager without processors; afterwards every batch must balance."""
    manager = BatchManager(database)
    yield manager
    assert sql("SELECT batch_id FROM reliable_imports.reconciliation WHERE NOT balanced") == []
    assert [each.problems for each in manager.verify() if each.problems] == []


@pytest.fixture
def register(manager: BatchManager) -> Register:
    """Makes processors known, each in place of the one that had its batch type before."""
    known: dict[str, type[BaseProcessor]] = {}

    def run(*processors: type[BaseProcessor]) -> None:
        known.update({processor.batch_type: processor for processor in processors})
        manager.registry = type(manager.registry)()
        for each in known.values():
            manager.registry.register(each)

    return run


def said(manager: BatchManager, batch_id: int) -> list[str]:
    """Why the items of a batch failed or were skipped, in item order."""
    items = manager.list_items(batch_id, limit=1000)
    return [
        f"{item.item_number} {item.status.value}: {item.skip_reason or item.error_message}"
        for item in items
        if item.skip_reason or item.error_message
    ]
