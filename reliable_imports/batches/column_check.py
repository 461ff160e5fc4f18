"""Whether a source gives what its processor asks for: its names are compared, once for a batch, with the fields of the
model, or with the columns of the table where that is the model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import chain, islice

from reliable_imports.errors import SourceError
from reliable_imports.items.json_check import shortened
from reliable_imports.items.json_read import loads
from reliable_imports.items.model_fields import ModelField
from reliable_imports.items.source_item import SourceItem
from reliable_imports.processor.facts import Facts
from reliable_imports.sources import Source
from reliable_imports.sources.hints import plain_name

_FIRST_ITEMS = 100
_MAX_NAMES = 10
_MAX_COMPARED = 100
"""Fields and names that are looked at for likenesses: together, they take some tenths of a second."""
_ALIKE = 0.6
_LIKE_DATA = re.compile(r"\W*\d[\d\W]*|.*@.*", re.DOTALL)


class ColumnCheck:
    """Compares one source with what one processor reads: the fields of its model, or the columns of its table.

    A header tells at once what there is. Of other items the names of the first 100 count; a field that they do not have
    is missing only if its name stands in no item of the batch.
    """

    @classmethod
    def of(cls, facts: Facts) -> ColumnCheck | None:
        """None where nobody can say which fields a source should have."""
        fields = facts.source_fields()
        return cls(fields, facts) if fields else None

    def __init__(self, fields: Sequence[ModelField], facts: Facts) -> None:
        self._fields = fields
        self._facts = facts
        self._others = facts.other_columns()
        self._said_by = facts.said_by()
        self._their_names = "the model's fields" if self._said_by == "the model" else f"the columns of {self._said_by}"
        self._known = {name for field in fields for name in field.source_names}
        self._has_header = False
        self._names: dict[str, None] = {}
        self._unseen = list(fields)
        self._search = _search_of(fields)
        self._hint: str | None = None

    def begin(self, items: Iterable[object]) -> Iterator[object]:
        """Begin to read the items.

        Raises:
            SourceError: they have a header, and it has nothing that the processor reads.
            InvalidTarget: the items have another key than the one that was chosen.
        """
        iterator = iter(items)
        first = list(islice(iterator, 1))  # a header is read before it
        iterator = chain(first, iterator)
        if isinstance(items, Source) and items.findings.columns is not None:
            self._has_header = True
            self._judge(items, items.findings.columns)
            return iterator
        return chain(self._noted(iterator), iterator)

    def look(self, block: str) -> None:
        """Look for the names that are missing yet in a block of lines as COPY takes them."""
        if self._has_header:
            return
        # One search for all names: where none is missing, or none is there, it is all that this costs.
        while self._unseen and (found := self._search(block)):
            self._unseen = [field for field in self._unseen if found[0] not in _as_keys(field)]
            self._search = _search_of(self._unseen)

    def warnings(self) -> list[str]:
        """What people should know, a sentence each; to be asked for when all items have been read."""
        if not self._names:
            return []
        if not self._has_header:
            self._facts.check_names(self._names)
        if not self._has_header and self._known.isdisjoint(self._names):
            # Such names may be data: they are not shown.
            return [f"none of the first items has one of {self._their_names} ({_listed(self._first_names())})"]
        unknown = [name for name in self._names if name not in self._known]
        missing = [field for field in self._unseen if self._names.keys().isdisjoint(field.source_names)]
        likely = _likely_names(missing, unknown)
        if self._others == "rewritten" or self._facts.may_add_columns():
            missing = [field for field in missing if field.name in likely]
        unread = self._others not in ("rewritten", "taken")
        unknown = [name for name in unknown if unread and name not in likely.values()]
        found = [] if self._hint is None else [self._hint]
        if missing:
            told = [_asked(field, likely.get(field.name)) for field in missing]
            has_none = "the header has no column" if self._has_header else "no item has a value"
            found.append(f"{has_none} for {_listed(told)}")
        if unknown:
            what = "columns" if self._has_header else "names"
            found.append(f"{self._said_by} has no field for the {what} {_listed(map(shortened, unknown))}")
        return found

    def _noted(self, items: Iterator[object]) -> Iterator[object]:
        for item in islice(items, _FIRST_ITEMS):
            self._names.update(dict.fromkeys(_names_of(item)))
            yield item

    def _judge(self, source: Source, columns: Sequence[str]) -> None:
        self._names = dict.fromkeys(columns)
        self._facts.check_names(columns)
        if not self._known.isdisjoint(columns):
            return
        looks_like_data = any(_LIKE_DATA.fullmatch(name) for name in columns)
        shown = f"of {len(columns)} columns" if looks_like_data else shortened(", ".join(columns))
        problem = f"the header {shown} has none of {self._their_names} {_listed(self._first_names())}"
        hint = source.better_options(self._known)
        if hint is None and (likely := _likely_names(self._fields, columns)) and not looks_like_data:
            hint = f"{_listed(f'{shortened(name)} looks like {field}' for field, name in likely.items())}"
        if hint is None and looks_like_data:
            hint = "it looks like data: for a file without a header, set SourceOptions(header=[...])"
        told = f"{problem}; {hint}" if hint else problem
        if self._others == "unread":
            raise SourceError(source.name, told)
        self._hint = told

    def _first_names(self) -> list[str]:
        return [(field.source_names or (field.name,))[0] for field in self._fields]


def _names_of(item: object) -> Collection[str]:
    value = item
    if isinstance(item, SourceItem):
        try:
            value = None if item.text is None else loads(item.text)
        except ValueError:
            return ()
    return [name for name in value if isinstance(name, str)] if isinstance(value, Mapping) else ()


def _search_of(fields: Iterable[ModelField]) -> Callable[[str], re.Match[str] | None]:
    names = dict.fromkeys(re.escape(key[1:-1]) for field in fields for key in _as_keys(field))
    return re.compile(f'"(?:{"|".join(names)})"').search


def _as_keys(field: ModelField) -> Iterator[str]:
    for name in field.source_names:
        for text in (json.dumps(name), json.dumps(name, ensure_ascii=False)):
            yield text.replace("\\", "\\\\")


def _likely_names(fields: Iterable[ModelField], names: Sequence[str]) -> dict[str, str]:
    """By field, the one of *names* that is most like its own, if any is alike; the best pairs first, a name once."""
    looked_at = [(name, plain_name(name)) for name in names[:_MAX_COMPARED]]
    pairs = sorted(
        (
            (_likeness(plain_name(own), plain), field.name, name)
            for field in islice(fields, _MAX_COMPARED)
            for own in {*field.source_names, field.name}
            for name, plain in looked_at
        ),
        key=lambda pair: -pair[0],
    )
    found: dict[str, str] = {}
    for likeness, field_name, name in pairs:
        if likeness >= _ALIKE and field_name not in found and name not in found.values():
            found[field_name] = name
    return found


def _likeness(one: str, other: str) -> float:
    if one == other:
        return 1.0
    matcher = SequenceMatcher(None, one, other)
    # The exact answer takes ten times as long as one that is never too low.
    return matcher.ratio() if min(matcher.real_quick_ratio(), matcher.quick_ratio()) >= _ALIKE else 0.0


def _asked(field: ModelField, likely: str | None) -> str:
    name = (field.source_names or (field.name,))[0]
    return name if likely is None else f"{name} (is it {shortened(likely)}, which no field is named for?)"


def _listed(names: Iterable[str]) -> str:
    all_names = list(names)
    more = len(all_names) - _MAX_NAMES
    return ", ".join(all_names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
