"""What a run says of content that came before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reliable_imports import BatchManager
from reliable_imports_dagster import ReliableImportsResource, build_import_asset
from tests.dagster.conftest import Launch, Query, jsonl, notes, observation_of, tags_of
from tests.dagster.doubles import NotesProcessor

RESOURCES = {"reliable_imports": ReliableImportsResource()}


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
    # The asset is as new as its source: freshness policies, which look at materializations, are told so.
    told = [run.asset_materializations_for_node("notes")[0] for run in runs]
    assert [each.metadata["batch_id"].value for each in told] == ["1", "1", "2"]
    assert ["unchanged" in each.metadata for each in told] == [False, True, False]
    # Its data is the same, which conditions on that are told.
    assert [(each.tags or {})["dagster/data_version"] for each in told] == ["1", "1", "2"]
    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(2,)]


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # of Dagster's own, as it evaluates conditions
def test_what_depends_on_other_data_does_not_begin_for_an_unchanged_file(
    dsn: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NotesProcessor, "skip_unchanged", True)
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())

    @dg.asset(deps=["notes"], automation_condition=changed)
    def digest() -> None: ...

    defs = dg.Definitions(assets=[build_import_asset(NotesProcessor), digest], resources=RESOURCES)
    path = jsonl(tmp_path, notes(2))
    config = {"ops": {"notes": {"config": {"path": str(path)}}}}

    def wanted(cursor: Any) -> tuple[int, Any]:
        result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
        return result.total_requested, result.cursor

    def imported() -> None:
        job = defs.resolve_implicit_global_asset_job_def()
        assert job.get_subset(asset_selection={dg.AssetKey("notes")}).execute_in_process(
            run_config=config, instance=instance
        )

    imported()
    _, cursor = wanted(None)
    imported()
    unchanged, cursor = wanted(cursor)
    jsonl(tmp_path, notes(3))
    imported()
    new, _ = wanted(cursor)

    assert (unchanged, new) == (0, 1)


def test_an_unchanged_file_of_which_nothing_was_stored_is_no_more_than_observed(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NotesProcessor, "skip_unchanged", True)
    path = jsonl(tmp_path, notes(2, do="fail"))

    first, second = (launch("import_notes", path=str(path), fail_run_on="never") for _ in range(2))

    assert observation_of(first)["batch_id"] == observation_of(second)["batch_id"] == "1"


def test_a_key_with_other_content_is_told(launch: Launch, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    path = jsonl(tmp_path, notes(2))
    assert launch("import_notes", path=str(path), idempotency_key="monday").success
    jsonl(tmp_path, notes(3))

    result = launch("import_notes", path=str(path), idempotency_key="monday")

    assert any("its idempotency key names batch" in told for told in _warnings(instance, result))
