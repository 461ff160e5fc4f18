"""Broken engines are caught: a suite that could not fail would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reliable_imports import BatchManager
from tests.faults.checker import assert_sound, check
from tests.faults.mutants import PYTHON_MUTANTS, SQL_MUTANTS, NothingToBreak, break_database
from tests.faults.proxy import Cut, Proxy
from tests.faults.server import end_sessions, sessions_of_workers
from tests.faults.targets import items
from tests.faults.totals import TOTALS
from tests.faults.waiting import wait_for
from tests.faults.workers import workers

Sql = Callable[..., list[tuple[Any, ...]]]

# What a mutant's worker does, by mutant: the batch type, what items do, and what must be seen.
_SCENARIOS: dict[str, tuple[str, dict[int, str], str]] = {
    "effects are committed before the outcome": ("declared", {}, "doubled"),
    "outcomes are committed without the declared writes": ("declared", {}, "lost"),
    "an item is skipped in silence": ("declared", {}, "not completed, and yet were written"),
    "a failed item's writes are kept": ("own_statement", {7: "raise"}, "not completed, and yet were written"),
    "an item's failure undoes its neighbours": ("own_statement", {7: "raise"}, "lost"),
    "trouble of the server is booked on the items": ("own_statement", {}, "no fault of theirs"),
    "an interrupt is booked on the item": ("declared", {7: "interrupt"}, "no fault of theirs"),
    "raw text of errors is kept": ("declared", {7: "be_refused"}, "personal data"),
    "values of sensitive fields are kept": ("declared", {7: "be_refused"}, "personal data"),
    "nobody closes the batch": ("declared", {}, "come to its end"),
    "attempts are misnumbered": ("declared", {}, "numbered on"),
    "all savepoints have one name": ("own_statement", {6: "ask", 7: "misspell"}, "lost"),
    "only what is an Exception fails its item": ("declared", {7: "quit"}, "come to its end"),
    "batches are closed without a lock": ("declared", {}, "come to its end"),
    "a late COMMIT is not waited for": ("own_statement", {}, "come to its end"),
    "nothing is locked and nothing is guarded": ("declared", {}, "doubled"),
    "a run is dead when its time is over": ("declared", {}, "doubled"),
    "names are not qualified": ("own_statement", {7: "hide"}, "not what its items say"),
    # Refused as a whole before the disk is full, so that it is met row by row.
    "a full disk is booked on declared writes": ("declared", {7: "be_refused"}, "no fault of theirs"),
    "runs are not counted": ("declared", {}, "counts of ranges or runs"),
    "ranges are not counted": ("declared", {}, "counts"),
}
_DISK_IS_FULL = ("trouble of the server is booked on the items", "a full disk is booked on declared writes")
# Of the others the batch may stay open, as one does that is paused or interrupted.
_MUST_END = [name for name, (_, _, seen) in _SCENARIOS.items() if seen == "come to its end"]
_DESERVED = ("raise", "be_refused", "misspell", "quit")


def test_every_mutant_has_a_scenario() -> None:
    assert set(_SCENARIOS) == set(PYTHON_MUTANTS) | set(SQL_MUTANTS)


def _play(
    manager: BatchManager, dsn: str, sql: Sql, proxy: Proxy, name: str, mutant: str | None
) -> tuple[int, list[int]]:
    """Work a batch with the scenario of a mutant; return it, and the items that may fail."""
    batch_type, doing, _ = _SCENARIOS[name]
    batch_id = manager.create_batch(batch_type, items(100, do=doing))
    if name in _DISK_IS_FULL:
        _refuse_items_from_60_on_for_want_of_room(sql)
    match name:
        case "nothing is locked and nothing is guarded":
            _pass_a_worker_that_stands(dsn, batch_id)
        case "a run is dead when its time is over":
            beat = "UPDATE reliable_imports.import_runs SET heartbeat_at = heartbeat_at - interval '1 hour'"
            _pass_a_worker_that_stands(dsn, batch_id, lambda: sql(beat))
        case "batches are closed without a lock":
            _end_two_workers_together(dsn, batch_id, mutant)
        case "a late COMMIT is not waited for":
            _forget_a_session(dsn, batch_id, sql, proxy, mutant)
        case _:
            if name == "effects are committed before the outcome":
                cuts = iter([Cut.NONE, Cut.BEFORE])
                proxy.at_commit = lambda query: next(cuts, Cut.NONE) if b"record_chunk" in query else Cut.NONE
            with workers(proxy.dsn(dsn), batch_id, mutant=mutant) as (worker,):
                worker.go().wait()
                print(worker.said)
    return batch_id, [number for number, what in doing.items() if what in _DESERVED]


def _refuse_items_from_60_on_for_want_of_room(sql: Sql) -> None:
    sql(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
    )
    sql(
        "CREATE TRIGGER no_room BEFORE INSERT ON written FOR EACH ROW WHEN (NEW.item_id >= 60) "
        "EXECUTE FUNCTION no_room()"
    )


def _pass_a_worker_that_stands(dsn: str, batch_id: int, meanwhile: Callable[[], object] = lambda: None) -> None:
    with workers(dsn, batch_id, stop_at=20) as (first,):
        first.go().wait_for_line("reached")
        meanwhile()
        with workers(dsn, batch_id) as (second,):
            second.go().wait()
        first.go().wait()


def _end_two_workers_together(dsn: str, batch_id: int, mutant: str | None) -> None:
    """Each has its range done before either commits, as far as the engine lets them."""
    with (
        workers(dsn, batch_id, stop_at=20, mutant=mutant) as (first,),
        workers(dsn, batch_id, stop_at=70, mutant=mutant) as (second,),
    ):
        for worker in (first, second):
            worker.go().wait_for_line("reached")
        for worker in (first, second):
            worker.go()
            wait_for(lambda worker=worker: "closing" in worker.lines or not worker.is_running, "it closes the batch")
        for worker in (first, second):
            worker.go_if_running()
            worker.wait()


def _forget_a_session(dsn: str, batch_id: int, sql: Sql, proxy: Proxy, mutant: str | None) -> None:
    """A worker comes back while its old session still holds what it was at."""
    with workers(proxy.dsn(dsn), batch_id, stop_at=77, mutant=mutant) as (worker,):
        worker.go().wait_for_line("reached")
        assert proxy.forget_clients() == 1
        (old,) = sessions_of_workers(sql)
        worker.go()
        waits = "wait_event_type = 'Lock'"
        wait_for(lambda: sessions_of_workers(sql, waits) or not worker.is_running, "the worker is back and waits")
        end_sessions(sql, f"pid = {old}")
        wait_for(lambda: worker.lines.count("reached") == 2 or not worker.is_running, "the item is tried again")
        worker.go_if_running()
        worker.wait()


@pytest.mark.parametrize("name", _SCENARIOS)
def test_the_checker_catches(manager: BatchManager, dsn: str, sql: Sql, proxy: Proxy, name: str) -> None:
    break_database(dsn, name)
    batch_id, may_fail = _play(manager, dsn, sql, proxy, name, name)
    problems = "\n".join(check(dsn, batch_id, may_fail=may_fail, is_finished=name in _MUST_END).problems)
    assert _SCENARIOS[name][2] in problems, f"not caught; seen was: {problems or 'nothing'}"
    TOTALS.add("mutants caught")


@pytest.mark.parametrize("name", _SCENARIOS)
def test_the_sound_engine_passes_the_same_scenario(
    manager: BatchManager, dsn: str, sql: Sql, proxy: Proxy, name: str
) -> None:
    batch_id, may_fail = _play(manager, dsn, sql, proxy, name, None)
    assert_sound(dsn, batch_id, may_fail=may_fail, is_finished=name in _MUST_END)


def test_a_mutant_that_finds_nothing_to_break_says_so(dsn: str) -> None:
    break_database(dsn, "runs are not counted")
    with pytest.raises(NothingToBreak):
        break_database(dsn, "runs are not counted")
