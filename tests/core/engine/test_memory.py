"""Promise 10: three times the items cost no more memory."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pydantic
import pytest

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext, TableProcessor
from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.engine.work.audit_log import AuditLog
from reliable_imports.engine.work.claims import Claim, Claims
from reliable_imports.postgres.connect import connect, roll_back
from reliable_imports.writes.plan import Plan
from tests.core.conftest import Sql
from tests.core.doubles import NOTES, PlainProcessor

pytestmark = pytest.mark.promise(10)

ROOT = Path(__file__).parents[3]

# Not ru_maxrss: on Linux a child begins with the peak of the process that started it.
PROGRAM = """
import re, resource, sys
from pathlib import Path
from reliable_imports import BatchManager
from tests.core.doubles import NotesProcessor

manager = BatchManager(sys.argv[1])
manager.registry.register(NotesProcessor)
batch_id = manager.create_batch("notes", ({"id": n, "text": "x" * int(sys.argv[3])} for n in range(int(sys.argv[2]))))
summary = manager.process_batch(batch_id)
assert summary.completed_items == int(sys.argv[2])
status = Path("/proc/self/status")
if status.exists():
    print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) // 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 // 1024)
"""


def test_memory_is_flat(database: str, sql: Sql) -> None:
    sql(NOTES)
    peaks = [_peak_of(database, items, 200) for items in (40_000, 120_000)]

    # 80,000 more items of 200 bytes would be 16 MB as bare text, and several times that as Python objects.
    assert peaks[1] - peaks[0] < 6, f"{peaks} MiB"


def test_items_are_held_by_their_size_and_not_by_what_the_server_compresses_them_to(database: str, sql: Sql) -> None:
    sql(NOTES)
    with connect(database) as connection:
        if connection.server_version < 140_000:
            pytest.skip("this server does not tell what it has compressed")

    assert _peak_of(database, 8_001, 20_000) < 100, "a chunk has 20 MB as bare text, and 250 KB as it is stored"


def _peak_of(database: str, items: int, length: int) -> int:
    """The memory that a process held at most which has imported items with a text of this length, in MiB."""
    command = [sys.executable, "-c", PROGRAM, database, str(items), str(length)]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has held at most")
def test_wide_rows_are_held_by_the_server_a_few_times_and_not_once_for_each_column(
    manager: BatchManager, sql: Sql
) -> None:
    names = [f"c{place}" for place in range(250)]
    peaks: list[int] = []

    class WideProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("wide", {"id": item.item_number, **item.source_data}, key="id")

        def on_batch_complete(self, summary: object, ctx: ImportContext) -> None:
            peak = "substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\\s+(\\d+) kB')"
            peaks.append(int(ctx.fetch_value(f"SELECT {peak}")) // 1024)

    sql(f"CREATE TABLE wide (id integer PRIMARY KEY, {' text, '.join(names)} text)")
    manager.registry.register(WideProcessor)
    items = [dict.fromkeys(names, "a" * 100)] * 50  # 1.2 MB, and 300 MB as often as there are columns

    assert manager.process_batch(manager.create_batch("wide", items)).completed_items == 50
    assert peaks[0] < 150, f"{peaks[0]} MiB"


def test_rows_of_ever_new_columns_are_not_remembered(manager: BatchManager, sql: Sql) -> None:
    names = [f"c{place}" for place in range(11)]
    held: list[int] = []

    class SparseProcessor(TableProcessor):
        table = "sparse"
        key = ("id",)
        model = pydantic.create_model("Sparse", id=(int, ...), **dict.fromkeys(names, (str | None, None)))

        def on_batch_complete(self, summary: object, ctx: ImportContext) -> None:
            gc.collect()
            held.append(max(len(self._facts._requests), sum(isinstance(each, Plan) for each in gc.get_objects())))

    sql(f"CREATE TABLE sparse (id integer PRIMARY KEY, {' text, '.join(names)} text)")
    manager.registry.register(SparseProcessor)
    items = [{"id": each, **{name: "x" for bit, name in enumerate(names) if each >> bit & 1}} for each in range(1500)]

    summary = manager.process_batch(manager.create_batch("sparse", items))

    assert summary.completed_items == 1500
    assert held[0] <= 500


def test_settings_of_python_are_changed_only_while_a_batch_is_worked(manager: BatchManager) -> None:
    seen: list[tuple[float, ...]] = []

    def settings() -> tuple[float, ...]:
        return (gc.get_threshold()[0], 1 / sys.getswitchinterval())

    class WatchingProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            seen.append(settings())
            if item.source_data["within"]:
                inner = manager.create_batch("watching", [{"within": False}])
                manager.process_batch(inner)
                seen.append(settings())
            if item.item_number == 2:
                raise KeyboardInterrupt

    manager.registry.register(WatchingProcessor)
    before = settings()
    batch_id = manager.create_batch("watching", [{"within": True}, {"within": False}])
    with pytest.raises(KeyboardInterrupt):
        manager.process_batch(batch_id)

    assert settings() == before
    assert all(min(values) > value for values, value in zip(zip(*seen, strict=True), before, strict=True))


def test_failed_items_are_let_go_of_without_a_collection(manager: BatchManager) -> None:
    held: list[int] = []

    def attempts() -> int:
        return sum(isinstance(each, Attempt) for each in gc.get_objects())

    class FailingProcessor(TableProcessor):
        table = "notes"
        model = pydantic.create_model("Note", id=(int, ...), text=(str, ...))

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, object] | None:
            if item.source_data["text"] == "raise":
                raise ValueError("broken")
            if item.source_data["text"] == "reject":
                ctx.reject("not wanted")
            if item.source_data["text"] == "execute":
                ctx.execute("INSERT INTO notes (id, text) VALUES (1, 'bad')")
            return super().process_item(item, ctx)

        def on_batch_complete(self, summary: object, ctx: ImportContext) -> None:
            held.append(attempts())

    manager.registry.register(FailingProcessor)
    texts = ("raise", "reject", "execute", 5, "bad")
    batch_id = manager.create_batch("failing", [{"id": 1, "text": each} for each in texts])
    gc.collect()
    of_other_tests = attempts()
    gc.disable()
    try:
        summary = manager.process_batch(batch_id)
    finally:
        gc.enable()

    assert (summary.failed_items, held) == (5, [of_other_tests])


def test_a_worker_that_goes_slowly_holds_no_more_than_two_megabytes(
    manager: BatchManager, sql: Sql, database: str
) -> None:
    text = random.Random(1).randbytes(50_000).hex()  # nothing that the database could compress
    batch_id = manager.create_batch("plain", ({"id": number, "text": text} for number in range(50)))
    sql("UPDATE reliable_imports.import_batches SET status = 'processing', started_at = now()")
    held = []
    with connect(database) as connection, connection.cursor() as cursor:
        claims = Claims(connection, PlainProcessor(), AuditLog(batch_id, 0), prepares=False, left_to_others=set())
        for _ in range(5):
            claim = claims.next_range(cursor)
            assert isinstance(claim, Claim)
            held.append(sum(len(item.text or "") for item in claim.items))
            roll_back(connection)
            claims.advance(claim, 1)

    assert max(held) < 2_200_000
