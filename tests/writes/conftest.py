from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from reliable_imports import BaseProcessor, BatchManager

Sql = Callable[..., list[tuple[Any, ...]]]
Register = Callable[..., None]


@pytest.fixture
def sql(database: str) -> Iterator[Sql]:
    """Runs one or more statements on the test's database, committed at once, and gives the rows of the last."""
    connection = psycopg2.connect(database)
    connection.autocommit = True

    def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


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
