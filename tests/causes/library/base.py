from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext


class RecordProcessor(BaseProcessor):
    """A team's base class: it does the work, and its subclasses only declare."""

    wanted: ClassVar[Sequence[str]] = ()

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        record: dict[str, Any] = item.source_data
        for name in self.wanted:
            record[name]
        self.check(record)

    def check(self, record: dict[str, Any]) -> None:
        if record["language"] == "??":
            raise LookupError(f"no language for {record['title'].upper()}")
        if record["year"] > 2100:
            raise LookupError(f"{object()} is from the future")
