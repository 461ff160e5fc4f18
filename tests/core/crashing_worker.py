"""A child process that works a batch, says when it has reached an item, and waits there: to be killed, or to go on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reliable_imports import BatchManager, BatchSummary, ImportBatchItem, ImportContext
from reliable_imports.engine.work import chunk
from tests.core.doubles import ImmediateProcessor, NotesProcessor

if TYPE_CHECKING:
    from tests.conftest import Sql

ROOT = Path(__file__).parents[2]


@contextmanager
def worker_that_stops_at(dsn: str, batch_id: int, *item_numbers: int) -> Iterator[subprocess.Popen[str]]:
    """A child that works the batch and waits at the items, each time in the middle of a transaction, for a line."""
    command = [sys.executable, "-m", "tests.core.crashing_worker", dsn, *map(str, [batch_id, *item_numbers])]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == "reached\n"
        yield child
    finally:
        child.kill()
        child.wait(timeout=60)
        child.stdin.close()
        child.stdout.close()


def worked_behind(child: subprocess.Popen[str], sql: Sql, work: Callable[[], BatchSummary]) -> BatchSummary:
    """What *work* comes to, which meets a row that the child has written and not committed; then the child goes on."""
    summaries: list[BatchSummary] = []
    thread = threading.Thread(target=lambda: summaries.append(work()))
    thread.start()
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while thread.is_alive() and not sql(waiting):
        pass
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    thread.join(120)
    return summaries[0]


def main(dsn: str, batch_id: int, *stop_at: int) -> None:
    def stop(item: ImportBatchItem) -> None:
        if item.item_number in stop_at:
            print("reached", flush=True)
            sys.stdin.readline()

    class StoppingNotesProcessor(NotesProcessor):
        batch_type = "notes"

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
            if item.item_number in stop_at:
                ctx.fetch_value("SELECT 1")  # an item that is tried ahead has no transaction before
            stop(item)
            return super().process_item(item, ctx)

    class StoppingImmediateProcessor(ImmediateProcessor):
        batch_type = "immediate"

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
            result = super().process_item(item, ctx)
            stop(item)
            return result

    chunk.MAX_SECONDS = 600.0  # a slow machine does not commit what comes before the item
    manager = BatchManager(dsn)
    manager.registry.register(StoppingNotesProcessor)
    manager.registry.register(StoppingImmediateProcessor)
    manager.process_batch(batch_id)
    print("finished", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
