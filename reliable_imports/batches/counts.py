"""What failed in a batch that has ended is counted once, and kept, for nothing of it changes any more."""

from __future__ import annotations

from typing import Any

from reliable_imports.postgres.queries import load

_WORK = load("work.sql")


def count_batch(cursor: Any, batch_id: int, *, may_repeat: bool = True) -> None:
    """Keep the counts of a batch, unless it is counted or has not ended.

    Args:
        may_repeat: False for a batch that repeats no items of others. To plan that count takes longer than to count.
    """
    parameters = {"batch_id": batch_id}
    if may_repeat:
        cursor.execute(_WORK["count_repeats"], parameters)
    cursor.execute(_WORK["count_failures"], parameters)
