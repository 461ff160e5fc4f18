"""Where the repeats of an item began: a repeat must not overwrite what was delivered later."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reliable_imports.writes.identifiers import array_text


class Origin(NamedTuple):
    """Where the series of repeats of an item began: its place in the order of deliveries."""

    batch_id: int
    item_number: int


def arrays_of(origins: Iterable[Origin | None]) -> tuple[str, str]:
    """SQL for the numbers of the batches and those of the items, as arrays."""
    batches, items = zip(*[origin or ("NULL", "NULL") for origin in origins], strict=True)
    return f"'{array_text(batches)}'::bigint[]", f"'{array_text(items)}'::integer[]"
