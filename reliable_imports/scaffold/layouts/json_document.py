"""JSON: where the items of a document are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

from reliable_imports.errors import SourceError
from reliable_imports.scaffold import texts
from reliable_imports.scaffold.layouts.layout import Layout
from reliable_imports.sources.options import Format, SourceOptions
from reliable_imports.sources.stored.files import StoredFile

_FEWEST_OF_MAP = 2
_LEVELS = 4


def is_json(text: str) -> bool:
    try:
        json.JSONDecoder().raw_decode(text.lstrip())
    except json.JSONDecodeError as error:
        return error.pos > 1000  # cut off where the glimpse ends
    return True


def json_layout(stored: StoredFile, form: Format, options: SourceOptions, seen: texts.Glimpse) -> Layout:
    remarks = [("format", "JSON Lines" if form == "jsonl" else "JSON"), ("encoding", seen.encoding)]
    if form == "json" and seen.head.lstrip()[:1] == "{" and seen.is_whole:
        found = _items_of(stored, seen.encoding)
        if isinstance(found, _Map):
            remarks.append(("items", f"the members of {found.place}, with their names as {found.field}"))
            options = replace(options, pointer=found.pointer or None, member_name=found.field)
        # An array of objects that is alone at the top is found without being named.
        elif found is not None and not (found.is_alone and found.pointer.count("/") == 1):
            remarks.append(("items", f"the array at {found.pointer}"))
            options = replace(options, pointer=found.pointer)
    return Layout(form, options, tuple(remarks), seen.is_whole)


@dataclass(frozen=True, slots=True)
class _Array:
    pointer: str
    is_alone: bool


@dataclass(frozen=True, slots=True)
class _Map:
    """An object whose members are the items.

    Attributes:
        field: for the names of the members; no member has one of this name.
    """

    pointer: str
    field: str

    @property
    def place(self) -> str:
        return f"the object at {self.pointer}" if self.pointer else "the document"


def _items_of(stored: StoredFile, encoding: str) -> _Array | _Map | None:
    """Where the items stand in a document that is an object: the members of that, if they are alike; else the longest
    array of objects; else the largest object with such members. None if there is nothing of the kind.

    Raises:
        SourceError: it has columns and no rows.
    """
    try:
        document = json.loads(b"".join(stored.blocks()).decode(encoding).removeprefix("\ufeff"))
    except (ValueError, RecursionError):  # several objects one after another, or no JSON
        return None
    if _has_columns(document):
        raise SourceError(stored.growth.source, _COLUMNS)
    if _is_map(document):
        return _Map("", _free_name(document))
    found = sorted(_arrays(document, "", _LEVELS), reverse=True)
    if found:
        at_top = [pointer for _, pointer in found if pointer.count("/") == 1]
        return _Array(found[0][1], is_alone=len(at_top) == 1)
    maps = sorted(_maps(document, "", _LEVELS), key=lambda each: each[:2], reverse=True)
    return _Map(maps[0][1], _free_name(maps[0][2])) if maps else None


_COLUMNS = (
    "its members look like columns and not rows, as pandas writes a table; write it with orient='records', or by "
    "python -c \"import pandas; pandas.read_json('FILE').to_json('ROWS.json', orient='records')\""
)


def _has_columns(document: Any) -> bool:
    """Whether the members are columns, with the same numbers of rows in each; so are lists of one length."""
    if not isinstance(document, dict) or not document:
        return False
    members = list(document.values())
    if all(isinstance(member, dict) for member in members):
        names = [str(number) for number in range(len(members[0]))]
        return bool(names) and list(document) != names[: len(document)] and all(list(each) == names for each in members)
    is_lists = len(members) > 1 and all(isinstance(each, list) and each for each in members)
    return (
        is_lists
        and len({len(each) for each in members}) == 1
        and not any(isinstance(each[0], dict) for each in members)
    )


def _is_map(document: Any) -> bool:
    """Whether the members of an object are what it is about, each under a name of its own; no array in it is all."""
    if not isinstance(document, dict) or len(document) < _FEWEST_OF_MAP:
        return False
    members = list(document.values())
    if not all(isinstance(member, dict) for member in members):
        return False
    if len(members) == _FEWEST_OF_MAP:  # a request and a response may share a name
        return bool(members[0]) and set(members[0]) == set(members[1])
    shared = set(members[0]).intersection(*members[1:3])
    return 2 * len(shared) >= len(members[0]) > 0


def _free_name(members: dict[str, dict[str, Any]]) -> str:
    taken = {name for member in members.values() for name in member}
    names = chain(("key", "member"), (f"key_{number}" for number in count(2)))
    return next(name for name in names if name not in taken)


def _maps(value: Any, place: str, levels: int) -> Iterator[tuple[int, str, dict[str, Any]]]:
    if not isinstance(value, dict) or not levels:
        return
    for name, member in value.items():
        pointer = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
        if _is_map(member):
            yield len(member), pointer, member
        yield from _maps(member, pointer, levels - 1)


def _arrays(value: Any, place: str, levels: int) -> Iterator[tuple[int, str]]:
    if isinstance(value, list):
        if place and value and all(isinstance(each, dict) for each in value):
            yield len(value), place
    elif isinstance(value, dict) and levels:
        for name, member in value.items():
            yield from _arrays(member, f"{place}/{name.replace('~', '~0').replace('/', '~1')}", levels - 1)
