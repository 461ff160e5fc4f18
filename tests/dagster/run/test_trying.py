"""A run that only tries says what would come of it, and neither keeps nor materializes anything."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from reliable_imports import BatchManager
from tests.dagster.conftest import Launch, Query, notes, observations_of, problem, tags_of

_EVERYTHING = "SELECT (SELECT count(*) FROM notes), (SELECT count(*) FROM reliable_imports.import_batches)"


def test_an_import_is_tried(launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, query: Query) -> None:
    manager.process_batch(manager.create_batch("notes", notes(1, text="old")))
    before = query(_EVERYTHING)
    items = [*notes(2, text="new"), {"id": 3, "do": "fail"}]

    result = launch("import_notes", items=items, **{"try": True})

    assert result.success
    assert result.get_asset_materialization_events() == []
    [observed] = observations_of(result)
    told = {name: value.value for name, value in observed.metadata.items()}
    assert (told["try"], told["created"], told["failed"]) == (True, 2, 1)
    assert tags_of(instance, result.run_id)["outcome"] == "tried"
    assert query(_EVERYTHING) == before


def test_failures_are_tried(launch: Launch, manager: BatchManager, query: Query, tmp_path: Path) -> None:
    items = notes(1) + [{"id": number, "do": "fail", "until": str(tmp_path / "mended")} for number in (2, 3)]
    batch_id = manager.process_batch(manager.create_batch("notes", items)).batch_id
    (tmp_path / "mended").touch()
    before = query(_EVERYTHING)

    result = launch("reprocess_notes", batch_id=batch_id, sample=1, **{"try": True})

    assert result.success
    assert result.get_asset_materialization_events() == []
    [observed] = observations_of(result)
    told = {name: value.value for name, value in observed.metadata.items()}
    assert (told["tried_items"], told["total_items"], told["created"]) == (1, 2, 1)
    assert query(_EVERYTHING) == before


def test_what_cannot_be_tried_is_told(launch: Launch) -> None:
    result = launch("import_notes", path="/nowhere.jsonl", **{"try": True})
    assert not result.success
    assert "/nowhere.jsonl" in problem(result)
