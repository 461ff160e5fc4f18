"""Broken engines are caught: a suite that could not fail would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reliable_imports import BatchManager
from tests.faults.checker import assert_sound, check
from tests.faults.mutants import PYTHON_MUTANTS, SQL_MUTANTS, NothingToBreak, break_database
from tests.faults.proxy import Cut, Proxy
from tests.faults.targets import items
from tests.faults.totals import TOTALS
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
    "nobody closes the batch": ("declared", {}, "come to its end"),
    "attempts are misnumbered": ("declared", {}, "numbered on"),
    "nothing is locked and nothing is guarded": ("declared", {}, "doubled"),
    "names are not qualified": ("own_statement", {7: "hide"}, "not what its items say"),
    "a full disk is booked on declared writes": ("declared", {}, "no fault of theirs"),
    "runs are not counted": ("declared", {}, "counts of ranges or runs"),
    "ranges are not counted": ("declared", {}, "counts"),
}
_DISK_IS_FULL = ("trouble of the server is booked on the items", "a full disk is booked on declared writes")


def test_every_mutant_has_a_scenario() -> None:
    assert set(_SCENARIOS) == set(PYTHON_MUTANTS) | set(SQL_MUTANTS)


def _play(
    manager: BatchManager, dsn: str, sql: Sql, proxy: Proxy, name: str, mutant: str | None
) -> tuple[int, list[int]]:
    """Work a batch with the scenario of a mutant; return it, and the items that may fail."""
    batch_type, doing, _ = _SCENARIOS[name]
    batch_id = manager.create_batch(batch_type, items(100, do=doing))
    if name in _DISK_IS_FULL:
        sql(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
        )
        sql(
            "CREATE TRIGGER no_room BEFORE INSERT ON written FOR EACH ROW WHEN (NEW.item_id = 60) "
            "EXECUTE FUNCTION no_room()"
        )
    if name == "nothing is locked and nothing is guarded":
        with workers(dsn, batch_id, stop_at=20) as (first,):
            first.go().wait_for_line("reached")
            with workers(dsn, batch_id) as (second,):
                second.go().wait()
            first.go().wait()
        return batch_id, []
    if name == "effects are committed before the outcome":
        cuts = iter([Cut.NONE, Cut.BEFORE])
        proxy.at_commit = lambda query: next(cuts, Cut.NONE) if b"record_chunk" in query else Cut.NONE
        with workers(proxy.dsn(dsn), batch_id, mutant=mutant) as (worker,):
            worker.go().wait()
        return batch_id, []
    with workers(dsn, batch_id, mutant=mutant) as (worker,):
        worker.go().wait()
        print(worker.said)
    return batch_id, [number for number, what in doing.items() if what in ("raise", "be_refused")]


@pytest.mark.parametrize("name", _SCENARIOS)
def test_the_checker_catches(manager: BatchManager, dsn: str, sql: Sql, proxy: Proxy, name: str) -> None:
    break_database(dsn, name)
    batch_id, may_fail = _play(manager, dsn, sql, proxy, name, name)
    # A batch that is paused or interrupted is not over, and nothing is wrong with that.
    is_finished = name == "nobody closes the batch"
    problems = "\n".join(check(dsn, batch_id, may_fail=may_fail, is_finished=is_finished).problems)
    assert _SCENARIOS[name][2] in problems, f"not caught; seen was: {problems or 'nothing'}"
    TOTALS.add("mutants caught")


@pytest.mark.parametrize("name", _SCENARIOS)
def test_the_sound_engine_passes_the_same_scenario(
    manager: BatchManager, dsn: str, sql: Sql, proxy: Proxy, name: str
) -> None:
    batch_id, may_fail = _play(manager, dsn, sql, proxy, name, None)
    assert_sound(dsn, batch_id, may_fail=may_fail, is_finished=name == "nobody closes the batch")


def test_a_mutant_that_finds_nothing_to_break_says_so(dsn: str) -> None:
    break_database(dsn, "runs are not counted")
    with pytest.raises(NothingToBreak):
        break_database(dsn, "runs are not counted")
