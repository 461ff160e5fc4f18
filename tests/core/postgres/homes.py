"""Databases that have seen many batches, and what people and programs ask of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from reliable_imports import (
    BatchManager,
    ImportBatchItem,
    ImportContext,
    ItemStatus,
    PurgeRequest,
    TableProcessor,
    TransientError,
)
from reliable_imports.report.subject import Showing, report_on_batch, report_on_type
from tests.conftest import Sql

TABLES = """
CREATE TABLE parents (id integer PRIMARY KEY);
INSERT INTO parents VALUES (1);
CREATE TABLE children (
    id      integer PRIMARY KEY,
    name    text NOT NULL CHECK (name <> 'bad'),
    parent  integer NOT NULL REFERENCES parents
);
"""

MANY_SMALL_BATCHES = """
WITH batches AS (
    INSERT INTO reliable_imports.import_batches (
        id, batch_type, status, first_batch_id, total_items, completed_items, failed_items, skipped_items, is_counted,
        started_at, finished_at
    )
    OVERRIDING SYSTEM VALUE
    SELECT number, 'children', 'completed', number, 50, 50, 0, 0, true, now(), now()
    FROM generate_series(1, 1000) AS number
    RETURNING id
), ranges AS (
    INSERT INTO reliable_imports.import_ranges (batch_id, range_number, last_item, next_item, is_open, completed)
    SELECT id, 1, 50, 51, false, 50
    FROM batches
), runs AS (
    INSERT INTO reliable_imports.import_runs (
        batch_id, runner, mode, host, process_id, completed, ended_at, outcome
    )
    SELECT id, 'python', 'import', 'host', 1, 50, now(), 'finished'
    FROM batches
), items AS (
    INSERT INTO reliable_imports.import_items (batch_id, item_number, source_data)
    SELECT id, number, '{"id": 1, "name": "good", "parent": 1}'
    FROM batches, generate_series(1, 50) AS number
)
INSERT INTO reliable_imports.import_attempts (batch_id, item_number, attempt, run_id, outcome, is_final, row_key)
SELECT id, number, 1, id, 'completed', true, id * 50 + number
FROM batches, generate_series(1, 50) AS number;
SELECT setval(pg_get_serial_sequence('reliable_imports.import_batches', 'id'), 1000);
"""


class Child(BaseModel):
    id: int
    name: str
    parent: int


class ChildrenProcessor(TableProcessor):
    """Fails items in four ways: for good reasons of the model, a check, and a foreign key, and for want of luck."""

    table = "children"
    key = ("id",)
    model = Child
    max_tries = 1
    lucky = False
    """Set by a test to say that what was down is up again."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if item.source_data["name"] == "unlucky" and not type(self).lucky:
            raise TransientError("it is down")
        return super().process_item(item, ctx)


def delivered(manager: BatchManager, items: int, failures: int, *, first: int = 1) -> int:
    """A batch of items numbered from *first*, processed; the failures lie evenly among them."""
    ways = ({"parent": 2}, {"name": "bad"}, {"name": None}, {"name": "unlucky"})
    every = items // failures if failures else items + 1

    def item(number: int) -> dict[str, Any]:
        wrong = ways[number // every % len(ways)] if number % every == 0 else {}
        return {"id": first + number, "name": "good", "parent": 1, **wrong}

    batch_id = manager.create_batch("children", [item(number) for number in range(1, items + 1)])
    manager.process_batch(batch_id)
    return batch_id


def questions(manager: BatchManager, batch_id: int, folder: Path, sql: Sql) -> dict[str, Callable[[], object]]:
    """What can be asked of a batch that has ended, by name. Nothing is changed."""
    from reliable_imports_dagster.run.report.failed_values import commonest_values

    orchestration = manager.orchestration
    [(first, reasons)] = sql(
        "SELECT first_batch_id, ARRAY(SELECT DISTINCT reason FROM reliable_imports.item_reasons WHERE batch_id = id) "
        "FROM reliable_imports.import_batches WHERE id = %s",
        batch_id,
    )
    showing = Showing.of(ChildrenProcessor)
    year = timedelta(days=365)
    return {
        "get_summary": lambda: manager.get_summary(batch_id),
        "list_batches": lambda: manager.list_batches(),
        "failure_reasons": lambda: manager.failure_reasons(batch_id),
        "failures": lambda: manager.failures(with_closed=True),
        "failures of a batch": lambda: manager.failures(batch_id),
        "failure": lambda: [manager.failure(reason) for reason in reasons],
        "failure of a batch": lambda: [manager.failure(reason, batch_id=batch_id) for reason in reasons],
        "list_items": lambda: manager.list_items(batch_id),
        "list_items that failed": lambda: manager.list_items(batch_id, status=ItemStatus.FAILED),
        "list_items for a reason": lambda: [manager.list_items(batch_id, reason=reason) for reason in reasons],
        "count_outstanding": lambda: manager.count_outstanding(batch_id),
        "count_ignored": lambda: manager.count_ignored(batch_id),
        "outstanding_reasons": lambda: manager.outstanding_reasons(batch_id),
        "repeated_items": lambda: manager.repeated_items(batch_id),
        "open_lineages": lambda: manager.open_lineages("children"),
        "list_logs": lambda: manager.list_logs(batch_id),
        "list_runs": lambda: manager.list_runs(lineage=first),
        "verify": lambda: manager.verify(batch_id),
        "report_on_batch": lambda: report_on_batch(manager, batch_id, showing),
        "report_on_type": lambda: report_on_type(manager, "children", showing),
        "commonest_values": lambda: commonest_values(manager, batch_id, "children", reasons, ()),
        "export_failures": lambda: manager.export_failures(folder / "failed.csv", batch_id),
        "read_corrections": lambda: manager.read_corrections(folder / "failed.csv"),
        "try_reprocess": lambda: manager.try_reprocess(first),
        "try_reprocess of a sample": lambda: manager.try_reprocess(first, sample=3),
        "find_to_erase": lambda: manager.find_to_erase("1", "children", alike=True),
        "find_to_purge": lambda: manager.find_to_purge(PurgeRequest(timedelta(0))),
        "count_erased": lambda: manager.count_erased(batch_id),
        "waiting_batches": lambda: orchestration.waiting_batches(),
        "abandoned_batches": lambda: orchestration.abandoned_batches(),
        "interrupted_batches": lambda: orchestration.interrupted_batches(),
        "lineages_due": lambda: orchestration.lineages_due(),
        "failing_lineages": lambda: orchestration.failing_lineages("children"),
        "reasons_of_lineage": lambda: orchestration.reasons_of_lineage(first, reasons),
        "resolved_references": lambda: orchestration.resolved_references(["children"]),
        "permanent_failures": lambda: orchestration.permanent_failures(["children"]),
        "count_waiting": lambda: orchestration.count_waiting(["children"]),
        "finished_elsewhere": lambda: orchestration.finished_elsewhere(age=-year),
        **{
            view: lambda view=view: sql(f"SELECT * FROM reliable_imports.{view} WHERE batch_id = %s", batch_id)  # type: ignore[misc]
            for view in (
                "failed_items",
                "failure_counts",
                "failure_groups",
                "failure_reason_counts",
                "import_batch_items",
                "item_reasons",
                "outstanding_failures",
                "reconciliation",
                "repeat_counts",
                "run_history",
            )
        },
    }
