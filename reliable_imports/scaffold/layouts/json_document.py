"""JSON: where the items of a document are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from reliable_imports.scaffold import texts
from reliable_imports.scaffold.layouts.layout import Layout
from reliable_imports.sources.options import Format, SourceOptions
from reliable_imports.sources.stored.files import StoredFile

_FEWEST_OF_MAP = 3


def is_json(text: str) -> bool:
    try:
        json.JSONDecoder().raw_decode(text.lstrip())
    except json.JSONDecodeError as error:
        return error.pos > 1000  # cut off where the glimpse ends
    return True


def json_layout(stored: StoredFile, form: Format, options: SourceOptions, seen: texts.Glimpse) -> Layout:
    remarks = [("format", "JSON Lines" if form == "jsonl" else "JSON"), ("encoding", seen.encoding)]
    if form == "json" and seen.head.lstrip()[:1] == "{" and seen.is_whole:
        found = _longest_array(stored, seen.encoding)
        # An array of objects that is alone at the top is found without being named.
        if found is not None and not (found.is_alone and found.pointer.count("/") == 1):
            remarks.append(("items", f"the array at {found.pointer}"))
            options = replace(options, pointer=found.pointer)
    return Layout(form, options, tuple(remarks), seen.is_whole)


@dataclass(frozen=True, slots=True)
class _Array:
    pointer: str
    is_alone: bool


def _longest_array(stored: StoredFile, encoding: str) -> _Array | None:
    """Where the longest array of objects stands in a document that is an object; None if there is none."""
    try:
        document = json.loads(b"".join(stored.blocks()).decode(encoding).removeprefix("\ufeff"))
    except (ValueError, RecursionError):  # several objects one after another, or no JSON
        return None
    if _is_map(document):
        return None
    found = sorted(_arrays(document, "", 4), reverse=True)
    if not found:
        return None
    at_top = [pointer for _, pointer in found if pointer.count("/") == 1]
    return _Array(found[0][1], is_alone=len(at_top) == 1)


def _is_map(document: Any) -> bool:
    """Whether the members of an object are what it is about, each under a name of its own; no array in it is all."""
    if not isinstance(document, dict) or len(document) < _FEWEST_OF_MAP:
        return False
    members = list(document.values())
    if not all(isinstance(member, dict) for member in members):
        return False
    shared = set(members[0]).intersection(*members[1:_FEWEST_OF_MAP])
    return 2 * len(shared) >= len(members[0]) > 0


def _arrays(value: Any, place: str, levels: int) -> Iterator[tuple[int, str]]:
    if isinstance(value, list):
        if place and value and all(isinstance(each, dict) for each in value):
            yield len(value), place
    elif isinstance(value, dict) and levels:
        for name, member in value.items():
            yield from _arrays(member, f"{place}/{name.replace('~', '~0').replace('/', '~1')}", levels - 1)
