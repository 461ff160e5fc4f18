"""The network fails, also between a COMMIT and its answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from reliable_imports import BatchManager
from tests.faults.checker import assert_sound
from tests.faults.conftest import FREEZING_TESTS, More
from tests.faults.proxy import Cut, Proxy
from tests.faults.server import end_sessions, sessions_of_workers
from tests.faults.targets import BATCH_TYPES, items
from tests.faults.totals import TOTALS
from tests.faults.waiting import wait_for
from tests.faults.workers import workers

pytestmark = [pytest.mark.promise(2), pytest.mark.promise(5)]

Sql = Callable[..., list[tuple[Any, ...]]]

_IN_A_BATCH = 100


class _Cutter:
    """Cuts so many COMMITs of chunks, at most two in a row, for an item that costs many connections is set aside."""

    def __init__(self, chance: random.Random, kinds: list[Cut], cuts: int) -> None:
        self._chance = chance
        self._kinds = kinds
        self._left = cuts
        self._in_a_row = 0

    def __call__(self, query: bytes) -> Cut:
        if b"record_chunk" not in query:
            return Cut.NONE
        if not self._left or self._in_a_row == 2 or self._chance.random() < 0.4:
            self._in_a_row = 0
            return Cut.NONE
        self._left -= 1
        self._in_a_row += 1
        return self._chance.choice(self._kinds)


@pytest.mark.parametrize("batch_type", BATCH_TYPES)
def test_cut_commits_lose_and_double_nothing(
    manager: BatchManager, dsn: str, proxy: Proxy, chance: random.Random, more_rounds: More, batch_type: str
) -> None:
    failing = {7: "raise", 60: "be_refused"}
    before = TOTALS.counts["cuts"]
    batches = 0
    while more_rounds("cuts", TOTALS.counts["cuts"] - before, len(BATCH_TYPES)):
        batch_id = manager.create_batch(batch_type, items(200, first_id=1 + 1000 * batches, do=failing))
        batches += 1
        proxy.at_commit = _Cutter(chance, [Cut.BEFORE, Cut.DURING, Cut.AFTER], _IN_A_BATCH)
        with workers(proxy.dsn(dsn), batch_id) as (worker,):
            assert worker.go().wait().startswith("finished"), worker.said
        checked = assert_sound(dsn, batch_id, may_fail=failing, is_finished=True)
        assert checked.failed == tuple(failing)


@pytest.mark.parametrize("kind", [Cut.BEFORE, Cut.DURING, Cut.AFTER])
@pytest.mark.parametrize("batch_type", BATCH_TYPES)
def test_every_single_commit_may_be_the_one_that_is_cut(
    manager: BatchManager, dsn: str, sql: Sql, proxy: Proxy, kind: Cut, batch_type: str
) -> None:
    for position in range(8):  # those of the run's beginning and end, too
        batch_id = manager.create_batch(batch_type, items(60, first_id=1 + 100 * position))
        seen = iter(range(10_000))

        def at_commit(query: bytes, seen: Any = seen, position: int = position) -> Cut:
            return kind if next(seen) == position else Cut.NONE

        with workers(proxy.dsn(dsn), batch_id) as (worker,):
            proxy.at_commit = at_commit
            word = worker.go().wait()
        assert_sound(dsn, batch_id)
        runs = sql(f"SELECT count(*) FROM reliable_imports.import_runs WHERE batch_id = {batch_id}")
        assert runs in ([(0,)], [(1,)]), "a run that did not know whether it had begun stands twice"
        if not word.startswith("finished"):
            # At the very beginning or end of a run; never between its chunks, where it comes back.
            assert "RunInterrupted" in word or "OperationalError" in worker.said, worker.said
        manager.process_batch(batch_id)
        assert_sound(dsn, batch_id, is_finished=True)


@pytest.mark.parametrize("batch_type", BATCH_TYPES)
def test_broken_connections_in_the_middle_of_a_chunk_cost_nothing(
    manager: BatchManager, dsn: str, proxy: Proxy, batch_type: str
) -> None:
    batch_id = manager.create_batch(batch_type, items(200))
    with workers(proxy.dsn(dsn), batch_id, stop_at=77) as (worker,):
        worker.go().wait_for_line("reached")
        assert proxy.cut() == 1
        worker.go()  # from where it stopped; it comes there again when the chunk is replayed
        wait_for(lambda: worker.lines.count("reached") == 2, "the item is tried again")
        worker.go()
        assert worker.wait() == "finished completed", worker.said
    assert_sound(dsn, batch_id, is_finished=True)


@pytest.mark.parametrize("batch_type", BATCH_TYPES)
@pytest.mark.parametrize("dies", [False, True], ids=["comes back", "dies"])
def test_a_worker_behind_a_frozen_network_writes_nothing_late(
    manager: BatchManager,
    dsn: str,
    sql: Sql,
    proxy: Proxy,
    chance: random.Random,
    more_rounds: More,
    dies: bool,
    batch_type: str,
) -> None:
    rounds = 0
    while more_rounds("freezes", rounds, FREEZING_TESTS):
        batch_id = manager.create_batch(batch_type, items(300, first_id=1 + 1000 * rounds))
        rounds += 1
        with workers(proxy.dsn(dsn), batch_id, stop_at=chance.randint(1, 300)) as (worker,):
            worker.go().wait_for_line("reached")
            proxy.freeze()
            worker.go()
            manager.process_batch(batch_id)
            assert assert_sound(dsn, batch_id).open > 0, "a range was taken from a session that is alive"
            if dies:
                worker.kill()
            end_sessions(sql)
            wait_for(lambda: not sessions_of_workers(sql), "the server's side is gone")
            manager.process_batch(batch_id)
            assert_sound(dsn, batch_id, is_finished=True)
            proxy.thaw()
            if not dies:
                assert worker.wait() == "finished completed", worker.said
        assert_sound(dsn, batch_id, is_finished=True)


@pytest.mark.parametrize("batch_type", BATCH_TYPES)
def test_a_session_that_outlives_its_connection_ends_the_wait(
    manager: BatchManager, dsn: str, sql: Sql, proxy: Proxy, batch_type: str
) -> None:
    """The client's side broke, the server has not heard of it: its transaction still holds the range."""
    batch_id = manager.create_batch(batch_type, items(200))
    with workers(proxy.dsn(dsn), batch_id, stop_at=77) as (worker,):
        worker.go().wait_for_line("reached")
        assert proxy.forget_clients() == 1
        (old,) = sessions_of_workers(sql)
        worker.go()
        # It comes back and must not take the batch for done while its own old session holds a part of it.
        waits = "wait_event_type = 'Lock'"
        wait_for(lambda: sessions_of_workers(sql, waits) or not worker.is_running, "the worker is back and waits")
        assert_sound(dsn, batch_id)
        assert worker.is_running, worker.said
        end_sessions(sql, f"pid = {old}")
        wait_for(lambda: worker.lines.count("reached") == 2 or not worker.is_running, "the item is tried again")
        worker.go()
        assert worker.wait() == "finished completed", worker.said
    assert_sound(dsn, batch_id, is_finished=True)
