"""The example imported into a real database."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from example_repo import DATA
from reliable_imports import BatchManager, BatchSummary

EXAMPLE = Path(__file__).parents[2] / "examples" / "customer_import_example.py"


@pytest.fixture
def manager(database: str) -> BatchManager:
    manager = BatchManager(database)
    manager.registry.discover("example_repo.processors")
    return manager


def import_file(manager: BatchManager, batch_type: str, path: Path | None = None) -> BatchSummary:
    path = path or manager.registry.get(batch_type).source
    assert path is not None
    return manager.process_batch(manager.create_batch(batch_type, manager.open_source(batch_type, path)))


def counts(summary: BatchSummary) -> tuple[int, int]:
    return summary.completed_items, summary.failed_items


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_the_week_fails_for_two_reasons_and_the_missing_airports_repair_one(manager: BatchManager) -> None:
    assert counts(import_file(manager, "airlines")) == (16, 0)
    assert counts(import_file(manager, "airports")) == (1458, 0)
    assert counts(import_file(manager, "planes")) == (3322, 0)

    flights = import_file(manager, "flights")
    assert counts(flights) == (4973, 1126)
    assert [reason.items for reason in manager.failure_reasons(flights.batch_id)] == [979, 147]

    assert counts(import_file(manager, "airports", DATA / "missing_airports.csv")) == (4, 0)
    again = manager.reprocess_batch(flights.batch_id)
    assert counts(again) == (147, 979)
    assert [reason.items for reason in manager.failure_reasons(again.batch_id)] == [979]

    assert query(manager.dsn, "SELECT count(*) FROM example.flights") == [(5120,)]
    ends_of_day = "SELECT count(*) FROM example.flights WHERE arr_time = '00:00'"
    assert query(manager.dsn, ends_of_day) != [(0,)]


def test_customers_are_updated_by_address_and_those_without_one_fail(manager: BatchManager) -> None:
    first = import_file(manager, "customer_data")
    assert counts(first) == (10, 2)
    before = query(manager.dsn, "SELECT id, email FROM example.customers ORDER BY id")
    assert counts(import_file(manager, "customer_data")) == (10, 2)
    assert query(manager.dsn, "SELECT id, email FROM example.customers ORDER BY id") == before
    assert (4, "dmitri.sokolov@example.com") in before


def test_the_tables_can_be_set_up_again_and_again(empty_database: str) -> None:
    tables = (DATA.parent / "tables.sql").read_text(encoding="utf-8")
    with closing(psycopg2.connect(empty_database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(tables)
        cursor.execute("INSERT INTO example.airlines VALUES ('UA', 'United Air Lines Inc.')")
        cursor.execute(tables)
        cursor.execute("SELECT count(*) FROM example.airlines")
        assert cursor.fetchone() == (1,)


def test_the_customer_example_repairs_its_bad_customer_and_can_be_run_twice(empty_database: str) -> None:
    for first, second in ((1, 2), (3, 4)):
        run = subprocess.run(
            [sys.executable, str(EXAMPLE), empty_database],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(EXAMPLE.parents[1])},
        )
        lines = run.stdout.splitlines()
        assert lines[0] == f"Batch {first} is completed_with_failures: 2/3 completed"
        assert lines[-1] == f"Batch {second} is completed: 1/1 completed"
        assert "jane@example.com" in lines[2]
