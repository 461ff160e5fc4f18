"""Runs of Dagster are cancelled and killed in the middle of a batch, and the next run goes on."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import BatchManager
from tests.faults.checker import assert_sound
from tests.faults.conftest import More
from tests.faults.dagster_runs import DagsterRun, Launcher, launcher
from tests.faults.targets import BATCH_TYPES, items
from tests.faults.totals import TOTALS
from tests.faults.waiting import wait_for

Sql = Callable[..., list[tuple[Any, ...]]]

KILLED, CANCELLED = ENDS = ("dagster runs killed", "dagster runs cancelled")
WAYS = ("job execute", "webserver")
_RUNS = "SELECT outcome FROM reliable_imports.import_runs WHERE batch_id = %s ORDER BY id"


def _launch_and_wait(dagster: Launcher, sql: Sql, batch_type: str, batch_id: int) -> DagsterRun:
    """Launch a run, and wait until it works on the batch, or is over."""
    before = len(sql(_RUNS, batch_id))
    run = dagster.launch(batch_type, batch_id)
    wait_for(lambda: len(sql(_RUNS, batch_id)) > before or run.is_over, "the run works on the batch")
    return run


@pytest.mark.parametrize("way", WAYS)
def test_killed_and_cancelled_runs_lose_and_double_nothing(
    manager: BatchManager, dsn: str, sql: Sql, chance: random.Random, more_rounds: More, tmp_path: Path, way: str
) -> None:
    failing = {7: "raise", 60: "be_refused"}
    done: Counter[str] = Counter()
    batches = 0

    def wanted() -> list[str]:
        return [end for end in ENDS if more_rounds(end, done[end], len(WAYS))]

    with launcher(way, dsn, tmp_path / "dagster", sql) as dagster:
        while wanted():
            batch_type = BATCH_TYPES[batches % len(BATCH_TYPES)]
            made = items(200, first_id=1 + 1000 * batches, do=failing, seconds=0.02)
            batch_id = manager.create_batch(batch_type, made)
            batches += 1
            while wanted() and manager.get_summary(batch_id).open_items:
                run = _launch_and_wait(dagster, sql, batch_type, batch_id)
                time.sleep(chance.uniform(0, 1.5))
                if run.is_over:  # it was faster
                    continue
                end = chance.choice(wanted())
                if end == KILLED:
                    run.kill()
                else:
                    run.cancel()
                    # In the books at once: nobody has to wait until a heartbeat is too old.
                    assert sql(_RUNS, batch_id)[-1] == ("interrupted",) or not manager.get_summary(batch_id).open_items
                assert_sound(dsn, batch_id, may_fail=failing)
                done[end] += 1
                TOTALS.add(end)
            manager.process_batch(batch_id)
            checked = assert_sound(dsn, batch_id, may_fail=failing, is_finished=True)
            assert checked.failed == tuple(failing)
