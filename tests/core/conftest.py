from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from reliable_imports import BatchManager
from tests.core.doubles import NOTES, FlakyProcessor, ImmediateProcessor, NotesProcessor, PlainProcessor

_WRITTEN_BUT_NOT_DONE = """
    SELECT batch, item
    FROM writes
    LEFT JOIN reliable_imports.import_batch_items AS items
        ON items.batch_id = writes.batch
        AND items.item_number = writes.item
    WHERE items.status IS DISTINCT FROM 'completed'
"""

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def sql(database: str) -> Iterator[Sql]:
    """Runs one statement on the test's database, committed at once, and gives its rows."""
    connection = psycopg2.connect(database)
    connection.autocommit = True

    def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


@pytest.fixture
def manager(database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchManager]:
    """A manager with the doubles registered and their tables made; afterwards everything must balance (promise 6)."""
    sql(NOTES)
    monkeypatch.setattr(NotesProcessor, "fixed", False)
    monkeypatch.setattr(FlakyProcessor, "failing", True)
    manager = BatchManager(database)
    for processor in (NotesProcessor, ImmediateProcessor, FlakyProcessor, PlainProcessor):
        manager.registry.register(processor)
    yield manager
    assert sql("SELECT batch_id FROM reliable_imports.reconciliation WHERE NOT balanced") == []
    assert sql("SELECT batch, item FROM writes GROUP BY 1, 2 HAVING count(*) > 1") == [], "written twice"
    assert sql(_WRITTEN_BUT_NOT_DONE) == []
