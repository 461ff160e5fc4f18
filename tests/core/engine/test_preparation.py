"""`prepare_item` that misbehaves: its own item pays, and whoever says stop is heard."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext
from tests.core.conftest import Sql

ROOT = Path(__file__).parents[3]
NUMBER = 40
BAD = 20


class WritingProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})


class TaskProcessor(WritingProcessor):
    """Does to the event loop what the item says."""

    async def prepare_item(self, item: ImportBatchItem) -> None:
        await asyncio.sleep(0.001)
        match (item.source_data or {}).get("do"):
            case "cancel itself":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(60)
            case "cancel all":
                for each in asyncio.all_tasks():
                    each.cancel()
                await asyncio.sleep(60)
            case "exit in a task":
                task = asyncio.ensure_future(_exit())
                await asyncio.sleep(60)
            case "stop the loop":
                asyncio.get_running_loop().stop()
                await asyncio.sleep(60)
            case "fail in a group":
                await asyncio.gather(_fail(), asyncio.sleep(60))


async def _exit() -> None:
    raise SystemExit(1)


async def _fail() -> None:
    raise ValueError("it is broken")


class HangingProcessor(WritingProcessor):
    """Does not come to an end with an item that says so, and has three seconds for each."""

    item_timeout = timedelta(seconds=3)

    def prepare_item(self, item: ImportBatchItem) -> Any:
        _hang(item.source_data["do"])


class HangingTaskProcessor(HangingProcessor):
    async def prepare_item(self, item: ImportBatchItem) -> Any:
        if item.source_data["do"] == "wait":
            await asyncio.sleep(600)
        _hang(item.source_data["do"])


def _hang(how: str | None) -> None:
    if how == "sleep":
        time.sleep(600)
    elif how == "keep the interpreter":
        re.match(r"(a|a)*$", "a" * 60 + "b")  # lets no other thread of Python run


class EndlessProcessor(WritingProcessor):
    def prepare_item(self, item: ImportBatchItem) -> None:
        os.write(1, b"preparing\n")  # at once, whatever other threads say
        time.sleep(600)


class EndlessTaskProcessor(WritingProcessor):
    async def prepare_item(self, item: ImportBatchItem) -> None:
        os.write(1, b"preparing\n")  # at once, whatever other threads say
        await asyncio.sleep(600)


@pytest.fixture(autouse=True)
def registered(manager: BatchManager) -> None:
    for processor in (TaskProcessor, HangingProcessor, HangingTaskProcessor, EndlessProcessor, EndlessTaskProcessor):
        manager.registry.register(processor)


def items(do: str) -> list[dict[str, Any]]:
    return [{"do": do if number == BAD else None} for number in range(1, NUMBER + 1)]


def assert_only_the_bad_one_failed(manager: BatchManager, sql: Sql, batch_id: int, error_type: str) -> None:
    summary = manager.get_summary(batch_id)
    assert (summary.status, summary.pause_reason) == (BatchStatus.COMPLETED_WITH_FAILURES, None)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (BAD, error_type)
    assert sql("SELECT count(*) FROM writes") == [(NUMBER - 1,)]


@pytest.mark.parametrize(
    ("do", "error_type"),
    [
        ("cancel itself", "CancelledError"),
        ("cancel all", "CancelledError"),
        ("exit in a task", "SystemExit"),
        ("stop the loop", "RuntimeError"),
        ("fail in a group", "ValueError"),
    ],
)
def test_a_task_that_breaks_its_event_loop_costs_its_own_item(
    manager: BatchManager, sql: Sql, do: str, error_type: str
) -> None:
    summary = manager.process_batch(manager.create_batch("task", items(do)))

    assert_only_the_bad_one_failed(manager, sql, summary.batch_id, error_type)


@pytest.mark.parametrize("batch_type", ["hanging", "hanging_task"])
@pytest.mark.parametrize("do", ["sleep", "keep the interpreter", "wait"])
def test_a_preparation_without_end_is_bounded_by_item_timeout(
    manager: BatchManager, sql: Sql, batch_type: str, do: str
) -> None:
    if (batch_type, do) == ("hanging", "wait"):
        return  # only a task can

    summary = manager.process_batch(manager.create_batch(batch_type, items(do)))

    assert_only_the_bad_one_failed(manager, sql, summary.batch_id, "ItemTimeout")


def test_a_service_that_answers_nobody_pauses_the_batch(manager: BatchManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HangingProcessor, "item_timeout", timedelta(seconds=0.1))
    batch_id = manager.create_batch("hanging", [{"do": "sleep"}] * 100)

    summary = manager.process_batch(batch_id)

    assert (summary.status, summary.failed_items) == (BatchStatus.PAUSED, 0)
    assert "prepare_item took longer than item_timeout" in (summary.pause_reason or "")


@pytest.mark.parametrize("batch_type", ["endless", "endless_task"])
def test_a_signal_is_heard_while_items_are_prepared(manager: BatchManager, database: str, batch_type: str) -> None:
    batch_id = manager.create_batch(batch_type, items(""))
    command = [sys.executable, "-m", "tests.core.engine.test_preparation", database, str(batch_id)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "preparing\n"
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=60)
        finally:
            child.kill()

    assert child.returncode == -signal.SIGTERM
    (run,) = manager.list_runs(batch_id=batch_id)
    assert (run.state, run.error) == ("interrupted", "stopped by a signal")
    manager.cancel_batch(batch_id)


def test_threads_of_one_round_serve_the_next(manager: BatchManager) -> None:
    class CountingProcessor(WritingProcessor):
        prepare_concurrency = 3
        threads: set[int] = set()  # noqa: RUF012 - of this test alone

        def prepare_item(self, item: ImportBatchItem) -> None:
            self.threads.add(threading.get_ident())

    manager.registry.register(CountingProcessor)

    summary = manager.process_batch(manager.create_batch("counting", items("") * 5))

    assert summary.completed_items == 5 * NUMBER
    assert len(CountingProcessor.threads) <= 3


if __name__ == "__main__":
    working = BatchManager(sys.argv[1])
    for each in (EndlessProcessor, EndlessTaskProcessor):
        working.registry.register(each)
    working.process_batch(int(sys.argv[2]))
