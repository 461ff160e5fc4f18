"""The SQL of docs/scaling.md is run as it stands, with batches before, between and after; and its numbers add up."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext
from reliable_imports.postgres.schema import migrate

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
PARTITION, ADD_RANGE, JUMP, STILL_WANTED, DROP, SIZES = re.findall(
    r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)

Sql = Callable[..., list[tuple[Any, ...]]]


class NumbersProcessor(BaseProcessor):
    """Refuses every tenth number until it is repaired."""

    repaired = False

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        if item.source_data["n"] % 10 == 0 and not self.repaired:
            raise ValueError("a multiple of ten")
        ctx.upsert("numbers", {"n": item.source_data["n"]}, key="n")


class OwnStatementProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.execute("INSERT INTO numbers VALUES (%s)", [item.source_data["n"]])


class ReadingProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.fetch_value("INSERT INTO numbers VALUES (%s) RETURNING random()", [item.source_data["n"]])


@pytest.fixture
def sql(database: str) -> Iterator[Sql]:
    with closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True

        def run(statement: str) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

        run("CREATE TABLE numbers (n integer PRIMARY KEY)")
        yield run


@pytest.fixture
def manager(database: str, monkeypatch: pytest.MonkeyPatch) -> BatchManager:
    monkeypatch.setattr(NumbersProcessor, "repaired", False)
    manager = BatchManager(database)
    manager.registry.register(NumbersProcessor)
    manager.registry.register(OwnStatementProcessor)
    manager.registry.register(ReadingProcessor)
    return manager


def numbers(count: int) -> list[dict[str, int]]:
    return [{"n": number} for number in range(1, count + 1)]


def problems(manager: BatchManager) -> dict[int, tuple[str, ...]]:
    return {found.batch_id: found.problems for found in manager.verify() if found.problems}


def test_partitions_as_described(
    manager: BatchManager, sql: Sql, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = manager.create_batch("numbers", numbers(100))
    manager.process_batch(done)
    half_done = manager.create_batch("numbers", numbers(100))

    indexes = "SELECT tablename FROM pg_indexes WHERE schemaname = 'reliable_imports' AND tablename ~ 'items|attempts'"
    built = len(sql(indexes))

    sql(PARTITION)

    assert len(sql(f"{indexes} AND tablename ~ '_1$'")) == built, "the old table's indexes are taken over as they are"
    assert migrate(database) == []
    assert manager.process_batch(half_done).failed_items == 10
    assert problems(manager) == {}
    assert sql("SELECT count(*) FROM reliable_imports.import_batch_items") == [(200,)]

    sql(JUMP)
    with pytest.raises(psycopg2.errors.CheckViolation, match='no partition of relation "import_items" found'):
        manager.create_batch("numbers", numbers(1))
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(2,)]
    sql(ADD_RANGE)
    for table in ("import_items", "import_attempts", "import_items_1", "import_attempts_1"):
        with pytest.raises(psycopg2.errors.RaiseException, match="history is only ever added to"):
            sql(f"UPDATE reliable_imports.{table} SET item_number = -item_number")
    for table in ("import_items", "import_attempts", "import_items_1", "import_items_10000", "import_attempts_10000"):
        with pytest.raises(psycopg2.errors.RaiseException, match="history is only ever added to"):
            sql(f"DELETE FROM reliable_imports.{table}")

    monkeypatch.setattr(NumbersProcessor, "repaired", True)
    assert {why for _, why in sql(STILL_WANTED)} == {"outstanding failures"}
    repeated = [manager.reprocess_batch(batch_id) for batch_id in (done, half_done)]
    assert [summary.completed_items for summary in repeated] == [10, 10]
    assert all(summary.batch_id > 10_000 for summary in repeated)
    assert sql(STILL_WANTED) == []
    assert problems(manager) == {}

    for statement in DROP.strip().split(";\n"):
        sql(statement)

    kept = manager.get_summary(done)
    assert (kept.status, kept.completed_items, kept.failed_items) == (BatchStatus.COMPLETED_WITH_FAILURES, 90, 10)
    assert manager.reprocess_batch(done).batch_id == repeated[0].batch_id, "nothing is outstanding"
    found = problems(manager)
    assert found.keys() == {done, half_done, *[summary.batch_id for summary in repeated]}
    assert found[repeated[0].batch_id] == (
        "10 items repeat an item that is not there",
        "10 items repeat an item whose data is not there",
    )
    assert sql(f"SELECT count(source_data) FROM reliable_imports.import_batch_items WHERE batch_id > {half_done}") == [
        (0,)
    ]
    assert set(sql("SELECT batch_id FROM reliable_imports.reconciliation WHERE NOT balanced")) == {(1,), (2,)}
    assert manager.process_batch(manager.create_batch("numbers", numbers(100))).completed_items == 100


def test_without_a_partition_for_attempts_items_stay_pending(manager: BatchManager, sql: Sql) -> None:
    sql(PARTITION)
    sql(JUMP)
    items_only, attempts_only = re.findall(r"CREATE TABLE .*?;\n", ADD_RANGE, re.DOTALL)
    sql(items_only)
    batch_id = manager.create_batch("numbers", numbers(5))
    with pytest.raises(psycopg2.errors.CheckViolation, match='no partition of relation "import_attempts" found'):
        manager.process_batch(batch_id)
    assert manager.get_summary(batch_id).open_items == 5

    sql(attempts_only)

    assert manager.process_batch(batch_id).completed_items == 5


def test_an_item_that_reads_takes_a_transaction_id_and_others_share_them(manager: BatchManager, sql: Sql) -> None:
    def taken_by(batch_type: str) -> float:
        sql("TRUNCATE numbers")
        batch_id = manager.create_batch(batch_type, [{"n": number} for number in range(1, 2001) if number % 10])
        next_id = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        [(before,)] = sql(next_id)
        items = manager.process_batch(batch_id).completed_items
        [(after,)] = sql(next_id)
        return float(after - before) / items

    assert 1 <= taken_by("reading") < 1.2
    assert taken_by("own_statement") < 0.1
    assert taken_by("numbers") < 0.1


def test_the_query_for_sizes_runs(manager: BatchManager, sql: Sql) -> None:
    manager.process_batch(manager.create_batch("numbers", numbers(100)))

    [(item_bytes, attempt_bytes)] = sql(SIZES)

    assert item_bytes > 0
    assert attempt_bytes > 0


def test_the_arithmetic_adds_up() -> None:
    day = 1_000_000_000
    rates = [day // 86_400, 2 * (day // 86_400), day // (8 * 3_600)]
    for told in (f"= {rates[0]:,} items a second", f"it is {rates[2]:,}", f"rate, {rates[1]:,}"):
        assert told in PAGE
    for worker in (1_000, 5_000, 20_000):
        row = " | ".join([f"{worker:,}", *[str(math.ceil(rate / worker)) for rate in rates]])
        assert f"| {row} |" in PAGE
    assert f"= {day + day // 50:,} a day" in PAGE
    assert f"after {2**31 / (day + day // 50):.1f} days" in PAGE
    assert f"= {3 * day // 2_000:,} a day" in PAGE
    assert f"every {200_000_000 / (3 * day // 2_000):.0f} days" in PAGE
    assert f"= {day // 50 + 3 * day // 1_000:,} a day" in PAGE
    assert round(200_000_000 / (day // 50 + 3 * day // 1_000)) == 9
    assert f"{rates[0] / 2_000:.0f} a second" in PAGE
    assert f"{rates[0] / 50:.0f} with items that read" in PAGE
    assert f"{day * 1_000 / 86_400 / 1e6:.1f} MB a second" in PAGE
    assert f"{day // 10_000 * 365 * 120 / 1e9:.1f} GB a year" in PAGE
