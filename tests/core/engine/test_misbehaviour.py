"""Items that kill or outstay their worker, and workers that are told to stop: only their own item pays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import BatchManager, BatchStatus, ImportBatchItem, ImportContext
from reliable_imports.engine.process import child_process
from tests.core.clock import Clock
from tests.core.conftest import Sql
from tests.core.doubles import ACTIONS
from tests.core.misbehaving import PROCESSORS, DeadlyRetryProcessor, SlowProcessor

pytestmark = pytest.mark.promise(5)

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def registered(manager: BatchManager) -> None:
    for processor in PROCESSORS:
        manager.registry.register(processor)


@contextmanager
def child_working(dsn: str, batch_id: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.core.misbehaving", dsn, str(batch_id)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
    try:
        yield child
    finally:
        child.kill()
        child.communicate(timeout=60)


def let_go_on(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def work_in_child(dsn: str, batch_id: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.core.misbehaving", dsn, str(batch_id)]
    # In a process group of its own, for there are items that kill their group.
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, start_new_session=True)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit", "exit status 0"),
        ("segfault", "signal 11, SIGSEGV"),
        ("kill", "signal 9, SIGKILL"),
        ("kill the group", "signal 9, SIGKILL"),
    ],
)
def test_an_item_that_kills_its_worker_is_set_aside(
    manager: BatchManager, database: str, sql: Sql, how: str, words: str
) -> None:
    items: list[dict[str, Any]] = [{"id": number} for number in range(1, 501)]
    items[249]["die"] = how
    batch_id = manager.create_batch("deadly", items)

    first = work_in_child(database, batch_id)
    assert "completed" not in first.stdout  # it died
    second = work_in_child(database, batch_id)

    assert second.stdout.strip() == "completed_with_failures", second.stderr
    summary = manager.get_summary(batch_id)
    assert (summary.completed_items, summary.failed_items) == (499, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (250, "KilledWorker")
    assert failed.error_message == f"killed its worker ({words})"
    assert sql("SELECT count(*), count(DISTINCT item) FROM writes") == [(499, 499)]
    assert [run.state for run in manager.list_runs(batch_id=batch_id)] == ["running", "finished"]


def test_a_hook_that_kills_its_worker_sets_its_item_aside(manager: BatchManager, database: str, sql: Sql) -> None:
    items: list[dict[str, Any]] = [{"id": number} for number in range(1, 101)]
    items[49]["die"] = "exit"
    batch_id = manager.create_batch("deadly_hook", items)

    work_in_child(database, batch_id)
    second = work_in_child(database, batch_id)

    assert second.stdout.strip() == "completed_with_failures", second.stderr
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (50, "KilledWorker")
    assert manager.get_summary(batch_id).completed_items == 99


def test_several_killers_in_one_batch(manager: BatchManager, database: str, sql: Sql) -> None:
    items: list[dict[str, Any]] = [{"id": number} for number in range(1, 501)]
    for number, how in ((10, "exit"), (11, "segfault"), (240, "kill"), (499, "exit")):
        items[number]["die"] = how
    batch_id = manager.create_batch("deadly", items)

    work_in_child(database, batch_id)
    second = work_in_child(database, batch_id)

    # The first one killed the program; from then on killers meet a child.
    assert second.stdout.strip() == "completed_with_failures", second.stderr
    summary = manager.get_summary(batch_id)
    assert (summary.completed_items, summary.failed_items) == (496, 4)
    assert [item.item_number for item in manager.list_items(batch_id, status="failed")] == [11, 12, 241, 500]


def test_a_killer_among_items_that_are_tried_again_is_found_after_one_death(
    manager: BatchManager, database: str, tmp_path: Path
) -> None:
    deaths, gate = tmp_path / "deaths", tmp_path / "gate"
    items: list[dict[str, Any]] = [{} for _ in range(100)]
    items[9]["waits"] = str(gate)
    items[59] |= {"busy": 2, "dies": str(deaths)}
    batch_id = manager.create_batch("deadly_retry", items)
    with child_working(database, batch_id) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"  # and holds the first range

        first = work_in_child(database, batch_id)
        second = work_in_child(database, batch_id)
        gate.touch()
        other.communicate(timeout=120)

    assert (first.stdout, second.stdout) == ("", "processing\n"), second.stderr
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (60, "KilledWorker")
    assert manager.get_summary(batch_id).completed_items == 99
    assert len(deaths.read_text()) == 3  # of the first worker, and twice of a child


def test_workers_that_look_for_a_killer_together_find_it_as_soon(
    manager: BatchManager, database: str, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    items: list[dict[str, Any]] = [{"busy": 1} for _ in range(100)]
    items[9] = {"busy": 2, "dies": str(deaths)}
    batch_id = manager.create_batch("deadly_retry", items)
    work_in_child(database, batch_id)

    with ExitStack() as stack:
        crew = [stack.enter_context(child_working(database, batch_id)) for _ in range(3)]
        for worker in crew:
            worker.communicate(timeout=120)

    assert [worker.returncode for worker in crew] == [0, 0, 0]
    assert [item.item_number for item in manager.list_items(batch_id, status="failed")] == [10]
    assert manager.get_summary(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES
    assert len(deaths.read_text()) == 3


@pytest.mark.parametrize("busy", [0, 1])
@pytest.mark.parametrize(
    "batch_type",
    ["deadly_retry", "sheltered_deadly_retry", "deadly_preparation", "sheltered_deadly_preparation"],
)
def test_a_killer_costs_three_processes_however_many_workers_meet_it(
    manager: BatchManager, database: str, sql: Sql, tmp_path: Path, batch_type: str, busy: int
) -> None:
    items: list[dict[str, Any]] = [{} for _ in range(150)]
    killers = [20, 70, 71, 140]
    for killer in killers:
        items[killer - 1] = {"busy": busy, "dies": str(tmp_path / str(killer))}
    batch_id = manager.create_batch(batch_type, items)

    with ExitStack() as stack:
        crew = [stack.enter_context(child_working(database, batch_id)) for _ in range(4)]
        until = time.monotonic() + 300
        while not manager.get_summary(batch_id).status.is_final:
            assert time.monotonic() < until
            for place, worker in enumerate(crew):
                if worker.poll() is not None:
                    crew[place] = stack.enter_context(child_working(database, batch_id))
            time.sleep(0.02)

    deaths = {killer: len((tmp_path / str(killer)).read_text()) for killer in killers}
    assert all(2 <= count <= 3 for count in deaths.values()), deaths
    failed = {item.item_number: item.error_message for item in manager.list_items(batch_id, status="failed")}
    assert failed == dict.fromkeys(killers, "killed its worker (exit status 1)")
    assert sql("SELECT count(*), count(DISTINCT item) FROM writes") == [(146, 146)]
    assert sql("SELECT count(*) FROM reliable_imports.import_suspects") == [(0,)]


def test_one_killer_after_the_other_is_found_while_items_are_prepared(
    manager: BatchManager, sql: Sql, tmp_path: Path
) -> None:
    items: list[dict[str, Any]] = [{} for _ in range(500)]
    killers = list(range(25, 500, 50))  # one in each range
    for killer in killers:
        items[killer - 1] = {"dies": str(tmp_path / str(killer))}

    summary = manager.process_batch(manager.create_batch("sheltered_deadly_preparation", items))

    assert summary.pause_reason is None
    assert [item.item_number for item in manager.list_items(summary.batch_id, status="failed")] == killers
    assert {len((tmp_path / str(killer)).read_text()) for killer in killers} == {3}


def test_deaths_are_remembered_when_the_batch_is_paused(manager: BatchManager, tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"

    class PausingProcessor(DeadlyRetryProcessor):
        item_timeout = timedelta(minutes=1)

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if "dies" in item.source_data:
                manager.pause_batch(item.batch_id)
            super().process_item(item, ctx)

    manager.registry.register(PausingProcessor)
    batch_id = manager.create_batch("pausing", [{} if number != 10 else {"dies": str(deaths)} for number in range(60)])

    while not (summary := manager.process_batch(batch_id)).status.is_final:
        assert summary.status is BatchStatus.PAUSED
        assert len(deaths.read_text()) <= 3

    assert (summary.completed_items, summary.failed_items) == (59, 1)
    assert len(deaths.read_text()) == 3


def test_known_killers_are_run_again_in_a_child(manager: BatchManager, database: str, tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    batch_id = manager.create_batch("deadly_retry", [{}, {"dies": str(deaths)}])
    work_in_child(database, batch_id)
    work_in_child(database, batch_id)

    repeat = manager.create_reprocess_batch(batch_id)
    assert work_in_child(database, repeat or 0).stdout == "failed\n"
    assert len(deaths.read_text()) == 6


def test_deaths_are_remembered_when_the_search_is_stopped(
    manager: BatchManager, database: str, sql: Sql, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    items: list[dict[str, Any]] = [{} for _ in range(20)]
    items[9]["dies"] = str(deaths)
    batch_id = manager.create_batch("sheltered_deadly_retry", items)
    # As a worker leaves it that is told to stop when it has seen the item kill one child among others, and two alone.
    sql(f"INSERT INTO reliable_imports.import_suspects VALUES ({batch_id}, 1, 10, 0, 2, 'signal 9, SIGKILL')")

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (19, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_message) == (10, "killed its worker (signal 9, SIGKILL)")
    assert not deaths.exists()
    assert sql("SELECT count(*) FROM reliable_imports.import_suspects") == [(0,)]


def test_an_item_that_takes_the_whole_worker_along_is_put_off_and_left_to_a_person(
    manager: BatchManager, database: str, sql: Sql
) -> None:
    items: list[dict[str, Any]] = [{"id": number} for number in range(1, 101)]
    items[19]["die"] = items[59]["die"] = "kill the watcher"
    batch_id = manager.create_batch("deadly", items)

    def work_until_told() -> int:
        lost = 0
        while (worker := work_in_child(database, batch_id)).returncode == -signal.SIGKILL:
            lost += 1
        assert worker.stdout.strip() == "paused", worker.stderr
        return lost

    assert work_until_told() == 6  # each of the two is found in one of them, and alone in two
    summary = manager.get_summary(batch_id)
    assert "items 20, 60 were each tried alone 2 times" in (summary.pause_reason or "")
    assert (summary.completed_items, summary.failed_items, summary.open_items) == (98, 0, 2)
    assert {item.attempts for item in manager.list_items(batch_id, status="completed")} == {1}
    assert sql("SELECT count(*), count(DISTINCT item) FROM writes") == [(98, 98)]
    assert manager.verify(batch_id)[0].problems == ()

    assert work_until_told() == 2  # a person said that they should be tried again
    manager.cancel_batch(batch_id)
    repeat = manager.create_reprocess_batch(batch_id)
    assert repeat is not None
    assert [json.loads(item.source_data) for item in manager.list_items(repeat)] == [items[19], items[59]]


def test_a_worker_killed_from_outside_charges_nobody(manager: BatchManager, database: str, sql: Sql) -> None:
    batch_id = manager.create_batch("patient", [{"id": number, "says": "trying"} for number in range(1, 41)])
    for tried in (3, 1, 5, 2):
        with child_working(database, batch_id) as child:
            assert child.stdout is not None
            for left in reversed(range(tried)):
                assert child.stdout.readline() == "trying\n"
                if left:
                    let_go_on(child)
            child.send_signal(signal.SIGKILL)
            child.wait(timeout=60)

    summary = manager.process_batch(batch_id)

    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, 40)
    assert sql("SELECT count(*), count(DISTINCT item) FROM writes") == [(40, 40)]


@pytest.mark.parametrize(
    ("slow", "words"),
    [
        ("python", "took longer than item_timeout, 60 seconds"),
        ("server", "took longer than item_timeout, 60 seconds"),
        ("stubborn", "did not let itself be interrupted; its worker was killed"),
    ],
)
def test_an_item_that_takes_too_long_fails_alone(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch, slow: str, words: str
) -> None:
    monkeypatch.setattr(SlowProcessor, "clock", Clock(), raising=False)
    monkeypatch.setattr(child_process, "time", SlowProcessor.clock)
    monkeypatch.setattr(child_process, "_TIMEOUT_GRACE", 60.0)
    items: list[dict[str, Any]] = [{"id": number} for number in range(1, 21)]
    items[6]["slow"] = slow
    batch_id = manager.create_batch("slow", items)

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (19, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (7, "ItemTimeout")
    assert words in (failed.error_message or "")
    assert sql("SELECT count(*), count(DISTINCT item) FROM writes") == [(19, 19)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_run_after_the_current_item(
    manager: BatchManager, database: str, sql: Sql, number: signal.Signals
) -> None:
    batch_id = manager.create_batch("patient", [{"id": n, "says": "working"} if n == 5 else {} for n in range(100)])
    with child_working(database, batch_id) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "working\n"
        child.send_signal(number)
        let_go_on(child)
        _, errors = child.communicate(timeout=120)

    assert child.returncode == -number or (number == signal.SIGINT and "KeyboardInterrupt" in errors)
    after = manager.get_summary(batch_id)
    assert after.status is BatchStatus.PROCESSING
    assert after.completed_items == 6
    (run,) = manager.list_runs(batch_id=batch_id)
    assert (run.state, run.error) == ("interrupted", "stopped by a signal")
    assert manager.process_batch(batch_id).completed_items == 100


def test_a_signal_ends_a_long_statement_of_the_server(manager: BatchManager, database: str, sql: Sql) -> None:
    batch_id = manager.create_batch("patient", [{"id": 1}, {"id": 2, "sleep": True}, {"id": 3}])
    with child_working(database, batch_id) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "sleeping\n"
        child.send_signal(signal.SIGTERM)
        # The grace is five seconds; the statement would take ten minutes.
        child.communicate(timeout=300)

    after = manager.get_summary(batch_id)
    assert (after.failed_items, after.status) == (0, BatchStatus.PROCESSING)
    assert manager.list_runs(batch_id=batch_id)[0].state == "interrupted"
    manager.cancel_batch(batch_id)


def test_a_run_whose_item_takes_long_says_that_it_lives(manager: BatchManager, monkeypatch: pytest.MonkeyPatch) -> None:
    def take_long(item: Any, ctx: Any) -> None:
        beaten = "SELECT heartbeat_at FROM reliable_imports.import_runs WHERE id = %s"
        before, until = ctx.fetch_value(beaten, [ctx.run_id]), time.monotonic() + 60
        while ctx.fetch_value(beaten, [ctx.run_id]) == before:
            assert time.monotonic() < until
            time.sleep(0.01)

    monkeypatch.setitem(ACTIONS, "take long", take_long)
    monkeypatch.setattr("reliable_imports.engine.process.heartbeat.BEAT_SECONDS", 0.3)

    summary = manager.process_batch(manager.create_batch("immediate", [{"id": 1, "do": "take long"}]))

    assert summary.completed_items == 1


def test_pause_and_cancel_reach_a_worker_elsewhere(manager: BatchManager, database: str, sql: Sql) -> None:
    items = [{"says": "working"} if number in (5, 60) else {} for number in range(1, 201)]  # in ranges of 50
    batch_id = manager.create_batch("patient", items)
    with child_working(database, batch_id) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "working\n"
        paused = manager.pause_batch(batch_id, reason="the target is being repaired")
        assert (paused.status, paused.pause_reason) == (BatchStatus.PAUSED, "the target is being repaired")
        let_go_on(child)
        assert child.stdout.readline() == "paused\n"
    with child_working(database, batch_id) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "working\n"
        cancelled = manager.cancel_batch(batch_id)
        assert cancelled.status is BatchStatus.CANCELLED
        let_go_on(child)
        assert child.stdout.readline() == "cancelled\n"

    summary = manager.get_summary(batch_id)
    assert 0 < summary.open_items < 200
    assert manager.count_outstanding(batch_id) == summary.open_items
    assert manager.process_batch(batch_id) == manager.get_summary(batch_id)  # final: nothing is done

    rest = manager.reprocess_batch(batch_id)
    assert (rest.total_items, rest.completed_items) == (summary.open_items, summary.open_items)
    assert manager.count_outstanding(batch_id) == 0
    assert manager.get_summary(batch_id).open_items == summary.open_items
    assert not [each for each in manager.verify() if each.problems]
