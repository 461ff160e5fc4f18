"""What the server does for a batch that its statistics do not know, and for a small one among many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from reliable_imports import BatchManager, PurgeRequest, ReprocessRequest, WhichItems
from tests.conftest import Sql
from tests.core.postgres.executions import Executions, watch
from tests.core.postgres.homes import MANY_SMALL_BATCHES, TABLES, ChildrenProcessor, delivered, questions


@pytest.fixture
def home(database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> BatchManager:
    """Nothing but ANALYZE, as the tests say it, makes statistics."""
    sql(TABLES)
    for (table,) in sql("SELECT tablename FROM pg_tables WHERE schemaname = 'reliable_imports'"):
        sql(f"ALTER TABLE reliable_imports.{table} SET (autovacuum_enabled = off)")
    monkeypatch.setattr(ChildrenProcessor, "lucky", False)
    manager = BatchManager(database)
    manager.registry.register(ChildrenProcessor)
    return manager


def a_few_items(home: BatchManager) -> None:
    delivered(home, 20, 0)


def batches_with_failures(home: BatchManager) -> None:
    for first in (0, 200, 400):
        home.reprocess_batch(delivered(home, 200, 20, first=first))


@pytest.mark.parametrize("before", [a_few_items, batches_with_failures])
def test_no_item_is_compared_with_each_other_item(
    home: BatchManager,
    database: str,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    before: Callable[[BatchManager], None],
) -> None:
    """Where statistics know of other batches only, the server expects no rows, and any plan is good for none."""
    before(home)
    sql("ANALYZE")
    items, failures = 1000, 500
    executions = watch(database, monkeypatch)

    first = delivered(home, items, failures, first=10_000)
    ask_all(home, first, tmp_path, sql)
    sql("INSERT INTO parents VALUES (2)")
    ChildrenProcessor.lucky = True
    [reason, *_] = [each.reason for each in home.failure_reasons(first)]
    held = home.create_reprocess_batch(first, ReprocessRequest(reasons=[reason]))
    assert held is not None
    home.process_batch(held)
    home.reprocess_batch(first, ReprocessRequest(canary=3))
    again = home.reprocess_batch(first)
    assert again.failed_items > 0
    ask_all(home, again.batch_id, tmp_path, sql)
    delivered(home, items, 0, first=10_000)  # which settles the rest
    home.reprocess_batch(first, ReprocessRequest(which=WhichItems.ALL))
    ask_all(home, first, tmp_path, sql)
    home.erase("10001", "children")
    home.verify()
    home.purge(PurgeRequest(timedelta(0), outstanding_too=True))

    # One look at each failure for each failure would be 250 rows an item.
    assert costliest(executions, rows=80 * items, pages=80 * items) == ""


def test_a_small_batch_is_not_found_by_reading_all_others(
    home: BatchManager, database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is taken for a large part of its table is best looked up by reading all of the other one."""
    sql(MANY_SMALL_BATCHES)
    sql("ANALYZE")
    executions = watch(database, monkeypatch)

    first = delivered(home, 40, 8, first=10_000)
    ask_all(home, first, tmp_path, sql, but={"find_to_erase"})
    sql("INSERT INTO parents VALUES (2)")
    again = home.reprocess_batch(first)
    assert again.failed_items > 0
    ask_all(home, again.batch_id, tmp_path, sql, but={"find_to_erase"})
    delivered(home, 40, 0, first=10_000)
    home.reprocess_batch(first, ReprocessRequest(which=WhichItems.ALL))

    # There are 50,000 items. Batches and runs are a thousand, and some questions are about all of them.
    assert costliest(executions, rows=15_000, pages=15_000) == ""


def ask_all(home: BatchManager, batch_id: int, folder: Path, sql: Sql, *, but: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    for name, ask in questions(home, batch_id, folder, sql).items():
        if name not in but:
            ask()


def costliest(executions: Executions, *, rows: int, pages: int) -> str:
    """The statement that has cost most, if it is over a limit."""
    costs = [(max(each.rows / rows, each.pages / pages), str(each)) for each in executions.taken()]
    assert len(costs) > 100
    cost, statement = max(costs)
    return statement if cost > 1 else ""
