"""The server crashes and comes back; workers live through it."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from reliable_imports import BatchManager
from tests.faults.checker import assert_sound
from tests.faults.conftest import More, manager_of
from tests.faults.server import FaultServer, session, sessions_of_workers
from tests.faults.targets import BATCH_TYPES, items
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


def _kill_a_backend(server: FaultServer, dsn: str, chance: random.Random) -> None:
    with session(dsn) as run:
        backends: list[Any] = sessions_of_workers(run)
    if backends:
        server.kill_a_backend(chance.choice(backends))
