"""What a run says of content that came before."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from reliable_imports import BatchManager
from tests.dagster.conftest import Launch, Query, jsonl, notes, observation_of, tags_of
from tests.dagster.doubles import NotesProcessor


def _warnings(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == 30]


def test_the_same_content_is_stored_again_and_told(
    launch: Launch, instance: dg.DagsterInstance, manager: BatchManager, tmp_path: Path
) -> None:
    path = jsonl(tmp_path, notes(2))
    first, second = (launch("import_notes", path=str(path)) for _ in range(2))

    assert first.success
    assert second.success
    assert _warnings(instance, first) == []
    held = tags_of(instance, first.run_id)["batch_id"]
    assert any(f"the same content is in batch {held} already" in told for told in _warnings(instance, second))
    batch_id = int(tags_of(instance, second.run_id)["batch_id"])
    assert len(manager.get_batch(batch_id).warnings) == 1


def test_an_unchanged_file_can_be_skipped_and_wanted_all_the_same(
    launch: Launch,
    instance: dg.DagsterInstance,
    query: Query,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NotesProcessor, "skip_unchanged", True)
    path = jsonl(tmp_path, notes(2))
    runs = [launch("import_notes", path=str(path)) for _ in range(2)]
    runs.append(launch("import_notes", path=str(path), new_batch=True))

    assert all(run.success for run in runs)
    first, skipped, wanted = (tags_of(instance, run.run_id) for run in runs)
    assert (first["batch_id"], wanted["batch_id"]) == ("1", "2")
    assert skipped == {"outcome": "nothing_to_do"}
    assert observation_of(runs[1])["batch_id"] == "1"
    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(2,)]


def test_a_key_with_other_content_is_told(launch: Launch, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    path = jsonl(tmp_path, notes(2))
    assert launch("import_notes", path=str(path), idempotency_key="monday").success
    jsonl(tmp_path, notes(3))

    result = launch("import_notes", path=str(path), idempotency_key="monday")

    assert any("its idempotency key names batch" in told for told in _warnings(instance, result))
