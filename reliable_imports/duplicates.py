"""Items of one batch that are about the same thing: which of them are processed is decided when the batch is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reliable_imports.processor import BaseProcessor
from reliable_imports.queries import load

_INGEST = load("ingest.sql")


@dataclass(frozen=True, slots=True)
class Keying:
    """What a processor declares about the natural key of its items."""

    fields: Sequence[str]
    duplicates: str
    null_tokens: frozenset[str]

    @classmethod
    def of(cls, processor: type[BaseProcessor]) -> Keying | None:
        if not processor.natural_key:
            return None
        return cls(tuple(processor.natural_key), processor.duplicates, processor.null_tokens)

    def mark_duplicates(self, cursor: Any, batch_id: int) -> None:
        """Note the items that do not win, on the server and within its memory; an item without a whole key is left."""
        cursor.execute(
            _INGEST["mark_duplicates"],
            {
                "batch_id": batch_id,
                "fields": list(self.fields),
                "null_tokens": sorted(self.null_tokens),
                "duplicates": self.duplicates,
            },
        )
