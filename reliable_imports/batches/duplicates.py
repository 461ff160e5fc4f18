"""Items of one batch that are about the same thing: which of them are processed is decided when the batch is made."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg2.extras import Json

from reliable_imports.items.cells import WHITE_SPACE
from reliable_imports.items.json_check import is_utf8
from reliable_imports.postgres.queries import load
from reliable_imports.processor.facts import Facts

_INGEST = load("ingest.sql")


_MAX_SEEN = 1_000_000
_GENERATION = 65_536
_ONLY_STR = frozenset({str})


class SeenKeys:
    """Tells whether two items of a batch may have one key, while they are read: most batches have no duplicates, and
    the server would take longer to find that out than to store the items.

    Keeps 8 bytes an item, and those of a million items at most; of a larger batch it only says that they may.

    Attributes:
        only: the key's name in the source, if it has one part and that one name.
        may_repeat: so far as is known; final after `finish`.
    """

    def __init__(self, keying: Keying) -> None:
        names = [name for part in keying.fields for name in part]
        self.only = names[0] if len(names) == 1 else None
        self.may_repeat = False
        self._parts = keying.fields
        self._null_tokens = keying.null_tokens
        self._strip = keying.strip
        self._now: set[int] = set()
        self._before: list[array[int]] = []
        fields = [(f"field_{number}", Any, None) for number in range(len(names))]
        renamed = {field: name for (field, _, _), name in zip(fields, names, strict=True)}
        self._names = names
        try:
            self._decode = msgspec.json.Decoder(msgspec.defstruct("Key", fields, rename=renamed)).decode
        except ValueError:  # a name with a quote in it
            self.may_repeat = True

    def key_of(self, item: Mapping[str, Any]) -> Any:
        """The key of an item, for `note`: a value, or several."""
        if self.only is not None:
            return item.get(self.only)
        return [next((item[name] for name in part if item.get(name) is not None), None) for part in self._parts]

    def key_of_json(self, text: str | None) -> Any:
        """Likewise, of an item's JSON; None is one that the server cannot read."""
        try:
            found = self._decode(text or "")
        except msgspec.ValidationError:  # it is no object
            return None
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return _Unknown()
        if self.only is not None:
            return found.field_0  # type: ignore[attr-defined]
        values = [getattr(found, field) for field in found.__struct_fields__]
        return self.key_of(dict(zip(self._names, values, strict=True)))

    def note(self, keys: Sequence[Any]) -> None:
        """Take note of the keys of some items."""
        if self.may_repeat:
            return
        if self._strip or not _ONLY_STR.issuperset(map(type, keys)) or not self._null_tokens.isdisjoint(keys):
            keys = [key for each in keys if (key := self._whole(each)) is not None]
        before = len(self._now)
        self._now.update(map(hash, keys))
        if len(self._now) != before + len(keys):
            self.may_repeat = True
        elif len(self._now) >= _GENERATION:
            self._before.append(array("q", self._now))
            self._now = set()
            self.may_repeat = len(self._before) * _GENERATION > _MAX_SEEN

    def finish(self) -> None:
        """Compare what was noted early with what was noted late."""
        generations = [*self._before, array("q", self._now)]
        for place, early in enumerate(generations[:-1]):
            if self.may_repeat:
                return
            known = set(early)
            self.may_repeat = not all(known.isdisjoint(late) for late in generations[place + 1 :])

    def _whole(self, key: Any) -> Any:
        """A key with its values as the server shows them; None if one of them is missing."""
        parts = []
        for value in key if type(key) is list else [key]:
            if self._strip and type(value) is str:
                value = value.strip()
            if value is None or (type(value) is str and value in self._null_tokens):
                return None
            if type(value) is not str and type(value) is not int:
                self.may_repeat = True  # only the server knows whether its text is that of another one
                return None
            text = str(value)
            if text in self._null_tokens:
                return None
            parts.append(text)
        return tuple(parts) if type(key) is list else parts[0]


class _Unknown:
    """The key of an item that could not be looked at."""


@dataclass(frozen=True, slots=True)
class Keying:
    """What a processor declares about the natural key of its items."""

    fields: Sequence[Sequence[str]]
    """For each part of the key its names in the source."""
    duplicates: str
    null_tokens: frozenset[str]
    strip: bool = False
    declared_by: str | None = None
    """The class, if it names fields that only the items can tell to be there: no model does."""

    @classmethod
    def of(cls, facts: Facts) -> Keying | None:
        names = facts.natural_key_names()
        if not names:
            return None
        processor = facts.processor
        declared_by = processor.__qualname__ if facts.source_fields() is None else None
        return cls(names, processor.duplicates, processor.null_tokens, processor.strip, declared_by)

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

    def mark_duplicates(self, cursor: Any, batch_id: int, seen: SeenKeys | None = None) -> None:
        """Note the items that do not win, on the server and within its memory; an item without a whole key is left.

        Args:
            seen: what was noted while the items were read; without it the server looks through them.
        """
        if seen is not None and not seen.may_repeat:
            return
        values = self.values(cursor)
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

    def values(self, cursor: Any) -> list[str]:
        """For each part of the key, SQL that gives it as a text, or NULL, of a row `item` of `stored_items`."""
        parts = [[cursor.mogrify(_INGEST["part_of_key"], [name]).decode() for name in names] for names in self.fields]
        values = [part[0] if len(part) == 1 else f"coalesce({', '.join(part)})" for part in parts]
        if self.strip:
            without = cursor.mogrify(_INGEST["without_white_space"], [WHITE_SPACE]).decode()
            values = [without.replace("{value}", value) for value in values]
        if not self.null_tokens:
            return values
        without = _INGEST["without_null_tokens"]
        tokens = sorted(self.null_tokens)
        # Put in before the tokens, for one of those may look like the place.
        texts = [without.replace("{value}", value.replace("%", "%%")) for value in values]
        return [cursor.mogrify(text, [tokens]).decode() for text in texts]

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
        text = text.strip() if self.strip else text
        if value is None or text in self.null_tokens:
            return None
        # What no text of the server can hold is written so that it equals itself and nothing else.
        return text if "\0" not in text and is_utf8(text) else f"\uffff{text!a}"


def _first(data: dict[str, Any], names: Sequence[str]) -> Any:
    """The first value that there is under one of the names."""
    return next((data[name] for name in names if data.get(name) is not None), None)
