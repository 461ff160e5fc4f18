"""An item as the processor gets it."""

from __future__ import annotations

from typing import Any

import msgspec


class ImportBatchItem(msgspec.Struct, frozen=True):
    """One item of a batch, as a processor gets it.

    Attributes:
        batch_id: the batch it belongs to.
        item_number: its number within the batch, from 1, in the order of the source.
        source_data: the stored item, parsed. Of a mapping, the processor's `rename`, `strip`, `null_tokens`,
            `decimal_comma` and `dates` have been seen to.
        line: 1-based line in the source file where the item begins, or None.
        offset: 0-based byte offset of that in the decompressed file, or None.
        attempt: 1 for the first try; counts on across reprocessing.
        prepared: what the processor's `prepare_item` returned for this item; None without one.
    """

    batch_id: int
    item_number: int
    source_data: Any
    line: int | None = None
    offset: int | None = None
    attempt: int = 1
    prepared: Any = None
