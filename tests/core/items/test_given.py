"""What is given beside the items, and cannot be kept: told by its name, before anything is touched."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import BatchManager, ConfigurationError, ReprocessRequest
from tests.core.conftest import Sql


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", 7])
@pytest.mark.parametrize("name", ["source", "requested_by", "partition"])
def test_texts_of_a_batch(manager: BatchManager, name: str, text: Any) -> None:
    given: dict[str, Any] = {name: text}
    with pytest.raises(ConfigurationError, match=f"^{name} "):
        manager.create_batch("notes", [{"id": 1}], **given)

    assert manager.list_batches() == []


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"share": math.nan}, "metadata cannot be kept as JSON: .*share"),
        ({"deep": [{"most": math.inf}]}, "metadata cannot be kept as JSON: .*most"),
        ({"name": "a\0b"}, "metadata cannot be kept as JSON: a text in it holds a NUL character"),
        ({"a\0b": 1}, "metadata cannot be kept as JSON: a text in it holds a NUL character"),
        ({"name": "a\ud800b"}, "metadata cannot be kept as JSON: a text in it holds a NUL character or half"),
        ({"what": object()}, "metadata cannot be kept as JSON: .*what"),
    ],
)
def test_metadata_of_a_batch(manager: BatchManager, metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        manager.create_batch("notes", [{"id": 1}], metadata=metadata)

    assert manager.list_batches() == []


def test_metadata_is_written_as_items_are(manager: BatchManager, tmp_path: Path) -> None:
    batch_id = manager.create_batch("notes", [], metadata={"folder": ["a", {"b": 1.5}], "none": None})

    assert manager.get_batch(batch_id).metadata == {"folder": ["a", {"b": 1.5}], "none": None}


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_reasons_notes_and_keys(manager: BatchManager, text: str) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "bad"}])
    calls: list[tuple[str, Any]] = [
        ("reason", lambda: manager.pause_batch(batch_id, reason=text)),
        ("reason", lambda: manager.cancel_batch(batch_id, reason=text)),
        ("reasons", lambda: ReprocessRequest(reasons=[text])),
        ("reason", lambda: manager.list_items(batch_id, reason=text)),
        ("exclude_reasons", lambda: ReprocessRequest(exclude_reasons=[text])),
        ("note", lambda: ReprocessRequest(note=text)),
        ("requested_by", lambda: ReprocessRequest(requested_by=text)),
        ("", lambda: ReprocessRequest(idempotency_key=text)),
        ("", lambda: manager.create_batch("notes", [], idempotency_key=text)),
    ]
    for name, call in calls:
        with pytest.raises(ConfigurationError, match=f"^{name}"):
            call()

    assert manager.get_summary(batch_id).open_items == 1
    manager.cancel_batch(batch_id)


def test_a_file_whose_name_is_no_utf8_is_imported(manager: BatchManager, tmp_path: Path, sql: Sql) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jsonl"
    with open(path, "w") as file:
        file.write('{"id": 1, "text": "ok"}\n')

    batch_id = manager.create_batch("notes", manager.open_source("notes", os.fsdecode(path)))

    assert manager.process_batch(batch_id).completed_items == 1
    assert (manager.get_batch(batch_id).source or "").endswith("caf?.jsonl")
