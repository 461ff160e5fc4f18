"""Promise 10: five times the items cost no more memory."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext
from tests.core.conftest import Sql
from tests.core.doubles import NOTES

ROOT = Path(__file__).parents[2]

# Not ru_maxrss: on Linux a child begins with the peak of the process that started it.
PROGRAM = """
import re, resource, sys
from pathlib import Path
from reliable_imports import BatchManager
from tests.core.doubles import NotesProcessor

manager = BatchManager(sys.argv[1])
manager.registry.register(NotesProcessor)
batch_id = manager.create_batch("notes", ({"id": n, "text": "x" * 200} for n in range(int(sys.argv[2]))))
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
    peaks = []
    for items in ("20000", "100000"):
        command = [sys.executable, "-c", PROGRAM, database, items]
        peaks.append(int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout))

    # 80,000 more items of 200 bytes would be 16 MB as bare text, and several times that as Python objects.
    assert peaks[1] - peaks[0] < 6, f"{peaks} MiB"


def test_garbage_is_collected_more_seldom_only_while_a_batch_is_worked(manager: BatchManager) -> None:
    seen: list[int] = []

    class WatchingProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            seen.append(gc.get_threshold()[0])
            if item.source_data["within"]:
                inner = manager.create_batch("watching", [{"within": False}])
                manager.process_batch(inner)
                seen.append(gc.get_threshold()[0])
            if item.item_number == 2:
                raise KeyboardInterrupt

    manager.registry.register(WatchingProcessor)
    before = gc.get_threshold()
    batch_id = manager.create_batch("watching", [{"within": True}, {"within": False}])
    with pytest.raises(KeyboardInterrupt):
        manager.process_batch(batch_id)

    assert gc.get_threshold() == before
    assert min(seen) > before[0]
