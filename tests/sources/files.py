"""Shorthand for sources made of bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from reliable_imports.errors import SourceError
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources import SourceOptions, open_source

# How long an example takes says nothing where it writes a file, on a busy machine.
unhurried = settings(deadline=None)


def read(path: Path, content: bytes, **options: Any) -> list[SourceItem]:
    """Every item of a file *path* that holds *content*."""
    path.write_bytes(content)
    return list(open_source(path, SourceOptions(**options)))


def refusal(path: Path, content: bytes, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path, content, **options)
    return caught.value


def value(item: SourceItem) -> Any:
    assert item.problem is None, item
    assert (item.text is None) != (item.raw is None)
    return json.loads(item.text if item.text is not None else item.raw or b"")


def values(items: list[SourceItem]) -> list[Any]:
    return [value(item) for item in items]


def problems(items: list[SourceItem]) -> list[tuple[str | None, bytes | None]]:
    return [(item.kind, item.raw) for item in items if item.problem is not None]
