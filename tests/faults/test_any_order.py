"""Whatever is done to batches, in whatever order, the promises hold after each step."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from reliable_imports import BatchFinished
from tests.faults.checker import assert_sound, check
from tests.faults.conftest import manager_of
from tests.faults.targets import BATCH_TYPES, FAILING, items
from tests.faults.waiting import wait_for
from tests.faults.workers import workers


def test_the_promises_hold_in_any_order(dsn: str) -> None:
    class Steps(RuleBasedStateMachine):
        ids = 1

        def __init__(self) -> None:
            super().__init__()
            self.manager = manager_of(dsn)
            self.batches: list[int] = []

        @rule(
            batch_type=st.sampled_from(BATCH_TYPES),
            count=st.integers(0, 130),
            doing=st.dictionaries(st.integers(1, 130), st.sampled_from(FAILING), max_size=5),
        )
        def create(self, batch_type: str, count: int, doing: dict[int, str]) -> None:
            made = items(count, first_id=Steps.ids, do=doing)
            Steps.ids += 1000
            self.batches.append(self.manager.create_batch(batch_type, made))

        @precondition(lambda self: self.batches)
        @rule(data=st.data())
        def process(self, data: Any) -> None:
            self.manager.process_batch(self._any(data))

        @precondition(lambda self: self.batches)
        @rule(data=st.data(), at=st.integers(1, 60))
        def kill_a_worker(self, data: Any, at: int) -> None:
            batch_id = self._any(data)
            with workers(dsn, batch_id, stop_at=at) as (worker,):
                worker.go()
                wait_for(lambda: not worker.is_running or "reached" in worker.lines, "it has come there, or ended")
                worker.kill()

        @precondition(lambda self: self.batches)
        @rule(data=st.data())
        def reprocess(self, data: Any) -> None:
            again = self.manager.create_reprocess_batch(self._any(data))
            if again is not None and again not in self.batches:
                self.batches.append(again)

        @precondition(lambda self: self.batches)
        @rule(data=st.data(), cancels=st.booleans())
        def stop(self, data: Any, cancels: bool) -> None:
            batch_id = self._any(data)
            before = self.manager.get_summary(batch_id).status
            end = self.manager.cancel_batch if cancels else self.manager.pause_batch
            try:
                assert end(batch_id).status in ("cancelled", "paused")
            except BatchFinished:
                assert before.is_final

        @invariant()
        def nothing_is_lost_or_doubled(self) -> None:
            for batch_id in self.batches:
                failed = check(dsn, batch_id).failed
                stored = self.manager.list_items(batch_id, limit=1000)
                deserved = {item.item_number for item in stored if "do" in str(item.source_data)}
                assert_sound(dsn, batch_id, may_fail=deserved)
                assert set(failed) <= deserved
                assert not self.manager.verify(batch_id)[0].problems

        def _any(self, data: Any) -> int:
            return int(data.draw(st.sampled_from(self.batches)))

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Steps,
        settings=settings(
            max_examples=12, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
