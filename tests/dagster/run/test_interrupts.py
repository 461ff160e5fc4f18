"""What ends a run: Dagster's own interrupt, and nothing that is only named like it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext


class StoppedProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if item.item_number == 2:
            raise dg.DagsterExecutionInterruptedError
        return None


def test_dagsters_interrupt_stops_the_run_and_blames_no_item(manager: BatchManager) -> None:
    manager.registry.register(StoppedProcessor)
    batch_id = manager.create_batch("stopped", [{}, {}, {}])

    with pytest.raises(dg.DagsterExecutionInterruptedError):
        manager.process_batch(batch_id)

    summary = manager.get_summary(batch_id)
    assert (summary.status, summary.failed_items, summary.open_items) == (BatchStatus.PROCESSING, 0, 3)
