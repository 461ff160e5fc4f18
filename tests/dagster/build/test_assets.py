from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import pytest

from reliable_imports import BatchManager
from reliable_imports.processor.code_version import code_version
from reliable_imports_dagster import FailRunOn, ReliableImportsResource, build_import_asset
from tests.dagster.conftest import Launch, Query, checks_of, notes, observation_of, problem, tags_of
from tests.dagster.doubles import AuthorsProcessor, NotesProcessor

BAD = {"id": 2, "do": "fail"}


def _materialization(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [event] = result.get_asset_materialization_events()
    return {
        name: [record.data for record in value.records] if isinstance(value, dg.TableMetadataValue) else value.value
        for name, value in event.materialization.metadata.items()
    }


def _check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    return checks_of(result)["no_failed_items"]


def test_a_few_items_can_be_given_in_the_config(launch: Launch, query: Query) -> None:
    result = launch("import_notes", items=[{"id": 1, "text": "one"}, {"id": 2, "text": None}])

    assert result.success
    assert query("SELECT id, text FROM notes ORDER BY id") == [(1, "one"), (2, None)]
    assert query("SELECT batch_type, status, requested_by FROM reliable_imports.import_batches") == [
        ("notes", "completed", "dagster")
    ]


def test_a_file_can_be_given(launch: Launch, query: Query, tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": 1}\n{"id": 2}\nnot json\n')

    result = launch("import_notes", path=str(path))

    assert result.success
    assert query("SELECT status, source FROM reliable_imports.import_batches") == [
        ("completed_with_failures", str(path))
    ]
    assert _materialization(result)["source"] == str(path)


def test_an_existing_batch_can_be_given(launch: Launch, manager: BatchManager, query: Query) -> None:
    batch_id = manager.create_batch("notes", notes(3))

    assert launch("import_notes", batch_id=batch_id).success

    assert query("SELECT id, status FROM reliable_imports.import_batches") == [(batch_id, "completed")]


def test_without_config_the_processors_own_source_is_imported(launch: Launch, query: Query) -> None:
    assert launch("import_authors").success
    assert query("SELECT name FROM authors ORDER BY name") == [("Ada",), ("Grace",)]


def test_without_a_source_and_without_config_the_run_says_what_to_give(launch: Launch, query: Query) -> None:
    result = launch("import_notes")

    assert not result.success
    assert "NotesProcessor declares no `source`" in problem(result)
    assert query("SELECT * FROM reliable_imports.import_batches") == []


def test_two_sources_at_once_are_refused(launch: Launch, query: Query) -> None:
    result = launch("import_notes", path="notes.csv", items=[{"id": 1}])

    assert "given path and items" in problem(result)
    assert query("SELECT * FROM reliable_imports.import_batches") == []


def test_a_hundred_items_are_taken_and_one_more_is_refused(launch: Launch, query: Query) -> None:
    assert launch("import_notes", items=notes(100)).success

    result = launch("import_notes", items=notes(101))

    assert "101 items" in problem(result)
    assert "put the items in a file" in problem(result)
    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_a_batch_of_another_type_is_refused(launch: Launch, manager: BatchManager) -> None:
    batch_id = manager.create_batch("authors", [{"name": "Ada"}])

    said = problem(launch("import_notes", batch_id=batch_id))

    assert said == (
        f"batch {batch_id} is of type 'authors', and import_notes imports 'notes'; launch import_authors for it"
    )


def test_a_batch_that_does_not_exist_is_refused(launch: Launch) -> None:
    assert "there is no batch 99" in problem(launch("import_notes", batch_id=99))


def test_an_empty_path_is_no_wish_for_the_processors_own_source(launch: Launch, query: Query) -> None:
    result = launch("import_authors", path="")

    assert "the name does not say the format" in problem(result)
    assert query("SELECT * FROM reliable_imports.import_batches") == []


def test_a_file_that_does_not_exist_is_refused_in_one_line(launch: Launch, query: Query, tmp_path: Path) -> None:
    result = launch("import_notes", path=str(tmp_path / "gone.csv"))

    assert "gone.csv" in problem(result)
    assert "no batch was created" in problem(result)
    assert query("SELECT * FROM reliable_imports.import_batches") == []


def test_run_and_batch_are_tied_in_both_directions(launch: Launch, instance: dg.DagsterInstance, query: Query) -> None:
    result = launch("import_notes", items=[{"id": 1}, BAD])

    [(batch_id, mode)] = query(
        "SELECT batch_id, mode FROM reliable_imports.import_runs WHERE runner = 'dagster' AND dagster_run_id = %s",
        result.run_id,
    )
    assert mode == "import"
    [run] = instance.get_runs(dg.RunsFilter(tags={"reliable_imports/batch_id": str(batch_id)}))
    assert run.run_id == result.run_id
    assert tags_of(instance, result.run_id) == {
        "batch_id": str(batch_id),
        "batch_id.notes": str(batch_id),
        "batch_type": "notes",
        "code_version": code_version(NotesProcessor),
        "lineage": str(batch_id),
        "mode": "import",
        "outcome": "completed_with_failures",
    }


def test_partial_success_is_a_green_run_with_a_warning(launch: Launch) -> None:
    result = launch("import_notes", items=[{"id": 1}, BAD])

    assert result.success
    check = _check(result)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.description is not None
    assert check.description.startswith("1 of 2 items failed for 1 reason; new: ValueError in _fail: this is no note")
    assert "(1); 1 wait to be reprocessed: `reliable-imports reprocess 1`" in check.description


def test_what_people_ignore_turns_the_check_not_yellow(launch: Launch, manager: BatchManager) -> None:
    launch("import_notes", items=[{"id": 1}, BAD])
    [cause] = manager.failures()
    manager.ignore_failure(cause.reason, "they are test data")

    check = _check(launch("import_notes", items=[{"id": 2}, BAD]))
    assert check.passed
    assert check.description == "1 of 2 items failed for 1 reason; 1 failed for what people ignore"

    mixed = _check(launch("import_notes", items=[{"id": 3}, BAD, {"text": "without an id"}]))
    assert not mixed.passed
    assert mixed.description is not None
    assert "; new: " in mixed.description
    assert "; 1 wait to be reprocessed" in mixed.description
    manager.end_ignoring_failure(cause.reason)
    assert not _check(launch("import_notes", items=[{"id": 5}, BAD])).passed


def test_a_larger_share_of_failures_than_usual_is_a_warning(launch: Launch) -> None:
    rate = checks_of(launch("import_notes", items=[{"id": 1}, BAD]))["failure_rate"]

    assert not rate.passed
    assert rate.severity is dg.AssetCheckSeverity.WARN
    assert rate.description == "50.00% of 2 items failed; up to 5.00% pass"


def test_a_larger_share_than_the_processor_declares_is_an_error(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NotesProcessor, "max_failed_share", 0.5)
    assert checks_of(launch("import_notes", items=[{"id": 1}, BAD]))["failure_rate"].passed

    rate = checks_of(launch("import_notes", items=[{"id": 1}, BAD, {"id": 3, "do": "fail"}]))["failure_rate"]
    assert rate.severity is dg.AssetCheckSeverity.ERROR
    assert not rate.passed


def test_what_does_not_add_up_is_an_error(launch: Launch, query: Query, manager: BatchManager) -> None:
    assert checks_of(launch("import_notes", items=[{"id": 1}]))["reconciled"].passed
    query("UPDATE reliable_imports.import_ranges SET completed = 7")

    check = checks_of(launch("import_notes", batch_id=1))["reconciled"]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR


def test_a_paused_batch_fails_its_run_and_the_next_run_of_it_goes_on(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NotesProcessor, "max_failed_items", 0)
    batch_id = manager.create_batch("notes", [BAD, *[{"id": number} for number in range(10, 1500)]])
    result = launch("import_notes", batch_id=batch_id)

    assert not result.success
    told = problem(result)
    assert told.startswith(f"batch {batch_id} is paused, ")
    assert ": 1 items have failed, and max_failed_items is 0; " in told
    assert f"`reliable-imports process {batch_id}` to go on" in told
    assert tags_of(instance, result.run_id)["outcome"] == "paused"
    assert observation_of(result)["status"] == "paused"

    monkeypatch.setattr(NotesProcessor, "max_failed_items", None)
    assert launch("import_notes", batch_id=batch_id).success
    assert manager.get_summary(batch_id).open_items == 0


def test_a_cancelled_batch_fails_its_run(launch: Launch, manager: BatchManager) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1}])
    manager.cancel_batch(batch_id)

    assert problem(launch("import_notes", batch_id=batch_id)) == (
        f"batch {batch_id} was cancelled, 1 item of 1 left pending: `reliable-imports reprocess {batch_id}`"
    )


def test_a_run_can_be_told_when_to_fail(launch: Launch) -> None:
    assert not launch("import_notes", items=[{"id": 1}, BAD], fail_run_on="any_failure").success
    assert launch("import_notes", items=[BAD], fail_run_on="never").success


def test_complete_success_passes_the_check(launch: Launch) -> None:
    check = _check(launch("import_notes", items=notes(2)))

    assert check.passed
    assert check.description == "none of 2 items failed"


def test_the_materialization_tells_counts_reasons_and_what_to_do(launch: Launch, query: Query) -> None:
    result = launch("import_notes", items=[{"id": 1}, BAD, {"id": 3, "do": "fail"}, {"id": 4, "do": "fail otherwise"}])

    told = _materialization(result)
    [(batch_id,)] = query("SELECT id FROM reliable_imports.import_batches")
    counts = {
        "total_items": 4,
        "completed_items": 1,
        "failed_items": 3,
        "skipped_items": 0,
        "outstanding_failures": 3,
    }
    assert {name: told[name] for name in counts} == counts
    assert told["batch_id"] == str(batch_id)
    assert told["status"] == "completed_with_failures"
    assert told["items_per_second"] > 0
    assert told["seconds"] >= 0
    [first, second] = told["reasons"]
    assert (first["items"], first["sample"]) == (2, 2)
    assert "this is no note" in first["title"]
    assert (second["items"], second["sample"]) == (1, 4)
    assert told["runs"] == f"[runs of batch {batch_id}](/runs?q%5B0%5D=id%3A{result.run_id})"
    # The job of this type alone: one of that name is in one code location, where a link can lead to it.
    config = quote(f"ops:\n  reprocess_notes:\n    config:\n      batch_id: {batch_id}\n", safe="")
    assert f"(/guess/reprocess_notes/playground/setup?config={config})" in told["reprocess"]
    blocks = re.findall(r"```\n(.*?)\n```", told["reprocess"], re.DOTALL)
    ours, dagsters = (shlex.split(block.replace("\\\n", "")) for block in blocks)
    assert ours == ["reliable-imports", "reprocess", str(batch_id)]
    assert dagsters[:-1] == ["dg", "launch", "--job", "reprocess_failed_items", "--config-json"]
    assert json.loads(dagsters[-1]) == {"ops": {"reprocess_failed_items": {"config": {"batch_id": batch_id}}}}


def test_the_rows_of_a_table_are_counted_and_of_nothing_else(launch: Launch, query: Query) -> None:
    query("INSERT INTO authors VALUES ('Somebody of before')")

    [(rows,)] = query("SELECT count(*) + 1 FROM authors")
    told = _materialization(launch("import_authors", items=[{"name": "Somebody of today"}]))
    assert (told["completed_items"], told["dagster/row_count"]) == (1, rows)
    assert "dagster/row_count" not in _materialization(launch("import_notes", items=notes(1)))


def test_no_more_than_twenty_reasons_are_listed(launch: Launch, query: Query) -> None:
    bad = [{"id": number, "do": "raise", "error": f"Error{number}"} for number in range(2, 24)]

    told = _materialization(launch("import_notes", items=[{"id": 1}, *bad]))

    assert query("SELECT count(*) FROM reliable_imports.failure_reason_counts") == [(22,)]
    assert len(told["reasons"]) == 20


def test_a_batch_of_which_nothing_was_completed_fails_the_run_and_shows_its_results(
    launch: Launch, instance: dg.DagsterInstance
) -> None:
    result = launch("import_notes", items=[BAD])

    assert not result.success
    assert "1 of 1 item failed" in problem(result)
    assert observation_of(result)["failed_items"] == 1
    assert _check(result).severity is dg.AssetCheckSeverity.ERROR
    assert tags_of(instance, result.run_id)["outcome"] == "failed"


def _materialize(dsn: str, instance: dg.DagsterInstance, policy: FailRunOn, items: list[object]) -> bool:
    return dg.materialize(
        [build_import_asset(NotesProcessor, fail_run_on=policy)],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource(dsn=dsn)},
        run_config={"ops": {"notes": {"config": {"items": items}}}},
        raise_on_error=False,
    ).success


def test_when_a_run_fails_is_for_the_team_to_say(dsn: str, instance: dg.DagsterInstance) -> None:
    assert not _materialize(dsn, instance, "any_failure", [{"id": 1}, BAD])
    assert _materialize(dsn, instance, "any_failure", [{"id": 1}])
    assert _materialize(dsn, instance, "never", [BAD])


def test_an_empty_source_is_a_completed_batch(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("id,text\n")

    result = launch("import_notes", path=str(path))

    assert result.success
    assert _check(result).description == "the source had no items"


def test_a_dsn_from_a_variable_is_read_when_the_run_starts(
    dsn: str, instance: dg.DagsterInstance, monkeypatch: Any, query: Query
) -> None:
    asset = build_import_asset(AuthorsProcessor)
    resource = ReliableImportsResource(dsn=dg.EnvVar("TEAM_DSN"))
    monkeypatch.delenv("RELIABLE_IMPORTS_DSN")
    monkeypatch.setenv("TEAM_DSN", dsn)

    assert dg.materialize([asset], instance=instance, resources={"reliable_imports": resource}).success

    assert query("SELECT count(*) FROM authors") == [(2,)]


def test_several_assets_in_one_run_work_a_batch_each(dsn: str, instance: dg.DagsterInstance, query: Query) -> None:
    result = dg.materialize(
        [build_import_asset(AuthorsProcessor), build_import_asset(NotesProcessor)],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource(dsn=dsn)},
        run_config={"ops": {"notes": {"config": {"items": notes(2)}}}},
    )

    assert query(
        "SELECT batch_type FROM reliable_imports.run_history WHERE dagster_run_id = %s ORDER BY run_id", result.run_id
    ) == [("authors",), ("notes",)]
