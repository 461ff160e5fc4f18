"""Workers die without warning, and others take over: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from reliable_imports import BatchManager
from tests.faults.checker import assert_sound
from tests.faults.conftest import FREEZING_TESTS, More
from tests.faults.server import end_sessions, sessions_of_workers
from tests.faults.targets import BATCH_TYPES, items
from tests.faults.totals import TOTALS
from tests.faults.waiting import wait_for
from tests.faults.workers import WorkerProcess, workers

pytestmark = [pytest.mark.promise(2), pytest.mark.promise(5)]

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.mark.parametrize("batch_type", BATCH_TYPES)
def test_random_kills_lose_and_double_nothing(
    manager: BatchManager, dsn: str, chance: random.Random, more_rounds: More, batch_type: str
) -> None:
    kills, batches = 0, 0
    failing = {7: "raise", 60: "be_refused", 61: "be_refused", 333: "raise"}
    while more_rounds("kills", kills, len(BATCH_TYPES)):
        batch_id = manager.create_batch(batch_type, items(600, first_id=1 + 1000 * batches, do=failing, seconds=0.01))
        batches += 1
        crew: list[WorkerProcess] = []
        spare: list[WorkerProcess] = []
        try:
            while manager.get_summary(batch_id).open_items:
                while len(spare) < 2:  # they start up while others work
                    spare.append(WorkerProcess(dsn, batch_id))
                while len(crew) < 3 and spare:
                    worker = spare.pop(0)
                    worker.wait_for_line("ready")
                    crew.append(worker.go())
                time.sleep(chance.uniform(0, 0.3))
                victim = chance.choice(crew)
                if victim.is_running:
                    victim.kill()
                    kills += 1
                assert_sound(dsn, batch_id, may_fail=failing)
                for worker in [each for each in crew if not each.is_running]:
                    worker.close()
                    crew.remove(worker)
        finally:
            for worker in crew + spare:
                worker.close()
        manager.process_batch(batch_id)
        checked = assert_sound(dsn, batch_id, may_fail=failing, is_finished=True)
        assert checked.failed == tuple(failing)


def test_ended_sessions_cost_nothing(manager: BatchManager, dsn: str, sql: Sql, chance: random.Random) -> None:
    failing = {7: "raise", 200: "be_refused"}
    ended, batches = 0, 0
    while not ended:
        batch_id = manager.create_batch("mixed", items(400, first_id=1 + 1000 * batches, do=failing, seconds=0.002))
        batches += 1
        with workers(dsn, batch_id, 2) as crew:
            for worker in crew:
                worker.go()
            while ended < 20 and any(worker.is_running for worker in crew):
                time.sleep(chance.uniform(0.05, 0.3))
                if backends := sessions_of_workers(sql):
                    ended += end_sessions(sql, f"pid = {chance.choice(backends)}")
            words = [worker.wait() for worker in crew]
            assert all(word.startswith("finished") for word in words), [worker.said for worker in crew]
        checked = assert_sound(dsn, batch_id, may_fail=failing, is_finished=True)
        assert checked.failed == tuple(failing)


@pytest.mark.parametrize("batch_type", BATCH_TYPES)
def test_a_stopped_worker_is_not_robbed_and_writes_nothing_late(
    manager: BatchManager, dsn: str, sql: Sql, chance: random.Random, more_rounds: More, batch_type: str
) -> None:
    rounds = 0
    while more_rounds("freezes", rounds, FREEZING_TESTS):
        batch_id = manager.create_batch(batch_type, items(300, first_id=1 + 1000 * rounds))
        rounds += 1
        with workers(dsn, batch_id, stop_at=chance.randint(1, 300)) as (frozen,):
            frozen.go().wait_for_line("reached")
            frozen.process.send_signal(signal.SIGSTOP)
            TOTALS.add("freezes")
            around = manager.process_batch(batch_id)
            held = assert_sound(dsn, batch_id)
            assert (str(around.status), held.open > 0) == ("processing", True)

            # As idle_in_transaction_session_timeout does in the end.
            assert end_sessions(sql) == 1
            wait_for(lambda: not sessions_of_workers(sql), "the frozen worker's session is gone")
            manager.process_batch(batch_id)
            assert_sound(dsn, batch_id, is_finished=True)

            frozen.process.send_signal(signal.SIGCONT)
            assert frozen.go().wait() == "finished completed", frozen.said
        assert_sound(dsn, batch_id, is_finished=True)


@pytest.mark.parametrize("batch_type", BATCH_TYPES)
@pytest.mark.parametrize(
    "killers",
    [{1: "exit"}, {250: "segfault"}, {500: "kill"}, {3: "exit", 4: "kill", 77: "segfault", 499: "exit"}],
    ids=lambda killers: "+".join(f"{what} at {number}" for number, what in killers.items()),
)
def test_items_that_kill_their_worker_are_set_aside(
    manager: BatchManager, dsn: str, killers: dict[int, str], batch_type: str
) -> None:
    batch_id = manager.create_batch(batch_type, items(500, do=killers))
    for _ in range(5):  # the first worker dies, for it cannot know; whoever comes next does
        with workers(dsn, batch_id) as (worker,):
            word = worker.go().wait()
        assert_sound(dsn, batch_id, may_fail=killers)
        if word:
            break
    checked = assert_sound(dsn, batch_id, may_fail=killers, is_finished=True)
    assert checked.failed == tuple(killers)
    for failed in manager.list_items(batch_id, status="failed"):
        assert failed.error_type == "KilledWorker"
