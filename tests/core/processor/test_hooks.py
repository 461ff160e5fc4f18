from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from reliable_imports import (
    BaseProcessor,
    Batch,
    BatchManager,
    BatchStatus,
    BatchSummary,
    Failure,
    ImportBatchItem,
    ImportContext,
)
from tests.core.conftest import Sql


class HookedProcessor(BaseProcessor):
    calls: ClassVar[list[Any]] = []
    breaks: ClassVar[str] = ""

    def _call(self, hook: str, fact: object, ctx: ImportContext, place: int) -> None:
        self.calls.append((hook, fact))
        ctx.upsert("places", {"id": place}, key="id")
        if self.breaks == hook:
            raise RuntimeError("the hook is broken")

    def on_batch_start(self, batch: Batch, ctx: ImportContext) -> None:
        self._call("start", batch.total_items, ctx, 100)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        ctx.upsert("notes", item.source_data, key="id")
        return None

    def on_item_error(self, item: ImportBatchItem, error: Failure, ctx: ImportContext) -> None:
        self._call("error", (item.item_number, error.error_type), ctx, 101)

    def on_batch_complete(self, summary: BatchSummary, ctx: ImportContext) -> None:
        self._call("complete", (summary.status, summary.failed_items), ctx, 102)


@pytest.fixture
def hooked(manager: BatchManager, monkeypatch: pytest.MonkeyPatch) -> BatchManager:
    monkeypatch.setattr(HookedProcessor, "calls", [])
    monkeypatch.setattr(HookedProcessor, "breaks", "")
    manager.registry.register(HookedProcessor)
    return manager


ITEMS = [{"id": 1, "text": "ok"}, {"id": 2, "text": "bad"}, {"id": 3, "text": "ok"}]


def test_hooks_are_called_in_order_and_may_write(hooked: BatchManager, sql: Sql) -> None:
    hooked.process_batch(hooked.create_batch("hooked", ITEMS))

    assert HookedProcessor.calls == [
        ("start", 3),
        ("error", (2, "CheckViolation")),
        ("complete", (BatchStatus.COMPLETED_WITH_FAILURES, 1)),
    ]
    assert sql("SELECT id FROM places WHERE id >= 100 ORDER BY 1") == [(100,), (101,), (102,)]


def test_a_broken_start_hook_stops_the_run_before_any_item(
    hooked: BatchManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HookedProcessor, "breaks", "start")
    batch_id = hooked.create_batch("hooked", ITEMS)
    with pytest.raises(RuntimeError, match="the hook is broken"):
        hooked.process_batch(batch_id)

    assert hooked.get_summary(batch_id).open_items == 3
    monkeypatch.setattr(HookedProcessor, "breaks", "")
    assert hooked.process_batch(batch_id).completed_items == 2


def test_a_broken_error_hook_changes_no_outcome(
    hooked: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HookedProcessor, "breaks", "error")
    batch_id = hooked.create_batch("hooked", ITEMS)
    summary = hooked.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (2, 1)
    assert hooked.list_items(batch_id, status="failed")[0].error_type == "CheckViolation"
    assert "on_item_error failed: RuntimeError" in [
        entry.message for entry in hooked.list_logs(batch_id, item_number=2)
    ]
    assert sql("SELECT id FROM places WHERE id = 101") == []


def test_a_broken_complete_hook_is_logged_and_changes_nothing(
    hooked: BatchManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HookedProcessor, "breaks", "complete")
    batch_id = hooked.create_batch("hooked", ITEMS)

    assert hooked.process_batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES
    errors = [entry.message for entry in hooked.list_logs(batch_id, levels=["error"]) if entry.item_number is None]
    assert errors == ["on_batch_complete failed: RuntimeError"]


@pytest.mark.parametrize("hook", ["start", "error", "complete"])
@pytest.mark.parametrize("deed", ["declares what is refused", "skips"])
def test_a_hook_that_misbehaves_costs_no_item(
    hooked: BatchManager, monkeypatch: pytest.MonkeyPatch, hook: str, deed: str
) -> None:
    def misbehave(self: HookedProcessor, name: str, fact: object, ctx: ImportContext, place: int) -> None:
        if name == hook and deed == "skips":
            ctx.skip("not here")
        elif name == hook:
            ctx.insert("nowhere", {"id": 1})

    monkeypatch.setattr(HookedProcessor, "_call", misbehave)
    batch_id = hooked.create_batch("hooked", [*ITEMS, {"id": 4, "text": "bad"}])
    if hook == "start":
        with pytest.raises(Exception, match=r"nowhere|skip an item"):
            hooked.process_batch(batch_id)
        assert hooked.get_summary(batch_id).open_items == 4
    else:
        summary = hooked.process_batch(batch_id)
        assert (summary.completed_items, summary.failed_items) == (2, 2)
        errors = [entry.message for entry in hooked.list_logs(batch_id, levels=["error"])]
        assert [message for message in errors if "failed: " in message and message.startswith("on_")]


def test_a_watcher_that_fails_does_not_stop_the_work(hooked: BatchManager) -> None:
    def watch(summary: BatchSummary) -> None:
        raise ZeroDivisionError

    assert hooked.process_batch(hooked.create_batch("hooked", ITEMS), on_progress=watch).completed_items == 2
