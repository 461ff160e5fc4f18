"""The sensors besides that of retryable failures: each bounded, idempotent, and saying why it does nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from pydantic import BaseModel

from reliable_imports import (
    BaseProcessor,
    Batch,
    BatchManager,
    ImportBatchItem,
    ImportContext,
    ProcessorRegistry,
    TableProcessor,
)
from reliable_imports_dagster import (
    ReliableImportsResource,
    build_abandoned_batches_sensor,
    build_all_failures_sensor,
    build_changed_code_sensor,
    build_import_asset,
    build_import_jobs,
    build_reliable_imports_defs,
    build_report_sensor,
    build_run_ended_sensors,
    build_waiting_batches_sensor,
)
from tests.dagster.conftest import Query, tags_of
from tests.dagster.daemon import Daemon

NOW = timedelta(0)


class Shop(BaseModel):
    code: str


class ShopsProcessor(TableProcessor):
    table = "shops"
    key = ("code",)
    model = Shop


class Sale(BaseModel):
    id: int
    shop: str


class SalesProcessor(TableProcessor):
    table = "sales"
    key = ("id",)
    model = Sale
    depends_on = ("shops",)


class TasksProcessor(BaseProcessor):
    class Params(BaseModel):
        since: str

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        match item.source_data.get("do"):
            case "die" if not Path(item.source_data["until"]).exists():
                Path(item.source_data["until"]).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGTERM)
            case "fail":
                raise ValueError("no task")
        return {"since": self.params.since}


REGISTRY = ProcessorRegistry()
for processor in (ShopsProcessor, SalesProcessor, TasksProcessor):
    REGISTRY.register(processor)
DEFS = build_reliable_imports_defs(REGISTRY)
JOBS = build_import_jobs(REGISTRY)


def import_tasks() -> dg.JobDefinition:
    return DEFS.resolve_job_def("import_tasks")


@pytest.fixture
def manager(dsn: str, query: Query) -> BatchManager:
    query("CREATE TABLE shops (code text PRIMARY KEY)")
    query("CREATE TABLE sales (id integer PRIMARY KEY, shop text REFERENCES shops)")
    return BatchManager(dsn, registry=REGISTRY)


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Callable[[dg.SensorDefinition], Daemon]:
    return lambda sensor: Daemon(sensor, instance, DEFS)


Start = Callable[[dg.SensorDefinition], Daemon]
CutOff = Callable[..., int]


def test_a_batch_that_an_application_created_is_worked(manager: BatchManager, daemon: Start, query: Query) -> None:
    waiting = daemon(build_waiting_batches_sensor(REGISTRY, JOBS, age=NOW))
    assert "no batch is waiting" in waiting.reason()
    batch_id = manager.create_batch("tasks", [{"id": 1}], params={"since": "monday"})

    [request] = waiting.requests()
    assert waiting.run(request).success

    assert query("SELECT result ->> 'since' FROM reliable_imports.import_attempts") == [("monday",)]
    assert manager.get_summary(batch_id).status == "completed"
    assert waiting.requests() == []


def test_a_waiting_batch_whose_run_ended_early_gets_another_until_a_person_must_look(
    manager: BatchManager, daemon: Start
) -> None:
    waiting = daemon(build_waiting_batches_sensor(REGISTRY, JOBS, age=NOW))
    manager.create_batch("tasks", [{"id": 1}], params={"since": "monday"})

    for _ in range(5):
        [request] = waiting.requests()
        waiting.crash(request)

    assert "its last 5 runs ended without touching an item" in waiting.reason()


def test_a_batch_is_young_for_a_while(manager: BatchManager, daemon: Start) -> None:
    manager.create_batch("tasks", [{"id": 1}], params={"since": "monday"})

    assert daemon(build_waiting_batches_sensor(REGISTRY, JOBS, age=timedelta(hours=1))).requests() == []


_WORKS = """
import sys
from tests.dagster.sensors import test_other_sensors as module
from reliable_imports import BatchManager
BatchManager(registry=module.REGISTRY).process_batch(int(sys.argv[1]), dagster_run_id=sys.argv[2])
"""


@pytest.fixture
def killed(manager: BatchManager, instance: dg.DagsterInstance, tmp_path: Path, query: Query) -> tuple[int, str]:
    """A batch whose worker was killed, and the Dagster run, which still seems to be going on."""
    items = [{"id": 1}, {"id": 2, "do": "die", "until": str(tmp_path / "died")}, {"id": 3}]
    batch_id = manager.create_batch("tasks", items, params={"since": "monday"})
    config = {"ops": {"tasks": {"config": {"batch_id": batch_id, "params": {"since": "monday"}}}}}
    tags = {"reliable_imports/lineage": str(batch_id)}
    run = instance.create_run_for_job(import_tasks(), run_config=config, tags=tags)
    instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name), run.run_id)
    died = subprocess.run(
        [sys.executable, "-c", _WORKS, str(batch_id), run.run_id], cwd=Path(__file__).parents[3], check=False
    )
    assert died.returncode == -signal.SIGKILL
    query("UPDATE reliable_imports.import_runs SET heartbeat_at = heartbeat_at - interval '1 hour'")
    return batch_id, run.run_id


def test_a_killed_processs_run_is_failed_and_its_batch_resumed(
    killed: tuple[int, str], daemon: Start, instance: dg.DagsterInstance, manager: BatchManager
) -> None:
    batch_id, run_id = killed
    abandoned = daemon(build_abandoned_batches_sensor(REGISTRY, JOBS))

    assert f"reported as failed: runs {run_id} of batch {batch_id}" in abandoned.reason()
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE

    [request] = abandoned.requests()
    assert abandoned.run(request).success
    assert manager.get_summary(batch_id).completed_items == 3
    assert "no batch has lost its process" in abandoned.reason()


@pytest.mark.parametrize(
    ("command", "job", "option"),
    [(["dagster", "job", "execute"], "-j", "-c"), (["dg", "launch"], "--job", "--config")],
    ids=["dagster", "dg"],
)
def test_a_command_that_is_killed_recovers(
    manager: BatchManager,
    instance: dg.DagsterInstance,
    daemon: Start,
    query: Query,
    tmp_path: Path,
    command: list[str],
    job: str,
    option: str,
) -> None:
    items = [{"id": 1}, {"id": 2, "do": "die", "until": str(tmp_path / "died")}, {"id": 3}]
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"ops": {"tasks": {"config": {"items": items, "params": {"since": "monday"}}}}}))
    program = Path(sys.executable).parent / command[0]
    killed = subprocess.run(
        [program, *command[1:], "-m", __name__, job, "import_tasks", option, config],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    [run] = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.STARTED  # Dagster does not notice
    assert tags_of(instance, run.run_id).keys() == {
        "batch_id",
        "batch_id.tasks",
        "batch_type",
        "lineage",
        "mode",
        "code_version",
    }

    query("UPDATE reliable_imports.import_runs SET heartbeat_at = heartbeat_at - interval '1 hour'")
    abandoned = daemon(build_abandoned_batches_sensor(REGISTRY, JOBS))
    assert f"reported as failed: runs {run.run_id}" in abandoned.reason()
    assert tags_of(instance, run.run_id)["outcome"] == "interrupted"
    [request] = abandoned.requests()
    assert abandoned.run(request).success
    [summary] = manager.list_batches()
    assert (summary.total_items, summary.completed_items) == (3, 3)


def test_a_killed_processs_run_that_dagster_retries_is_left_to_it(
    killed: tuple[int, str], daemon: Start, instance: dg.DagsterInstance
) -> None:
    abandoned = daemon(build_abandoned_batches_sensor(REGISTRY, JOBS))
    abandoned.tick()
    instance.add_run_tags(killed[1], {"dagster/will_retry": "true"})

    assert "Dagster retries run" in abandoned.reason()


def test_a_batch_that_a_person_stopped_is_not_resumed(
    killed: tuple[int, str], daemon: Start, manager: BatchManager
) -> None:
    manager.orchestration.release_run(killed[1], error="stopped")

    assert daemon(build_abandoned_batches_sensor(REGISTRY, JOBS)).requests() == []


@pytest.fixture
def cut_off(manager: BatchManager, instance: dg.DagsterInstance, query: Query) -> CutOff:
    """Makes a batch whose run, launched by Dagster or at a terminal, was told to stop after its first item."""

    def make(*, launched_by_dagster: bool = True, ends_as: dg.DagsterRunStatus = dg.DagsterRunStatus.FAILURE) -> int:
        batch_id = manager.create_batch(
            "tasks", [{"id": 1, "do": "stop"}, {"id": 2}, {"id": 3}], params={"since": "monday"}
        )
        server = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="imports")
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), "import_tasks")
        config = {"ops": {"tasks": {"config": {"batch_id": batch_id, "params": {"since": "monday"}}}}}
        run = instance.create_run_for_job(
            import_tasks(), run_config=config, remote_job_origin=origin if launched_by_dagster else None
        )
        instance.add_run_tags(run.run_id, {"reliable_imports/lineage": str(batch_id)})
        ended = subprocess.run([sys.executable, "-c", _WORKS, str(batch_id), run.run_id], cwd=Path(__file__).parents[3])
        assert ended.returncode == -signal.SIGTERM
        assert query("SELECT completed, outcome FROM reliable_imports.import_runs") == [(1, "interrupted")]
        event = {
            dg.DagsterRunStatus.FAILURE: dg.DagsterEventType.RUN_FAILURE,
            dg.DagsterRunStatus.CANCELED: dg.DagsterEventType.RUN_CANCELED,
        }[ends_as]
        instance.report_dagster_event(dg.DagsterEvent(event.value, run.job_name), run.run_id)
        query("UPDATE reliable_imports.import_runs SET ended_at = ended_at - interval '2 minutes'")
        return batch_id

    return make


def test_a_run_that_a_restart_cut_off_is_resumed(
    cut_off: CutOff, daemon: Start, instance: dg.DagsterInstance, manager: BatchManager
) -> None:
    batch_id = cut_off()
    abandoned = daemon(build_abandoned_batches_sensor(REGISTRY, JOBS))
    [run] = instance.get_runs()

    at_once = _status_tick("resume_crashed_runs_sensor", run.run_id, instance)
    assert at_once.run_key == f"crashed:{run.run_id}"

    # Dagster meant to start it again, could not, and took the tag back.
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
    assert "Dagster retries run" in abandoned.reason()
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    [request] = abandoned.requests()
    assert abandoned.run(request).success
    assert manager.get_summary(batch_id).completed_items == 3
    assert abandoned.requests() == []


@pytest.mark.parametrize("by", ["a cancel", "a terminal"])
def test_a_run_that_a_person_stopped_is_not_resumed(
    cut_off: CutOff, daemon: Start, instance: dg.DagsterInstance, by: str
) -> None:
    if by == "a cancel":
        cut_off(ends_as=dg.DagsterRunStatus.CANCELED)
    else:
        cut_off(launched_by_dagster=False)
    [run] = instance.get_runs()

    assert daemon(build_abandoned_batches_sensor(REGISTRY, JOBS)).requests() == []
    assert "waits for whoever stopped" in _status_tick("resume_crashed_runs_sensor", run.run_id, instance).skip_message


def test_a_batch_whose_runs_come_to_no_item_is_left_to_a_person(
    cut_off: CutOff, daemon: Start, instance: dg.DagsterInstance, query: Query
) -> None:
    cut_off()
    [run] = instance.get_runs()
    query("UPDATE reliable_imports.import_runs SET completed = 0")
    query(
        "INSERT INTO reliable_imports.import_runs (batch_id, runner, dagster_run_id, mode, host, process_id,"
        " outcome, error, started_at, heartbeat_at, ended_at)"
        " SELECT batch_id, runner, dagster_run_id, mode, host, process_id, outcome, error, started_at, heartbeat_at,"
        " ended_at FROM reliable_imports.import_runs, generate_series(1, 4)"
    )

    assert "its last 5 runs came to no item" in daemon(build_abandoned_batches_sensor(REGISTRY, JOBS)).reason()
    told = _status_tick("resume_crashed_runs_sensor", run.run_id, instance).skip_message
    assert "its last 5 runs came to no item" in told


def _status_tick(name: str, run_id: str, instance: dg.DagsterInstance) -> Any:
    [sensor] = [sensor for sensor in build_run_ended_sensors(REGISTRY, JOBS) if sensor.name == name]
    run = instance.get_run_by_id(run_id)
    assert run is not None
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, run.job_name)
    context = dg.build_run_status_sensor_context(
        sensor_name=name, dagster_event=event, dagster_instance=instance, dagster_run=run
    )
    return sensor(context, reliable_imports=ReliableImportsResource())


def test_a_crashed_run_is_resumed_at_once(
    killed: tuple[int, str], instance: dg.DagsterInstance, manager: BatchManager, daemon: Start
) -> None:
    batch_id, run_id = killed

    request = _status_tick("resume_crashed_runs_sensor", run_id, instance)

    assert request.run_key == f"crashed:{run_id}"
    assert Daemon(build_report_sensor(REGISTRY), instance, DEFS).run(request).success
    assert manager.get_summary(batch_id).completed_items == 3
    again = _status_tick("resume_crashed_runs_sensor", run_id, instance)
    assert "left no batch open" in again.skip_message


@pytest.mark.parametrize("name", ["resume_crashed_runs_sensor", "release_canceled_runs_sensor"])
def test_a_run_whose_process_is_gone_is_tagged_as_interrupted(
    killed: tuple[int, str], instance: dg.DagsterInstance, name: str
) -> None:
    instance.add_run_tags(killed[1], {"reliable_imports/batch_id": str(killed[0])})

    _status_tick(name, killed[1], instance)

    assert tags_of(instance, killed[1])["outcome"] == "interrupted"


def test_a_crashed_run_that_dagster_retries_is_left_alone(
    killed: tuple[int, str], instance: dg.DagsterInstance, query: Query
) -> None:
    instance.add_run_tags(killed[1], {"dagster/will_retry": "true"})

    assert "by itself" in _status_tick("resume_crashed_runs_sensor", killed[1], instance).skip_message
    assert query("SELECT ended_at FROM reliable_imports.import_runs") == [(None,)]


def test_a_canceled_run_is_released_and_not_resumed(
    killed: tuple[int, str], instance: dg.DagsterInstance, query: Query
) -> None:
    answer = _status_tick("release_canceled_runs_sensor", killed[1], instance)

    assert f"released batches [{killed[0]}]" in answer.skip_message
    assert query("SELECT outcome FROM reliable_imports.import_runs") == [("interrupted",)]


def _history(manager: BatchManager, run_id: str) -> list[Batch]:
    return [manager.get_batch(run.batch_id) for run in manager.list_runs(dagster_run_id=run_id)]


def _launch(instance: dg.DagsterInstance, batch_type: str, *items: Mapping[str, Any]) -> dg.ExecuteInProcessResult:
    return DEFS.resolve_job_def(f"import_{batch_type}").execute_in_process(
        instance=instance,
        run_config={"ops": {batch_type: {"config": {"items": list(items)}}}},
        raise_on_error=False,
    )


def _change_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reliable_imports_dagster.sensors.changed_code.code_version", lambda processor: "changed")
    monkeypatch.setattr("reliable_imports.engine.begin.code_version", lambda processor: "changed")


def test_failures_are_tried_once_more_when_the_code_has_changed(
    manager: BatchManager, instance: dg.DagsterInstance, daemon: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    _launch(instance, "sales", {"id": 1, "shop": "a"})
    assert "none failed with other code" in daemon(build_changed_code_sensor(REGISTRY)).reason()

    _change_the_code(monkeypatch)
    changed = daemon(build_changed_code_sensor(REGISTRY))
    [request] = changed.requests()
    changed.run(request)

    assert manager.get_summary(2).failed_items == 1
    assert "none failed with other code" in changed.reason()
    excluded = daemon(build_changed_code_sensor(REGISTRY, exclude_batch_types=["sales"]))
    assert excluded.requests() == []


def test_failures_of_batches_worked_elsewhere_are_tried_once_more_too(
    manager: BatchManager, daemon: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.process_batch(manager.create_batch("sales", [{"id": 1, "shop": "a"}]))
    assert daemon(build_changed_code_sensor(REGISTRY)).requests() == []

    _change_the_code(monkeypatch)
    assert len(daemon(build_changed_code_sensor(REGISTRY)).requests()) == 1


def test_a_run_of_several_batches_does_not_pass_for_changed_code(
    manager: BatchManager, instance: dg.DagsterInstance, daemon: Start
) -> None:
    result = dg.materialize(
        [build_import_asset(SalesProcessor), build_import_asset(ShopsProcessor)],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource()},
        run_config={
            "ops": {
                "sales": {"config": {"items": [{"id": 1, "shop": "nowhere"}], "fail_run_on": "never"}},
                "shops": {"config": {"items": [{"code": "a"}]}},
            }
        },
    )
    assert [run.batch_type for run in _history(manager, result.run_id)] == ["shops", "sales"]

    assert "none failed with other code" in daemon(build_changed_code_sensor(REGISTRY)).reason()


def test_all_failures_are_tried_a_bounded_number_of_times(
    manager: BatchManager, instance: dg.DagsterInstance, daemon: Start
) -> None:
    _launch(instance, "sales", {"id": 1, "shop": "a"})
    every = daemon(build_all_failures_sensor(REGISTRY, max_attempts=3, backoff=NOW))

    for _ in range(2):
        [request] = every.requests()
        every.run(request)

    assert "had fewer than 3 attempts" in every.reason()


def test_each_line_has_its_turn_however_few_a_tick_takes(
    manager: BatchManager, instance: dg.DagsterInstance, daemon: Start
) -> None:
    for number in range(3):
        _launch(instance, "sales", {"id": number, "shop": "a"})
    every = daemon(build_all_failures_sensor(REGISTRY, backoff=NOW, max_runs_per_tick=1))

    requests = [request for _ in range(3) for request in every.requests()]
    assert [request.tags["reliable_imports/lineage"] for request in requests] == ["1", "2", "3"]
    every.run(requests[0])
    [again] = every.requests()
    assert again.tags["reliable_imports/lineage"] == "1"  # after the last, the first


def test_a_look_at_failures_is_bounded(manager: BatchManager, instance: dg.DagsterInstance) -> None:
    _launch(instance, "shops", {"code": "a"})
    _launch(instance, "sales", {"id": 1, "shop": "x"}, {"id": 2, "shop": "x"})
    _launch(instance, "sales", {"id": 3, "shop": "a"})  # fails nowhere
    for number in range(4, 6):
        _launch(instance, "sales", {"id": number, "shop": "x"})

    def look(**bounds: int) -> tuple[list[int], int | None]:
        page = manager.orchestration.permanent_failures(["sales", "shops"], **bounds)
        return [line.first_batch_id for line in page.lineages], page.last

    assert look() == ([2, 4, 5], 5)
    assert look(max_lineages=2) == ([2, 4], 4)
    assert look(max_lineages=2, after=4) == ([5], 5)
    assert look(max_failures=2) == ([2], 2)
    assert look(after=5) == ([], None)


def test_excluded_reasons_are_left_to_a_person(
    manager: BatchManager, instance: dg.DagsterInstance, daemon: Start
) -> None:
    _launch(instance, "sales", {"id": 1, "shop": "a"}, {})
    reasons = {reason.error_type: reason.reason for reason in manager.failure_reasons(1)}

    every = daemon(build_all_failures_sensor(REGISTRY, backoff=NOW, exclude_reasons=[reasons["InvalidRow"]]))
    every.run(every.requests()[0])

    assert [summary.total_items for summary in manager.list_batches()] == [1, 2]


def test_batches_worked_elsewhere_are_reported_once(
    manager: BatchManager, instance: dg.DagsterInstance, daemon: Start, query: Query
) -> None:
    _launch(instance, "shops", {"code": "z"})
    for number in range(3):
        manager.process_batch(manager.create_batch("shops", [{"code": f"s{number}"}]))
    query("UPDATE reliable_imports.import_batches SET finished_at = finished_at - interval '1 minute'")
    report = daemon(build_report_sensor(REGISTRY, max_batches_per_tick=2))

    told = []
    for _ in range(3):
        answer = report.tick()
        events = answer.asset_events if isinstance(answer, dg.SensorResult) else []
        told += [event.metadata["batch_id"].value for event in events if isinstance(event, dg.AssetMaterialization)]

    assert told == ["2", "3", "4"]
    assert "no batch has ended outside Dagster" in report.reason()
