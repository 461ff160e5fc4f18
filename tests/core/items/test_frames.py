"""How deep the user's code stands: whoever reads a traceback, or steps through a run, goes through these frames."""

from __future__ import annotations

import traceback
from datetime import timedelta
from pathlib import Path

import pytest

import reliable_imports
from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext

_OWN = str(Path(reliable_imports.__file__).parent)


class DeepProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, list[str]]:
        frames = [frame for frame, _ in traceback.walk_stack(None) if frame.f_code.co_filename.startswith(_OWN)]
        names = [frame.f_code.co_name for frame in frames]
        return {"frames": names[: names.index("process_batch") + 1]}


@pytest.mark.parametrize(("item_timeout", "most"), [(None, 8), (timedelta(minutes=1), 12)])
def test_few_frames_stand_between_process_batch_and_process_item(
    manager: BatchManager, item_timeout: timedelta | None, most: int
) -> None:
    processor = type("DeepProcessor", (DeepProcessor,), {"item_timeout": item_timeout})
    manager.registry.register(processor)
    batch_id = manager.create_batch("deep", [{}])

    manager.process_batch(batch_id)

    (item,) = manager.list_items(batch_id)
    frames = item.result["frames"]
    assert len(frames) <= most, frames
