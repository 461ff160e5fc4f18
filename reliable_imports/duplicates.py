"""Items of one batch that are about the same thing: which of them are processed is decided when the batch is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extras import Json

from reliable_imports.json_text import is_utf8
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
                "unreadable": Json(list(self._unreadable(cursor, batch_id))),
            },
        )

    def _unreadable(self, cursor: Any, batch_id: int) -> Iterator[dict[str, object]]:
        """The keys of items that the server cannot read, as it would give those of others."""
        after = 0
        while True:
            cursor.execute(_INGEST["unreadable_items"], {"batch_id": batch_id, "after": after})
            page = cursor.fetchall()
            if not page:
                return
            for item_number, raw in page:
                data = json.loads(bytes(raw), parse_int=str, parse_float=str)
                if isinstance(data, dict):
                    yield {
                        "item_number": item_number,
                        "natural_key": [self._text(data.get(each)) for each in self.fields],
                    }
            after = page[-1][0]

    def _text(self, value: object) -> str | None:
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        if value is None or text in self.null_tokens:
            return None
        # What no text of the server can hold is written so that it equals itself and nothing else.
        return text if "\0" not in text and is_utf8(text) else f"\uffff{text!a}"
