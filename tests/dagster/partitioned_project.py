"""A code location with a partitioned asset, whose source is unreachable on some days."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, ProcessorRegistry, TransientError
from reliable_imports_dagster import build_reliable_imports_defs

FOLDER = "TEST_DAYS"


class DaysProcessor(BaseProcessor):
    partitions = "daily from 2024-01-01"
    source = Path(os.environ.get(FOLDER, ".")) / "days-{partition}.jsonl"
    max_tries = 1
    breaker_after = 1

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if not Path(item.source_data.get("until", "/")).exists():
            raise TransientError("the other side is down")
        ctx.insert("writes", {"batch": item.batch_id, "id": item.source_data["id"]})
        return {"partition": self.partition}


registry = ProcessorRegistry()
registry.register(DaysProcessor)
defs = build_reliable_imports_defs(registry)
