from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from reliable_imports import Batch, ImportContext
from reliable_imports_dagster import ReliableImportsResource, build_import_op
from reliable_imports_dagster.run.report.checks import CHECKS
from tests.dagster import project
from tests.dagster.conftest import Launch, Query, notes, tags_of
from tests.dagster.doubles import NotesProcessor

ROOT = Path(__file__).parents[3]


def _reexecute(run_id: str, instance: dg.DagsterInstance, **config: object) -> dg.JobExecutionResult:
    """Repeat a run of import_notes as the UI does, with its config unless another is given."""
    with dg.execute_job(
        dg.reconstructable(project.import_notes),
        instance,
        run_config={"ops": {"notes": {"config": config}}} if config else None,
        reexecution_options=dg.ReexecutionOptions(parent_run_id=run_id),
    ) as result:
        return result


def _each_once(query: Query, items: int) -> bool:
    """Whether every item was written once, with one completed attempt."""
    return query("SELECT count(*), count(DISTINCT id) FROM writes") == [(items, items)] and query(
        "SELECT count(*), count(DISTINCT item_number) FROM reliable_imports.import_attempts WHERE outcome = 'completed'"
    ) == [(items, items)]


@pytest.fixture
def interrupted(launch: Launch, tmp_path: Path) -> str:
    """The id of a run that was stopped at item 60 of 80."""
    items = notes(80)
    items[59] |= {"do": "interrupt", "until": str(tmp_path / "stopped")}
    return launch("import_notes", items=items).run_id


def test_a_reexecution_resumes_the_batch_of_an_interrupted_run(
    interrupted: str, instance: dg.DagsterInstance, query: Query
) -> None:
    assert tags_of(instance, interrupted)["outcome"] == "interrupted"
    assert query("SELECT status FROM reliable_imports.import_batches") == [("processing",)]

    result = _reexecute(interrupted, instance)

    assert result.success
    assert query("SELECT status, completed_items FROM reliable_imports.import_batches") == [("completed", 80)]
    assert _each_once(query, 80)
    assert query("SELECT dagster_run_id, mode FROM reliable_imports.import_runs ORDER BY id") == [
        (interrupted, "import"),
        (result.run_id, "resume"),
    ]
    told = tags_of(instance, result.run_id)
    assert (told["mode"], told["outcome"]) == ("resume", "completed")


def test_a_reexecution_has_no_outcome_until_it_has_one_of_its_own(
    launch: Launch, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins with a copy of that of the run which it repeats; killed, it would keep what it has then."""
    seen: list[str] = []

    def look(self: NotesProcessor, batch: Batch, ctx: ImportContext) -> None:
        [run] = instance.get_runs()
        seen.append(tags_of(instance, run.run_id)["outcome"])

    monkeypatch.setattr(NotesProcessor, "on_batch_start", look)
    result = launch("import_notes", items=notes(2), tags={"reliable_imports/outcome": "interrupted"})

    assert seen == [""]
    assert tags_of(instance, result.run_id)["outcome"] == "completed"


def test_a_reexecution_of_a_reexecution_resumes_it_too(
    launch: Launch, instance: dg.DagsterInstance, query: Query
) -> None:
    first = launch("import_notes", items=notes(2)).run_id

    second = _reexecute(first, instance).run_id
    _reexecute(second, instance)

    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_launching_anew_makes_a_new_batch(launch: Launch, query: Query) -> None:
    for _ in range(2):
        launch("import_notes", items=notes(2))

    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(2,)]


def test_a_reexecution_with_another_config_makes_a_new_batch(
    launch: Launch, instance: dg.DagsterInstance, query: Query
) -> None:
    first = launch("import_notes", items=notes(2))

    _reexecute(first.run_id, instance, items=[{"id": 7}])

    assert query("SELECT total_items FROM reliable_imports.import_batches ORDER BY id") == [(2,), (1,)]
    assert query("SELECT id FROM writes WHERE batch = (SELECT max(id) FROM reliable_imports.import_batches)") == [(7,)]


def test_a_reexecution_of_a_finished_run_changes_nothing_and_says_so(
    launch: Launch, instance: dg.DagsterInstance, query: Query, capfd: pytest.CaptureFixture[str]
) -> None:
    first = launch("import_notes", items=[{"id": 1}, {"id": 2, "do": "fail"}])

    again = _reexecute(first.run_id, instance)

    assert query("SELECT count(*) FROM reliable_imports.import_attempts") == [(2,)]
    assert "is finished already (completed_with_failures), so nothing is left to do" in capfd.readouterr().err
    assert tags_of(instance, again.run_id)["outcome"] == "nothing_to_do"


def test_a_run_that_died_between_accepting_and_working_is_resumed(
    launch: Launch, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    # Items can be accepted, but no run can begin: it leaves behind what a crash between the two does.
    query("ALTER TABLE reliable_imports.import_runs ADD CONSTRAINT nobody CHECK (false)")
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": 1}\n{"id": 2}\n')
    first = launch("import_notes", path=str(path))
    assert not first.success
    assert query("SELECT status FROM reliable_imports.import_batches") == [("pending",)]

    query("ALTER TABLE reliable_imports.import_runs DROP CONSTRAINT nobody")
    path.unlink()
    assert _reexecute(first.run_id, instance).success

    assert query("SELECT status, completed_items FROM reliable_imports.import_batches") == [("completed", 2)]


def test_a_killed_runs_batch_is_resumed_and_each_item_is_done_once(dsn: str, query: Query, tmp_path: Path) -> None:
    items = notes(60)
    items[39] |= {"do": "die", "until": str(tmp_path / "died")}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"ops": {"notes": {"config": {"items": items}}}}))
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    killed = subprocess.run(
        [sys.executable, "-m", "dagster", "job", "execute", "-m", project.__name__, "-j", "import_notes", "-c", config],
        cwd=ROOT,
        env={**os.environ, "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert query("SELECT status FROM reliable_imports.import_batches") == [("processing",)]

    with dg.DagsterInstance.from_config(str(home)) as instance:
        [dead] = instance.get_runs()
        assert "outcome" not in tags_of(instance, dead.run_id)  # it could not say
        assert _reexecute(dead.run_id, instance).success

    assert query("SELECT status FROM reliable_imports.import_batches") == [("completed",)]
    assert _each_once(query, 60)


def test_two_ops_of_one_job_make_a_batch_each(dsn: str, instance: dg.DagsterInstance, query: Query) -> None:
    op = build_import_op(NotesProcessor)

    @dg.job(resource_defs={"reliable_imports": ReliableImportsResource()})
    def twice() -> None:
        op.alias("second")(after=op.alias("first")())

    config = {"ops": {name: {"config": {"items": [{"id": number}]}} for number, name in enumerate(("first", "second"))}}
    result = twice.execute_in_process(instance=instance, run_config=config)

    batches = query("SELECT id FROM reliable_imports.import_batches ORDER BY id")
    assert [(result.output_for_node("first"),), (result.output_for_node("second"),)] == batches
    assert len(result.filter_events(lambda event: event.is_step_materialization)) == 2
    assert len(result.get_asset_check_evaluations()) == 2 * len(CHECKS)
