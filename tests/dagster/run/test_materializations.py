"""When a batch materializes its asset: only if the asset then holds what was delivered."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reliable_imports import BatchManager, ProcessorRegistry
from reliable_imports_dagster import (
    ReliableImportsResource,
    build_import_asset,
    build_import_op,
    build_reliable_imports_defs,
    build_report_sensor,
    reliable_imports_assets,
)
from tests.dagster import project
from tests.dagster.conftest import Launch, Query, checks_of, jsonl, notes, observation_of, observations_of, tags_of
from tests.dagster.daemon import Daemon
from tests.dagster.doubles import NotesProcessor
from tests.dagster.partitioned_project import DaysProcessor

BAD = {"id": 2, "do": "fail"}


def test_a_batch_of_which_nothing_was_stored_is_observed(launch: Launch, instance: dg.DagsterInstance) -> None:
    result = launch("import_notes", items=[BAD])

    assert not result.success
    told = observation_of(result)
    assert (told["status"], told["total_items"], told["failed_items"]) == ("failed", 1, 1)
    assert instance.get_latest_materialization_event(dg.AssetKey("notes")) is None


def test_it_is_observed_also_where_its_run_succeeds(launch: Launch) -> None:
    result = launch("import_notes", items=[BAD], fail_run_on="never")

    assert result.success
    assert observation_of(result)["status"] == "failed"


def test_what_depends_on_it_is_left_out_of_the_run(dsn: str, instance: dg.DagsterInstance) -> None:
    @dg.asset(deps=["notes"])
    def digest() -> None: ...

    def run(items: list[object]) -> list[dg.AssetKey]:
        result = dg.materialize(
            [build_import_asset(NotesProcessor, fail_run_on="never"), digest],
            instance=instance,
            resources={"reliable_imports": ReliableImportsResource()},
            run_config={"ops": {"notes": {"config": {"items": items}}}},
        )
        return [event.asset_key for event in result.get_asset_materialization_events() if event.asset_key]

    assert run([BAD]) == []
    assert run([{"id": 1}, BAD]) == [dg.AssetKey("notes"), dg.AssetKey("digest")]


def test_an_eager_asset_waits_until_something_was_stored(dsn: str, instance: dg.DagsterInstance) -> None:
    notes_asset = build_import_asset(NotesProcessor, fail_run_on="never")

    @dg.asset(deps=["notes"], automation_condition=dg.AutomationCondition.eager())
    def digest() -> None: ...

    resources = {"reliable_imports": ReliableImportsResource()}
    defs = dg.Definitions(assets=[notes_asset, digest], resources=resources)

    def evaluate(cursor: Any = None) -> Any:
        return dg.evaluate_automation_conditions(
            defs=defs, instance=instance, asset_selection=dg.AssetSelection.assets("digest"), cursor=cursor
        )

    before = evaluate().cursor

    def requested(items: list[object]) -> int:
        dg.materialize(
            [notes_asset],
            instance=instance,
            resources=resources,
            run_config={"ops": {"notes": {"config": {"items": items}}}},
        )
        return int(evaluate(before).total_requested)

    assert requested([BAD]) == 0
    assert requested([{"id": 1}, BAD]) == 1


def test_a_batch_without_failures_materializes_its_asset_though_nothing_was_to_be_stored(
    launch: Launch, tmp_path: Path
) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("id,text\n")

    assert len(launch("import_notes", path=str(path)).get_asset_materialization_events()) == 1


def test_a_paused_batch_is_observed_until_it_ends(
    launch: Launch, manager: BatchManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NotesProcessor, "max_failed_items", 0)
    batch_id = manager.create_batch("notes", [{"id": 1}, BAD, *[{"id": number} for number in range(10, 1500)]])

    told = observation_of(launch("import_notes", batch_id=batch_id))
    assert told["status"] == "paused"
    assert told["pause_reason"] == "1 items have failed, and max_failed_items is 0"

    monkeypatch.setattr(NotesProcessor, "max_failed_items", None)
    assert len(launch("import_notes", batch_id=batch_id).get_asset_materialization_events()) == 1


def test_a_cancelled_batch_is_observed(launch: Launch, manager: BatchManager) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1}])
    manager.cancel_batch(batch_id)

    assert observation_of(launch("import_notes", batch_id=batch_id))["status"] == "cancelled"


def test_a_run_that_is_given_a_finished_batch_observes_it(launch: Launch, manager: BatchManager) -> None:
    batch_id = manager.process_batch(manager.create_batch("notes", notes(3))).batch_id

    result = launch("import_notes", batch_id=batch_id)

    assert result.success
    assert observation_of(result)["completed_items"] == 3


def _reexecute(run: dg.DagsterRun, instance: dg.DagsterInstance) -> int:
    """How many materializations the re-execution made."""
    with dg.execute_job(
        dg.reconstructable(project.import_notes),
        instance,
        reexecution_options=dg.ReexecutionOptions(parent_run_id=run.run_id),
    ) as result:
        assert result.success
        return len([event for event in result.all_events if event.is_step_materialization])


def test_a_run_that_stands_in_for_one_that_died_before_it_reported_materializes(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance
) -> None:
    batch_id = manager.create_batch("notes", notes(3))
    config = {"ops": {"notes": {"config": {"batch_id": batch_id}}}}
    died = instance.create_run_for_job(project.import_notes(), run_config=config)
    manager.process_batch(batch_id, dagster_run_id=died.run_id)
    instance.report_run_failed(died)

    assert _reexecute(died, instance) == 1
    [second, _] = instance.get_runs()
    assert _reexecute(second, instance) == 0


def test_a_reprocess_run_that_repaired_nothing_observes_the_asset(launch: Launch, manager: BatchManager) -> None:
    batch_id = manager.process_batch(manager.create_batch("notes", [{"id": 1}, BAD])).batch_id

    assert observation_of(launch("reprocess_failed_items", batch_id=batch_id))["reprocess_of"] == str(batch_id)


def test_an_op_observes_as_the_asset_does(dsn: str, instance: dg.DagsterInstance) -> None:
    op = build_import_op(NotesProcessor, fail_run_on="never")

    @dg.job(resource_defs={"reliable_imports": ReliableImportsResource()})
    def alone() -> None:
        op.alias("notes")()

    config = {"ops": {"notes": {"config": {"items": [BAD]}}}}
    assert observation_of(alone.execute_in_process(run_config=config, instance=instance))["failed_items"] == 1


def test_several_in_one_step_are_materialized_or_observed_each(dsn: str, instance: dg.DagsterInstance) -> None:
    @reliable_imports_assets("tests.dagster.doubles")
    def imports(context: dg.AssetExecutionContext, reliable_imports: ReliableImportsResource) -> Any:
        yield from reliable_imports.run(context, "tests.dagster.doubles", fail_run_on="never")

    result = dg.materialize(
        [imports],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource()},
        run_config={"ops": {"imports": {"config": {"notes": {"items": [BAD]}}}}},
    )

    assert [event.asset_key for event in result.get_asset_materialization_events()] == [dg.AssetKey("authors")]
    [observed] = observations_of(result)
    assert observed.asset_key == dg.AssetKey("notes")


def test_a_batch_that_failed_elsewhere_is_reported_as_anobservation_of(
    manager: BatchManager, instance: dg.DagsterInstance, query: Query
) -> None:
    for item in (BAD, {"id": 1}):
        manager.process_batch(manager.create_batch("notes", [item]))
    query("UPDATE reliable_imports.import_batches SET finished_at = finished_at - interval '1 minute'")

    answer = Daemon(build_report_sensor("tests.dagster.doubles"), instance, project.defs).tick()

    assert isinstance(answer, dg.SensorResult)
    kinds = [type(event) for event in answer.asset_events if not isinstance(event, dg.AssetCheckEvaluation)]
    assert kinds == [dg.AssetObservation, dg.AssetMaterialization]


def test_a_report_sensor_can_be_evaluated_outside_a_code_location(
    manager: BatchManager, instance: dg.DagsterInstance, query: Query
) -> None:
    manager.process_batch(manager.create_batch("notes", [{"id": 1}]))
    query("UPDATE reliable_imports.import_batches SET finished_at = finished_at - interval '1 minute'")
    resources = {"reliable_imports": ReliableImportsResource()}

    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        answer = build_report_sensor("tests.dagster.doubles")(context)

    assert isinstance(answer, dg.SensorResult)
    assert any(isinstance(event, dg.AssetMaterialization) for event in answer.asset_events)


def test_a_partition_of_which_nothing_was_stored_stays_missing(
    dsn: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DaysProcessor, "source", tmp_path / "days-{partition}.jsonl")
    monkeypatch.setattr(DaysProcessor, "breaker_after", None)
    registry = ProcessorRegistry()
    registry.register(DaysProcessor)
    job = build_reliable_imports_defs(registry).resolve_job_def("import_days")
    (tmp_path / "days-2024-01-01.jsonl").write_text('{"id": 1, "until": "/"}\n')
    (tmp_path / "days-2024-01-02.jsonl").write_text('{"id": 2, "until": "/nowhere"}\n')

    for day in ("2024-01-01", "2024-01-02"):
        result = job.execute_in_process(instance=instance, partition_key=day, raise_on_error=False)

    assert not result.success
    [observed] = observations_of(result)
    assert observed.partition == "2024-01-02"
    assert {check.metadata["partition"].value for check in checks_of(result).values()} == {"2024-01-02"}
    assert instance.get_materialized_partitions(dg.AssetKey("days")) == {"2024-01-01"}


WARNING = "column colour is read by nothing"


def test_what_people_should_know_of_a_delivery_is_said_once_in_the_log_and_in_the_metadata(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, query: Query
) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1}, {"id": 2, "do": "interrupt", "until": "/tmp"}])
    query("UPDATE reliable_imports.import_batches SET warnings = %s WHERE id = %s", [WARNING], batch_id)

    result = launch("import_notes", batch_id=batch_id)

    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["warnings"].value == f"- {WARNING}"
    logged = [record.user_message for record in instance.all_logs(result.run_id) if WARNING in record.user_message]
    assert logged == [f"batch {batch_id}: {WARNING}"]


def test_what_a_delivery_itself_says_is_said_once(launch: Launch, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    path = jsonl(tmp_path, notes(2))
    launch("import_notes", path=str(path))

    result = launch("import_notes", path=str(path))

    [event] = result.get_asset_materialization_events()
    [said] = str(event.materialization.metadata["warnings"].value).removeprefix("- ").splitlines()
    assert "the same content" in said
    assert [said in record.user_message for record in instance.all_logs(result.run_id)].count(True) == 1


def test_a_batch_without_warnings_shows_none(launch: Launch) -> None:
    [event] = launch("import_notes", items=notes(1)).get_asset_materialization_events()

    assert "warnings" not in event.materialization.metadata


def test_the_outcome_of_a_run_is_that_of_its_batch(launch: Launch, instance: dg.DagsterInstance) -> None:
    assert tags_of(instance, launch("import_notes", items=[BAD]).run_id)["outcome"] == "failed"
