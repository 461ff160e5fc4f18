"""The server crashes and comes back; workers live through it."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Any

import pytest

from reliable_imports import BatchManager
from tests.faults.checker import assert_sound
from tests.faults.conftest import More, manager_of
from tests.faults.server import FaultServer, session, sessions_of_workers
from tests.faults.targets import BATCH_TYPES, DeclaredProcessor, items
from tests.faults.totals import TOTALS
from tests.faults.workers import workers

pytestmark = [pytest.mark.promise(2), pytest.mark.promise(5)]


def test_crashes_of_the_server_lose_and_double_nothing(
    server: FaultServer, manager: BatchManager, dsn: str, chance: random.Random, more_rounds: More
) -> None:
    failing = {7: "raise", 60: "be_refused"}
    batches = 0
    before = TOTALS.counts["restarts"]
    while more_rounds("restarts", TOTALS.counts["restarts"] - before):
        batch_id = manager.create_batch(
            BATCH_TYPES[batches % 3], items(700, first_id=1 + 1000 * batches, do=failing, seconds=0.003)
        )
        batches += 1
        with workers(dsn, batch_id, 2) as crew:
            for worker in crew:
                worker.go()
            while any(worker.is_running for worker in crew):
                time.sleep(chance.uniform(0.05, 0.5))
                if chance.random() < 0.7:
                    server.crash_and_restart()
                else:
                    _kill_a_backend(server, dsn, chance)
                assert_sound(dsn, batch_id, may_fail=failing)
            words = [worker.wait() for worker in crew]
            # Only one that was just beginning, or reporting at its end, may give up at once; and it says why.
            for word, worker in zip(words, crew, strict=True):
                assert word.startswith("finished") or "OperationalError" in worker.said or "RunInterrupted" in word
        manager_of(dsn).process_batch(batch_id)
        assert_sound(dsn, batch_id, may_fail=failing, is_finished=True)


@pytest.mark.parametrize("most_failed", [None, 0])
def test_the_end_of_a_run_waits_until_the_disk_has_all_of_it(
    server: FaultServer, manager: BatchManager, dsn: str, most_failed: int | None
) -> None:
    class LimitedProcessor(DeclaredProcessor):
        max_failed_items = most_failed

    manager.registry.register(LimitedProcessor)
    batch_id = manager.create_batch("limited", items(50, do={7: "raise"}))
    with session(dsn) as run:
        ((writer,),) = run("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
    os.kill(writer, signal.SIGSTOP)  # which would write down what nobody waits for
    told = manager.process_batch(batch_id)
    server.kill_a_backend(writer)

    kept = manager.get_summary(batch_id)
    assert (kept.status, kept.completed_items, kept.failed_items) == (told.status, 49, 1)
    assert told.status.value == ("completed_with_failures" if most_failed is None else "paused")
    assert all(run.ended_at is not None for run in manager.list_runs(batch_id=batch_id))
    assert_sound(dsn, batch_id, may_fail=[7], is_finished=most_failed is None)


def _kill_a_backend(server: FaultServer, dsn: str, chance: random.Random) -> None:
    with session(dsn) as run:
        backends: list[Any] = sessions_of_workers(run)
    if backends:
        server.kill_a_backend(chance.choice(backends))
