from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from reliable_imports import BatchManager
from reliable_imports_dagster import ReliableImportsResource, build_reprocess_sensor
from tests.dagster import project
from tests.dagster.conftest import Query, notes

NAME = "reprocess_failed_items_sensor"
Tick = Callable[[], dg.SensorResult | dg.SkipReason]


def _context(instance: dg.DagsterInstance) -> dg.SensorEvaluationContext:
    return dg.build_sensor_context(
        instance=instance,
        definitions=project.defs,
        sensor_name=NAME,
        resources={"reliable_imports": ReliableImportsResource()},
    )


@pytest.fixture
def tick(dsn: str, instance: dg.DagsterInstance) -> Tick:
    """Evaluates the project's sensor once."""
    sensor = project.defs.resolve_sensor_def(NAME)

    def evaluate() -> dg.SensorResult | dg.SkipReason:
        with _context(instance) as context:
            answer = sensor(context)
        assert isinstance(answer, dg.SensorResult | dg.SkipReason)
        return answer

    return evaluate


@pytest.fixture
def run(instance: dg.DagsterInstance) -> Callable[[dg.RunRequest], dg.ExecuteInProcessResult]:
    """Does what the daemon does with a request."""

    def execute(request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return project.reprocess_failed_items().execute_in_process(
            instance=instance, run_config=request.run_config, tags=_tags(request), raise_on_error=False
        )

    return execute


Run = Callable[[dg.RunRequest], dg.ExecuteInProcessResult]


def _tags(request: dg.RunRequest) -> dict[str, str]:
    return {**request.tags, "dagster/sensor_name": NAME}


def _requests(answer: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    assert isinstance(answer, dg.SensorResult), answer
    return list(answer.run_requests or [])


def _reason(answer: dg.SensorResult | dg.SkipReason) -> str:
    assert isinstance(answer, dg.SkipReason)
    return str(answer.skip_message)


def _busy_batch(manager: BatchManager, until: str = "/nowhere") -> int:
    """One completed item, and one that failed for something that passes and may be tried again at once."""
    items = [{"id": 1}, {"id": 2, "do": "be busy", "until": until}]
    return manager.process_batch(manager.create_batch("notes", items)).batch_id


def _started_run(instance: dg.DagsterInstance, request: dg.RunRequest, age: float = 0) -> dg.DagsterRun:
    run = instance.create_run_for_job(
        project.reprocess_failed_items(), run_config=request.run_config, tags=_tags(request)
    )
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name), run.run_id, timestamp=time.time() - age
    )
    return run


def _crash(instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    """A run that ends before it comes to its items."""
    instance.report_run_failed(_started_run(instance, request))


def test_with_nothing_due_the_sensor_says_what_it_looked_for(tick: Tick, manager: BatchManager) -> None:
    manager.process_batch(manager.create_batch("notes", [{"id": 1}, {"id": 2, "do": "fail"}]))

    assert _reason(tick()) == "no retryable failure is due, and no reprocess batch was left behind"


def test_an_empty_database_is_nothing_to_do(empty_database: str, tick: Tick, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", empty_database)

    assert _reason(tick()).startswith("no retryable failure is due")


def test_due_failures_are_reprocessed_by_the_run_that_is_requested(
    tick: Tick, run: Run, manager: BatchManager, tmp_path: Path
) -> None:
    batch_id = _busy_batch(manager, str(tmp_path / "open"))
    [request] = _requests(tick())
    (tmp_path / "open").touch()

    assert run(request).success

    assert manager.count_outstanding(batch_id) == 0
    assert isinstance(tick(), dg.SkipReason)


def test_failures_that_wait_for_a_person_are_left_to_them(
    tick: Tick, run: Run, manager: BatchManager, query: Query
) -> None:
    items = [{"id": 1}, {"id": 2, "do": "be busy"}, {"id": 3, "do": "fail"}]
    manager.process_batch(manager.create_batch("notes", items))

    run(_requests(tick())[0])

    assert query("SELECT total_items FROM reliable_imports.import_batches ORDER BY id") == [(3,), (1,)]


def test_every_attempt_has_a_key_of_its_own_until_the_attempts_are_used_up(
    tick: Tick, run: Run, manager: BatchManager
) -> None:
    _busy_batch(manager)
    keys = []
    while isinstance(answer := tick(), dg.SensorResult):
        [request] = _requests(answer)
        keys.append(request.run_key)
        run(request)

    # max_attempts is 3, and the import was the first.
    assert len(keys) == len(set(keys)) == 2


def test_the_key_stays_until_something_has_happened(tick: Tick, manager: BatchManager) -> None:
    _busy_batch(manager)

    assert _requests(tick())[0].run_key == _requests(tick())[0].run_key


def test_a_run_that_crashes_before_its_items_does_not_use_up_the_key(
    tick: Tick, manager: BatchManager, instance: dg.DagsterInstance
) -> None:
    _busy_batch(manager)
    [first] = _requests(tick())
    _crash(instance, first)

    [second] = _requests(tick())

    assert second.run_key != first.run_key


def test_crashes_without_progress_are_bounded_and_explained(
    tick: Tick, manager: BatchManager, instance: dg.DagsterInstance
) -> None:
    batch_id = _busy_batch(manager)
    for _ in range(5):
        _crash(instance, _requests(tick())[0])

    assert f"batch {batch_id}: its last 5 runs ended without touching an item" in _reason(tick())


def test_a_run_that_comes_to_its_items_lifts_the_bound(
    tick: Tick, run: Run, manager: BatchManager, instance: dg.DagsterInstance
) -> None:
    _busy_batch(manager)
    keys = set()
    for _ in range(5):
        [request] = _requests(tick())
        keys.add(request.run_key)
        _crash(instance, request)
    run(request)

    assert _requests(tick())[0].run_key not in keys


def test_a_line_that_is_being_worked_waits(tick: Tick, manager: BatchManager, instance: dg.DagsterInstance) -> None:
    batch_id = _busy_batch(manager)
    at_work = _started_run(instance, _requests(tick())[0])

    assert f"batch {batch_id}: run {at_work.run_id} is working on it" in _reason(tick())


def test_a_run_that_died_unnoticed_does_not_block_its_line_for_ever(
    tick: Tick, manager: BatchManager, instance: dg.DagsterInstance
) -> None:
    _busy_batch(manager)
    [request] = _requests(tick())
    _started_run(instance, request, age=3600)

    assert len(_requests(tick())) == 1


def test_each_line_is_requested_once_and_a_tick_is_bounded(tick: Tick, manager: BatchManager) -> None:
    for _ in range(12):
        _busy_batch(manager)

    requests = _requests(tick())

    assert len(requests) == 10
    assert len({request.run_key for request in requests}) == 10


def test_a_line_without_a_processor_here_is_named(
    dsn: str, instance: dg.DagsterInstance, manager: BatchManager
) -> None:
    batch_id = _busy_batch(manager)
    sensor = build_reprocess_sensor([])
    with _context(instance) as context:
        answer = sensor(context)

    assert isinstance(answer, dg.SkipReason)
    assert f"batch {batch_id}: no processor for 'notes'" in str(answer.skip_message)


def test_an_abandoned_reprocess_batch_is_taken_up(
    tick: Tick, run: Run, manager: BatchManager, query: Query, tmp_path: Path
) -> None:
    batch_id = manager.process_batch(manager.create_batch("notes", [*notes(1), {"id": 2, "do": "fail"}])).batch_id
    reprocess_id = manager.create_reprocess_batch(batch_id)
    query(
        "UPDATE reliable_imports.import_batches SET created_at = created_at - interval '1 hour' WHERE id = %s",
        reprocess_id,
    )

    [request] = _requests(tick())
    run(request)

    assert query("SELECT status FROM reliable_imports.import_batches WHERE id = %s", reprocess_id) == [("failed",)]
