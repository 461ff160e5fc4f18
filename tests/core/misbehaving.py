"""Processors that kill, outstay or overburden their worker, and a program that works a batch with one of them.

python -m tests.core.misbehaving DSN BATCH
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from reliable_imports import BaseProcessor, BatchManager, Failure, ImportBatchItem, ImportContext, TransientError
from tests.core.clock import Clock

_MAIN = os.getpid()


def _die(how: str) -> None:
    if how == "exit":
        os._exit(0)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "kill the group":
        os.killpg(0, signal.SIGKILL)
    elif how == "kill the watcher":
        os.kill(_MAIN, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


class DeadlyProcessor(BaseProcessor):
    """Writes a row for each item, and dies of those that say so."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})
        _die(item.source_data.get("die", ""))
        return None


class DeadlyHookProcessor(DeadlyProcessor):
    """Fails items, and dies when it is told of it."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if "die" in item.source_data:
            raise ValueError("it is bad")
        return super().process_item(item, ctx)

    def on_item_error(self, item: ImportBatchItem, error: Failure, ctx: ImportContext) -> None:
        _die(item.source_data["die"])


class SlowProcessor(BaseProcessor):
    """Takes too long if the item says so, in Python, on the server, or refusing to be interrupted."""

    item_timeout = timedelta(minutes=1)
    clock: ClassVar[Clock]

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        ctx.execute("INSERT INTO writes (batch, item) VALUES (%s, %s)", [item.batch_id, item.item_number])
        match item.source_data.get("slow"):
            case "python":
                self.clock.put_forward(61)
                _spin(120)
            case "server":
                assert ctx.fetch_value("SHOW statement_timeout") == "1min"
                self.clock.put_forward(59.9)  # the alarm rings while the server is at work
                ctx.execute("SET LOCAL statement_timeout = 500")
                ctx.execute("SELECT pg_sleep(120)")
            case "stubborn":
                until = time.monotonic() + 120
                while time.monotonic() < until:
                    with contextlib.suppress(BaseException):
                        self.clock.put_forward(121)
                        _spin(120)
        return None


def _spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


class PatientProcessor(BaseProcessor):
    """Says what it is at; in the program it goes on when it is told to, by a line."""

    is_told: ClassVar[bool] = False

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        ctx.execute("INSERT INTO writes (batch, item) VALUES (%s, %s)", [item.batch_id, item.item_number])
        if self.is_told and "says" in item.source_data:
            print(item.source_data["says"], flush=True)
            sys.stdin.readline()
        if item.source_data.get("sleep"):
            print("sleeping", flush=True)
            ctx.execute("SELECT pg_sleep(600)")
        return None


class TransientProcessor(BaseProcessor):
    """Fails as transient as often as the item says, counting in the database what it did."""

    retry_pause = timedelta(milliseconds=40)
    breaker_after = None
    seen: ClassVar[dict[int, int]] = {}

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        seen = type(self).seen
        seen[item.item_number] = seen.get(item.item_number, 0) + 1
        if seen[item.item_number] <= item.source_data.get("failures", 0):
            raise TransientError("the service is busy")
        ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})
        return None


class DeadlyRetryProcessor(BaseProcessor):
    """Is busy so often with an item, then dies of it and leaves a mark in a file; or waits until a file is there."""

    retry_pause = timedelta(milliseconds=1)
    max_tries = 5
    breaker_after = None

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        data = item.source_data
        if item.attempt <= data.get("busy", 0):
            raise TransientError("the service is busy")
        ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})
        if "waits" in data:
            ctx.fetch_value("SELECT 1")  # an item that is tried ahead holds nothing before
            print("waiting", flush=True)
            while not Path(data["waits"]).exists():
                time.sleep(0.01)
        _die_of(data)
        return None


def _die_of(data: Mapping[str, Any]) -> None:
    if "dies" in data:
        with Path(data["dies"]).open("a") as deaths:
            deaths.write("x")
        os._exit(1)


class ShelteredDeadlyRetryProcessor(DeadlyRetryProcessor):
    item_timeout = timedelta(seconds=60)


class DeadlyPreparationProcessor(BaseProcessor):
    def prepare_item(self, item: ImportBatchItem) -> None:
        _die_of(item.source_data)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})
        return None


class ShelteredDeadlyPreparationProcessor(DeadlyPreparationProcessor):
    item_timeout = timedelta(seconds=60)


class LimitedProcessor(BaseProcessor):
    """Writes to a table that is not there if the item says so, or refuses the item."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if item.source_data.get("bad"):
            raise ValueError("it is bad")
        ctx.insert("absent" if item.source_data.get("absent") else "writes",
                   {"batch": item.batch_id, "item": item.item_number})  # fmt: skip
        return None


class FetchingProcessor(BaseProcessor):
    """Looks something up elsewhere before its transaction."""

    prepare_concurrency = 4
    running: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def prepare_item(self, item: ImportBatchItem) -> Any:
        kind = type(self)
        kind.running += 1
        kind.most = max(kind.most, kind.running)
        time.sleep(0.01)
        kind.running -= 1
        if item.source_data.get("bad"):
            raise LookupError("nothing is known of it")
        return item.source_data["id"] * 10

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})
        return {"target_id": item.prepared}


class AsyncFetchingProcessor(FetchingProcessor):
    async def prepare_item(self, item: ImportBatchItem) -> Any:
        kind = type(self)
        kind.running += 1
        kind.most = max(kind.most, kind.running)
        await asyncio.sleep(0.01)
        kind.running -= 1
        if item.source_data.get("bad"):
            raise LookupError("nothing is known of it")
        return item.source_data["id"] * 10


class KeyedProcessor(BaseProcessor):
    natural_key = ("id",)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        data = item.source_data
        ctx.execute(
            "INSERT INTO notes (id, text) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET text = EXCLUDED.text",
            [data["id"], data["text"]],
        )
        return None


class FirstKeyedProcessor(KeyedProcessor):
    duplicates = "first_wins"


class StrictKeyedProcessor(KeyedProcessor):
    duplicates = "fail"


PROCESSORS = (
    DeadlyProcessor,
    DeadlyHookProcessor,
    SlowProcessor,
    PatientProcessor,
    TransientProcessor,
    DeadlyRetryProcessor,
    ShelteredDeadlyRetryProcessor,
    DeadlyPreparationProcessor,
    ShelteredDeadlyPreparationProcessor,
    LimitedProcessor,
    FetchingProcessor,
    AsyncFetchingProcessor,
    KeyedProcessor,
    FirstKeyedProcessor,
    StrictKeyedProcessor,
)


def manager_of(dsn: str) -> BatchManager:
    manager = BatchManager(dsn)
    for processor in PROCESSORS:
        manager.registry.register(processor)
    return manager


if __name__ == "__main__":
    PatientProcessor.is_told = True
    summary = manager_of(sys.argv[1]).process_batch(int(sys.argv[2]))
    print(summary.status, flush=True)
