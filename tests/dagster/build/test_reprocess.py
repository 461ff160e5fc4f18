from __future__ import annotations

from pathlib import Path
from typing import get_args

import dagster as dg
import pytest

from reliable_imports import BatchManager, ReprocessRequest, WhichItems
from reliable_imports.processor.code_version import code_version
from reliable_imports_dagster.run.config import WhichItemsOrDefault
from tests.dagster import project
from tests.dagster.conftest import Launch, Query, checks_of, notes, observation_of, problem, tags_of
from tests.dagster.doubles import NotesProcessor


def _batches(query: Query) -> list[tuple[object, ...]]:
    return query("SELECT reprocess_of, status, total_items FROM reliable_imports.import_batches ORDER BY id")


def _half_done_batch(manager: BatchManager, until: Path, action: str = "fail") -> int:
    """Two completed items and two failed ones, whose cause is gone once the file *until* exists."""
    items = notes(2) + [{"id": number, "do": action, "until": str(until)} for number in (3, 4)]
    return manager.process_batch(manager.create_batch("notes", items)).batch_id


def test_the_failures_of_a_batch_are_run_again(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "mended")
    (tmp_path / "mended").touch()

    result = launch("reprocess_failed_items", batch_id=batch_id, reasons=[], failed_items_only=True)

    assert result.success
    assert _batches(query) == [(None, "completed_with_failures", 4), (batch_id, "completed", 2)]
    [(new_batch_id, mode)] = query(
        "SELECT batch_id, mode FROM reliable_imports.import_runs WHERE dagster_run_id = %s", result.run_id
    )
    assert mode == "reprocess"
    assert tags_of(instance, result.run_id) == {
        "code_version": code_version(NotesProcessor),
        "batch_id": str(new_batch_id),
        "batch_id.notes": str(new_batch_id),
        "batch_type": "notes",
        "lineage": str(batch_id),
        "mode": "reprocess",
        "outcome": "completed",
    }


def test_a_reprocess_run_materializes_the_asset_with_its_check(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "mended")
    (tmp_path / "mended").touch()

    result = launch("reprocess_failed_items", batch_id=batch_id)

    record = instance.get_latest_materialization_event(dg.AssetKey("notes"))
    assert record is not None
    assert record.run_id == result.run_id
    check = checks_of(result)["no_failed_items"]
    assert check.asset_check_key == dg.AssetCheckKey(dg.AssetKey("notes"), "no_failed_items")
    assert check.passed


@pytest.mark.parametrize("job", ["reprocess_notes", "reprocess_failed_items"])
def test_a_reason_is_run_again_wherever_it_is_and_lineages_without_it_are_left_alone(
    launch: Launch, manager: BatchManager, query: Query, tmp_path: Path, job: str
) -> None:
    without = _half_done_batch(manager, tmp_path / "mended", action="fail otherwise")
    batch_id = _half_done_batch(manager, tmp_path / "mended")
    [reason] = manager.failure_reasons(batch_id)
    assert reason.reason not in {each.reason for each in manager.failure_reasons(without)}
    (tmp_path / "mended").touch()

    result = launch(job, reason=reason.reason, which="failed")

    assert result.success, problem(result)
    assert _batches(query)[2:] == [(batch_id, "completed", 2)]

    assert launch(job, reason=reason.reason, which="failed").success  # nothing of it is left

    unknown = launch(job, reason="12345678", which="failed")

    assert not unknown.success
    assert "no item has ever failed for reason '12345678'" in problem(unknown)


def test_only_some_reasons_are_run_again_and_the_check_remembers_the_others(
    launch: Launch, manager: BatchManager, query: Query, tmp_path: Path
) -> None:
    until = str(tmp_path / "mended")
    items = [
        {"id": 1},
        {"id": 2, "do": "fail", "until": until},
        {"id": 3, "do": "fail otherwise", "until": until},
        {"id": 4, "do": "raise", "error": "Torn", "until": until},
    ]
    batch_id = manager.process_batch(manager.create_batch("notes", items)).batch_id
    (tmp_path / "mended").touch()
    reasons = [each.reason for each in manager.failure_reasons(batch_id) if "no note" not in each.title]

    result = launch("reprocess_failed_items", batch_id=batch_id, reasons=reasons[1:], reason=reasons[0])

    assert _batches(query)[1:] == [(batch_id, "completed", 2)]
    assert query("SELECT id FROM writes ORDER BY id") == [(1,), (3,), (4,)]
    check = checks_of(result)["no_failed_items"]
    assert not check.passed


def test_completed_items_are_run_again_on_request(launch: Launch, manager: BatchManager, query: Query) -> None:
    batch_id = manager.process_batch(manager.create_batch("notes", notes(3))).batch_id

    assert launch("reprocess_failed_items", batch_id=batch_id, failed_items_only=False).success

    assert _batches(query)[1:] == [(batch_id, "completed", 3)]


def test_all_items_and_some_failures_exclude_each_other(launch: Launch, manager: BatchManager, query: Query) -> None:
    batch_id = manager.process_batch(manager.create_batch("notes", notes(3))).batch_id

    for chosen in ({"reasons": ["12345678"]}, {"exclude_reasons": ["12345678"]}, {"max_attempts": 2}):
        result = launch("reprocess_failed_items", batch_id=batch_id, failed_items_only=False, **chosen)
        assert f"cannot be narrowed by {next(iter(chosen))}" in problem(result)
    result = launch("reprocess_failed_items", batch_id=batch_id, failed_items_only=False, which="due")
    assert "failed_items_only: false and which: due exclude each other" in problem(result)

    assert len(_batches(query)) == 1


def test_everything_again_needs_a_batch(launch: Launch) -> None:
    assert "needs a batch_id" in problem(launch("reprocess_failed_items", failed_items_only=False))
    assert "needs a batch_id" in problem(launch("reprocess_failed_items", which="all"))


def test_the_config_knows_every_choice_of_items() -> None:
    assert get_args(WhichItemsOrDefault) == ("as_launched", *(which.value for which in WhichItems))


def test_without_a_batch_all_retryable_failures_are_run_again_and_only_those(
    launch: Launch, manager: BatchManager, query: Query, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    mixed = [
        {"id": 101},
        {"id": 102, "do": "be busy", "until": str(mended)},
        {"id": 103, "do": "fail", "until": str(mended)},
    ]
    first = manager.process_batch(manager.create_batch("notes", mixed)).batch_id
    second = _half_done_batch(manager, mended, "be busy")
    permanent = _half_done_batch(manager, mended, "fail")
    mended.touch()

    assert launch("reprocess_failed_items").success

    assert _batches(query)[3:] == [(first, "completed", 1), (second, "completed", 2)]
    assert [manager.count_outstanding(batch) for batch in (first, second, permanent)] == [1, 0, 2]


def test_nothing_outstanding_is_a_success(launch: Launch, manager: BatchManager, query: Query) -> None:
    batch_id = manager.process_batch(manager.create_batch("notes", notes(1))).batch_id

    assert launch("reprocess_failed_items").success
    assert launch("reprocess_failed_items", batch_id=batch_id).success
    assert len(_batches(query)) == 1


def test_an_empty_database_is_a_success(
    empty_database: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", empty_database)

    assert project.reprocess_failed_items().execute_in_process(instance=instance).success


def test_a_fix_that_did_not_help_fails_the_run(launch: Launch, manager: BatchManager, tmp_path: Path) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "mended")

    result = launch("reprocess_failed_items", batch_id=batch_id)

    assert not result.success
    assert "2 of 2 items failed" in problem(result)
    assert observation_of(result)["failed_items"] == 2


def test_the_job_of_one_type_takes_only_its_own(
    launch: Launch, manager: BatchManager, query: Query, tmp_path: Path
) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "mended", "be busy")
    (tmp_path / "mended").touch()

    assert "is of type 'notes', and reprocess_authors" in problem(launch("reprocess_authors", batch_id=batch_id))
    assert launch("reprocess_authors").success
    assert len(_batches(query)) == 1
    assert launch("reprocess_notes").success
    assert _batches(query)[1:] == [(batch_id, "completed", 2)]


def test_one_line_that_cannot_be_worked_does_not_keep_the_others_waiting(
    launch: Launch, manager: BatchManager, query: Query, tmp_path: Path
) -> None:
    first = _half_done_batch(manager, tmp_path / "mended", "be busy")
    second = _half_done_batch(manager, tmp_path / "mended", "be busy")
    (tmp_path / "mended").touch()
    query(
        "ALTER TABLE reliable_imports.import_batches ADD CONSTRAINT broken "
        f"CHECK (first_batch_id <> {first} OR id = {first})"
    )

    result = launch("reprocess_failed_items")

    assert problem(result).startswith(f"could not work the lineages of these batches: {first};")
    assert _batches(query)[2:] == [(second, "completed", 2)]


def _reexecute(run_id: str, instance: dg.DagsterInstance) -> dg.JobExecutionResult:
    with dg.execute_job(
        dg.reconstructable(project.reprocess_failed_items),
        instance,
        reexecution_options=dg.ReexecutionOptions(parent_run_id=run_id),
    ) as result:
        return result


def test_a_reexecution_resumes_the_reprocess_batch_that_was_interrupted(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    items = notes(60, do="fail, then interrupt")
    for item in items[:30] + items[31:]:
        item |= {"do": "fail", "until": str(tmp_path / "mended")}
    items[30]["until"] = str(tmp_path / "stopped")
    batch_id = manager.process_batch(manager.create_batch("notes", items)).batch_id
    (tmp_path / "mended").touch()

    first = launch("reprocess_failed_items", batch_id=batch_id)
    assert tags_of(instance, first.run_id)["outcome"] == "interrupted"
    second = _reexecute(first.run_id, instance)

    assert second.success
    assert _batches(query)[1:] == [(batch_id, "completed", 60)]
    assert query("SELECT count(*), count(DISTINCT id) FROM writes") == [(60, 60)]
    assert tags_of(instance, second.run_id)["mode"] == "resume"


def test_a_reexecution_of_a_finished_reprocess_run_takes_what_failed_again(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "mended")
    first = launch("reprocess_failed_items", batch_id=batch_id)
    (tmp_path / "mended").touch()

    assert _reexecute(first.run_id, instance).success

    assert _batches(query)[1:] == [(batch_id, "failed", 2), (batch_id, "completed", 2)]


def test_only_some_items_of_a_batch_are_run_again(launch: Launch, manager: BatchManager, query: Query) -> None:
    batch_id = manager.create_batch("notes", [{"id": number, "do": "fail"} for number in range(1, 7)])
    manager.process_batch(batch_id)

    launch("reprocess_failed_items", batch_id=batch_id, from_item=2, to_item=3)

    assert query(
        "SELECT origin_item_number FROM reliable_imports.import_items WHERE batch_id > %s ORDER BY 1", batch_id
    ) == [(2,), (3,)]


def test_a_range_of_items_needs_a_batch(launch: Launch) -> None:
    assert "need its batch_id" in problem(launch("reprocess_failed_items", from_item=2))


def test_failures_are_given_up(launch: Launch, manager: BatchManager, tmp_path: Path) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "mended")
    assert launch("reprocess_failed_items", batch_id=batch_id, skip="nobody knows them").success
    assert manager.count_outstanding(batch_id) == 0
    assert manager.list_batches(limit=1)[0].skipped_items == 2


def test_a_repeat_that_is_held_is_not_worked(launch: Launch, manager: BatchManager, tmp_path: Path) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "mended")
    assert launch("reprocess_failed_items", batch_id=batch_id, hold=True).success
    [held] = manager.held_batches(batch_id)
    assert manager.get_summary(held).open_items == 2


def test_a_canary_leaves_alone_what_is_not_repaired(launch: Launch, manager: BatchManager, tmp_path: Path) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "mended")
    assert launch("reprocess_failed_items", batch_id=batch_id, canary=1, fail_run_on="never").success
    summary = manager.list_batches(limit=1)[0]
    assert (summary.total_items, summary.failed_items) == (1, 1)
    assert summary.warnings[0].endswith("is not repaired: 1 of 1 the same, 1 left alone")
    (tmp_path / "mended").touch()
    assert launch("reprocess_failed_items", batch_id=batch_id, canary=1).success
    assert manager.count_outstanding(batch_id) == 0


def test_an_edited_file_is_run_again(launch: Launch, manager: BatchManager, query: Query, tmp_path: Path) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "never")
    (tmp_path / "mended").touch()
    file = tmp_path / "failed.jsonl"
    manager.export_failures(file)
    first, *others = file.read_text().splitlines()
    file.write_text("\n".join([first.replace("never", "mended"), *others]))

    tried = launch("reprocess_failed_items", corrections=str(file), **{"try": True})
    assert tried.success
    assert _batches(query) == [(None, "completed_with_failures", 4)]
    made = manager.read_corrections(file).found.to_make[batch_id]
    manager.create_reprocess_batch(batch_id, ReprocessRequest(corrections=made, corrected_from="failed"))
    assert launch("reprocess_failed_items", corrections=str(file)).success
    assert _batches(query)[1:] == [(batch_id, "completed", 1)], "whoever made it may have died"
    assert launch("reprocess_notes", corrections=str(file)).success
    assert len(_batches(query)) == 2, "the same file twice does nothing"
    assert query("SELECT corrected_from FROM reliable_imports.import_batches WHERE id > 1")[0][0].startswith("failed")
    refused = launch("reprocess_failed_items", corrections=str(file), skip="why")
    assert "corrections says which items are run again; leave out skip" in problem(refused)


def test_a_constant_is_set(launch: Launch, manager: BatchManager, query: Query, tmp_path: Path) -> None:
    batch_id = _half_done_batch(manager, tmp_path / "never")
    [reason] = [each.reason for each in manager.failures(batch_id)]
    assert launch("reprocess_failed_items", batch_id=batch_id, reason=reason, set=[f"until={tmp_path}"]).success
    assert _batches(query)[1:] == [(batch_id, "completed", 2)]
    refused = launch("reprocess_failed_items", batch_id=batch_id, set=[f"until={tmp_path}"])
    assert "set needs reasons" in problem(refused)
