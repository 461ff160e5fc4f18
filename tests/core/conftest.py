from __future__ import annotations

from collections.abc import Iterator

import pytest

from reliable_imports import BatchManager
from tests.conftest import Sql
from tests.core.doubles import NOTES, FlakyProcessor, ImmediateProcessor, NotesProcessor, PlainProcessor

_WRITTEN_BUT_NOT_DONE = """
    SELECT batch, item
    FROM writes
    LEFT JOIN reliable_imports.import_batch_items AS items
        ON items.batch_id = writes.batch
        AND items.item_number = writes.item
    WHERE items.status IS DISTINCT FROM 'completed'
"""


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
