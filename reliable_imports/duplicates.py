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

    fields: Sequence[Sequence[str]]
    """For each part of the key its names in the source."""
    duplicates: str
    null_tokens: frozenset[str]
    declared_by: str | None = None
    """The class, if it names fields that only the items can tell to be there: no model does."""

    @classmethod
    def of(cls, processor: type[BaseProcessor]) -> Keying | None:
        names = processor.natural_key_names()
        if not names:
            return None
        declared_by = processor.__qualname__ if processor.source_fields() is None else None
        return cls(names, processor.duplicates, processor.null_tokens, declared_by)

    def warnings(self, cursor: Any, batch_id: int) -> list[str]:
        """Fields of the key that no item has: they are misspelt, or the source has changed."""
        if self.declared_by is None:
            return []
        names = [name for part in self.fields for name in part]
        cursor.execute(_INGEST["fields_of_no_item"], {"batch_id": batch_id, "names": names})
        return [
            f"{self.declared_by}.natural_key names {name!r}, which no item of the batch has; duplicates are not found"
            for (name,) in cursor.fetchall()
        ]

    def mark_duplicates(self, cursor: Any, batch_id: int) -> None:
        """Note the items that do not win, on the server and within its memory; an item without a whole key is left."""
        parts = [[cursor.mogrify(_INGEST["part_of_key"], [name]).decode() for name in names] for names in self.fields]
        values = [part[0] if len(part) == 1 else f"coalesce({', '.join(part)})" for part in parts]
        if self.null_tokens:
            without = _INGEST["without_null_tokens"]
            tokens = sorted(self.null_tokens)
            values = [cursor.mogrify(without, [tokens]).decode().replace("{value}", value) for value in values]
        whole = " || E'\\x1f' || ".join(values)
        question = cursor.mogrify(_INGEST["may_have_duplicates"], {"batch_id": batch_id}).decode()
        cursor.execute(question.replace("{key}", whole))
        if cursor.fetchone() == (False,):
            return
        statement = cursor.mogrify(
            _INGEST["mark_duplicates"],
            {
                "batch_id": batch_id,
                "duplicates": self.duplicates,
                "unreadable": Json(list(self._unreadable(cursor, batch_id))),
            },
        )
        cursor.execute(statement.decode().replace("{key}", ", ".join(values), 1))

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
                        "natural_key": [self._text(_first(data, names)) for names in self.fields],
                    }
            after = page[-1][0]

    def _text(self, value: object) -> str | None:
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        if value is None or text in self.null_tokens:
            return None
        # What no text of the server can hold is written so that it equals itself and nothing else.
        return text if "\0" not in text and is_utf8(text) else f"\uffff{text!a}"


def _first(data: dict[str, Any], names: Sequence[str]) -> Any:
    """The first value that there is under one of the names."""
    return next((data[name] for name in names if data.get(name) is not None), None)
