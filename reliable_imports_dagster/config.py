"""What a run can be told. Run config is for ids and paths: Dagster keeps every run's, and loads it again and again."""

from typing import Any

import dagster as dg
from pydantic import Field

MAX_INLINE_ITEMS = 100


class ImportConfig(dg.Config):
    """What an import run imports: at most one of these. With none, the processor's own `source`."""

    path: str | None = Field(
        default=None,
        description="A file, as the code location sees it: .csv, .tsv, .jsonl, .ndjson or .json, or any .gz.",
    )
    batch_id: int | None = Field(
        default=None, description="A batch that exists already; what is left of it is processed."
    )
    items: list[Any] | None = Field(
        default=None,
        description=f"A few items to try something, as JSON values; at most {MAX_INLINE_ITEMS}, more belong in a file.",
    )


class ReprocessConfig(dg.Config):
    """Which items are run again."""

    batch_id: int | None = Field(
        default=None,
        description="A batch; its whole line counts, reprocess batches included. "
        "Without it, all outstanding retryable failures of all batches.",
    )
    reason: str | None = Field(
        default=None,
        description="Only failures of one reason, by its id, as `reliable-imports failures BATCH` shows it.",
    )
    failed_items_only: bool = Field(
        default=True, description="If false, completed and skipped items are run again too; needs a batch_id."
    )
    due_only: bool = Field(default=False, description="Only retryable failures whose back-off is over.")
