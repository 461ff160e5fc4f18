from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reliable_imports import BatchManager, ConfigurationError
from reliable_imports.settings import Settings
from reliable_imports_dagster import ReliableImportsResource, build_parallel_import_job
from reliable_imports_dagster.storage import dagster_instance
from tests.dagster import parallel_project, project
from tests.dagster.conftest import Query, jsonl, observation_of, tags_of
from tests.dagster.doubles import NotesProcessor

WRITTEN = "SELECT count(*), count(DISTINCT id) FROM writes"


def _run(
    instance: dg.DagsterInstance,
    items: list[dict[str, Any]],
    folder: Path,
    *,
    after: dg.JobExecutionResult | None = None,
) -> dg.JobExecutionResult:
    """Execute the job in processes; or go on from where a run of it has failed."""
    with dg.execute_job(
        dg.reconstructable(parallel_project.in_processes),
        instance,
        run_config={"ops": {"accept": {"config": {"path": str(jsonl(folder, items))}}}},
        reexecution_options=None if after is None else dg.ReexecutionOptions.from_failure(after.run_id, instance),
    ) as result:
        return result


def test_two_processes_share_a_batch_and_one_reports_it(
    dsn: str, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    result = _run(instance, [{"runs": 2} for _ in range(150)], tmp_path)

    assert result.success
    assert query(WRITTEN) == [(150, 150)]
    shares = query("SELECT completed FROM reliable_imports.import_runs ORDER BY id")
    assert len(shares) == 2
    assert sum(share for (share,) in shares) == 150
    assert len(result.filter_events(lambda event: event.is_step_materialization)) == 1
    assert tags_of(instance, result.run_id)["outcome"] == "completed"


def test_a_finished_batch_is_observed_and_given_to_no_worker(
    dsn: str, instance: dg.DagsterInstance, manager: BatchManager
) -> None:
    batch_id = manager.process_batch(manager.create_batch("notes", [{"id": 1}])).batch_id
    job = build_parallel_import_job(NotesProcessor, executor=dg.in_process_executor)
    resources = {"reliable_imports": ReliableImportsResource()}

    result = (
        dg.Definitions(jobs=[job], resources=resources)
        .resolve_job_def(job.name)
        .execute_in_process(instance=instance, run_config={"ops": {"accept": {"config": {"batch_id": batch_id}}}})
    )

    assert result.success
    assert observation_of(result)["status"] == "completed"
    assert tags_of(instance, result.run_id) == {"outcome": "nothing_to_do"}


def test_a_killed_worker_costs_nothing(dsn: str, instance: dg.DagsterInstance, query: Query, tmp_path: Path) -> None:
    items: list[dict[str, Any]] = [{"seconds": 0.03} for _ in range(150)]
    items[20]["die"] = str(tmp_path / "died")

    result = _run(instance, items, tmp_path)

    assert (tmp_path / "died").exists()
    assert not result.success  # Dagster's word for the step that died
    assert query("SELECT status, completed_items FROM reliable_imports.import_batches") == [("completed", 150)]
    assert query(WRITTEN) == [(150, 150)]
    assert len(result.filter_events(lambda event: event.is_step_materialization)) == 1


def test_a_run_whose_workers_have_all_died_is_reexecuted_from_the_failure(
    dsn: str, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    items: list[dict[str, Any]] = [{"seconds": 0.01} for _ in range(100)]
    one, other = str(tmp_path / "died"), str(tmp_path / "died too")
    items[10] |= {"die": one, "with": other}
    items[60] |= {"die": other, "with": one}
    failed = _run(instance, items, tmp_path)
    assert not failed.success
    assert query("SELECT status FROM reliable_imports.import_batches") == [("processing",)]

    assert _run(instance, items, tmp_path, after=failed).success

    assert query("SELECT status, completed_items FROM reliable_imports.import_batches") == [("completed", 100)]
    assert query(WRITTEN) == [(100, 100)]


def test_the_view_joins_batches_with_dagsters_runs(dsn: str, query: Query, tmp_path: Path) -> None:
    rows = "SELECT dagster_run_id, dagster_status, batch_status FROM reliable_imports.dagster_runs"
    elsewhere = project.defs.resolve_job_def("import_authors").execute_in_process()
    assert query(rows) == [(elsewhere.run_id, None, "completed")]

    with dagster_instance(dsn, Settings(dsn=dsn, home=tmp_path)) as instance:
        here = project.defs.resolve_job_def("import_authors").execute_in_process(instance=instance)

    assert (here.run_id, "SUCCESS", "completed") in query(rows)


def test_fewer_workers_can_be_wanted_than_the_job_has(dsn: str, instance: dg.DagsterInstance, query: Query) -> None:
    config = {"ops": {"accept": {"config": {"items": [{}], "workers": 1}}}}

    result = parallel_project.in_processes().execute_in_process(instance=instance, run_config=config)

    assert [event.step_key for event in result.all_events if event.is_step_skipped] == ["worker_2"]
    assert query("SELECT status FROM reliable_imports.import_batches") == [("completed",)]


@pytest.mark.parametrize("workers", [0, 65])
def test_a_job_with_a_number_of_workers_that_makes_no_sense_is_refused(workers: int) -> None:
    with pytest.raises(ConfigurationError, match="from 1 to 64"):
        build_parallel_import_job(parallel_project.SharedProcessor, workers=workers)


@pytest.mark.parametrize("workers", [0, 3])
def test_a_number_of_workers_that_makes_no_sense_is_refused(
    dsn: str, instance: dg.DagsterInstance, workers: int, query: Query
) -> None:
    job = parallel_project.in_processes()
    config = {"ops": {"accept": {"config": {"items": [{}], "workers": workers}}}}

    assert not job.execute_in_process(instance=instance, run_config=config, raise_on_error=False).success
    assert query("SELECT * FROM reliable_imports.import_batches") == []
