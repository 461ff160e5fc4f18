"""Workers meet each other, and others meet them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from reliable_imports import BatchManager
from tests.faults.checker import assert_sound
from tests.faults.conftest import manager_of
from tests.faults.targets import BATCH_TYPES, items
from tests.faults.workers import workers

Sql = Callable[..., list[tuple[Any, ...]]]


def test_deadlocks_between_workers_lose_nothing(
    manager: BatchManager, dsn: str, sql: Sql, chance: random.Random
) -> None:
    made = items(150)
    for item in made:
        item["locks"] = chance.sample(range(1, 7), 2)
    batch_id = manager.create_batch("own_statement", made)
    with workers(dsn, batch_id, 3) as crew:
        for worker in crew:
            worker.go()
        assert all(worker.wait().startswith("finished") for worker in crew), "\n".join(each.said for each in crew)
    # Whoever met others five times in one run is failed as retryable: that is the promise, and nothing worse.
    unlucky = [item.item_number for item in manager.list_items(batch_id, status="failed") if item.retryable]
    checked = assert_sound(dsn, batch_id, may_fail=unlucky, is_finished=True)
    assert len(checked.failed) < 15
    manager.reprocess_batch(batch_id)
    assert sql("SELECT count(*), count(DISTINCT item_id) FROM written") == [(150, 150)]


def test_a_lock_timeout_fails_its_item_as_retryable(manager: BatchManager, dsn: str, sql: Sql) -> None:
    made = items(60)
    made[19]["locks"] = [3]
    batch_id = manager.create_batch("own_statement", made)
    name = sql("SELECT current_database()")[0][0]
    sql(f"ALTER DATABASE {name} SET lock_timeout = '50ms'")
    sql("BEGIN")
    sql("SELECT FROM locked WHERE id = 3 FOR UPDATE")
    with workers(dsn, batch_id) as (worker,):
        assert worker.go().wait() == "finished completed_with_failures", worker.said
    sql("ROLLBACK")
    assert_sound(dsn, batch_id, may_fail=[20], is_finished=True)
    again = manager.reprocess_batch(batch_id)
    assert_sound(dsn, again.batch_id, is_finished=True)


def test_serialization_failures_lose_nothing(manager: BatchManager, dsn: str, sql: Sql) -> None:
    sql("CREATE SEQUENCE writes")
    sql(
        """CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('writes') % 40 = 0 THEN
                RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
            END IF;
            RETURN NEW; END $$"""
    )
    sql("CREATE TRIGGER meet BEFORE INSERT ON written FOR EACH ROW EXECUTE FUNCTION meet()")
    for batch_type in BATCH_TYPES:
        batch_id = manager.create_batch(batch_type, items(200, first_id=1000 * BATCH_TYPES.index(batch_type)))
        with workers(dsn, batch_id, 2) as crew:
            for worker in crew:
                worker.go()
            assert all(worker.wait().startswith("finished") for worker in crew)
        assert_sound(dsn, batch_id, is_finished=True)


def test_reprocessing_twice_at_once_takes_each_failure_once(manager: BatchManager, dsn: str, sql: Sql) -> None:
    failing = dict.fromkeys(range(1, 100, 3), "raise")
    batch_id = manager.create_batch("mixed", items(120, do=failing))
    manager.process_batch(batch_id)
    found: list[int] = []
    start = threading.Barrier(4)

    def reprocess() -> None:
        start.wait(120)
        found.append(manager_of(dsn).reprocess_batch(batch_id).batch_id)

    threads = [threading.Thread(target=reprocess) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(found) == 4
    for each in {*found, batch_id}:
        total = assert_sound(dsn, each, may_fail=range(1, 121), is_finished=True).total
        assert total == (120 if each == batch_id else len(failing))


def test_migrations_and_reprocessing_beside_the_work_cost_nothing(manager: BatchManager, dsn: str) -> None:
    failing = {5: "raise", 55: "be_refused"}
    batch_id = manager.create_batch("mixed", items(400, do=failing, seconds=0.001))
    with workers(dsn, batch_id, 2) as crew:
        for worker in crew:
            worker.go()
        while any(worker.is_running for worker in crew):
            assert manager_of(dsn).migrate() == []
            again = manager.reprocess_batch(batch_id)
            assert_sound(dsn, again.batch_id, may_fail=range(1, 401))
        assert all(worker.wait().startswith("finished") for worker in crew)
    assert_sound(dsn, batch_id, may_fail=failing, is_finished=True)
