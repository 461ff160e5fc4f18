"""Promises 2 and 3: an item's writes and outcome go together, and one bad item costs no other."""

from __future__ import annotations

from typing import Any

import pytest

from reliable_imports import BatchManager, BatchStatus
from tests.core.conftest import Sql
from tests.core.doubles import ACTIONS

pytestmark = [pytest.mark.promise(2), pytest.mark.promise(3)]

MISBEHAVIOUR = {
    "raise": ("ValueError", "it is broken"),
    "raise unprintable": ("_Unprintable", ""),
    "exit": ("SystemExit", ""),
    "generator exit": ("GeneratorExit", ""),
    "library timeout": ("_LibraryTimeout", "too long"),
    "fork": ("ValueError", "it has forked"),
    "recurse": ("RecursionError", "recursion"),
    "commit": ("ContextMisuse", "COMMIT is not for a processor"),
    "hidden commit": ("ContextMisuse", "COMMIT is not for a processor"),
    "rollback": ("ContextMisuse", "ROLLBACK is not for a processor"),
    "savepoint": ("ContextMisuse", "SAVEPOINT is not for a processor"),
    "syntax error": ("SyntaxError", "SELEKT"),
    "bad statement": ("UndefinedTable", "nowhere"),
    "cast": ("InvalidTextRepresentation", "integer"),
    "swallow": ("ContextMisuse", "an SQL error (CheckViolation) was caught and ignored"),
    "nul": ("ValueError", "NUL"),
    "surrogate": ("UnicodeEncodeError", "surrogates"),
    "unadaptable": ("ProgrammingError", "can't adapt"),
    "thread": ("ContextMisuse", "thread"),
    "forked context": ("RuntimeError", "the fork was refused"),
    "return text": ("ItemError", "process_item returned str"),
    "return set": ("ItemError", "cannot be kept as JSON"),
    "return too much": ("ItemError", "what process_item returned holds 17000011 bytes of JSON"),
}


@pytest.mark.parametrize("batch_type", ["notes", "immediate"])
@pytest.mark.parametrize("do", [name for name in MISBEHAVIOUR if not name.startswith("return")])
def test_a_misbehaving_item_fails_alone(manager: BatchManager, sql: Sql, do: str, batch_type: str) -> None:
    for bad in (1, 4, 7):  # the first one, one in the middle, and the last one
        items = [{"id": number, "text": "ok", **({"do": do} if number == bad else {})} for number in range(1, 8)]

        batch_id = manager.create_batch(batch_type, items)
        summary = manager.process_batch(batch_id)

        assert summary.status is BatchStatus.COMPLETED_WITH_FAILURES
        assert (summary.completed_items, summary.failed_items) == (6, 1)
        (failed,) = manager.list_items(batch_id, status="failed")
        error_type, words = MISBEHAVIOUR[do]
        assert (failed.item_number, failed.error_type) == (bad, error_type)
        assert words in (failed.error_message or "")
        written = sql("SELECT item FROM writes WHERE batch = %s ORDER BY 1", batch_id)
        assert [number for (number,) in written] == [number for number in range(1, 8) if number != bad]


@pytest.mark.parametrize("do", [name for name in MISBEHAVIOUR if name.startswith("return")])
def test_a_result_that_cannot_be_kept_fails_its_item(manager: BatchManager, do: str) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "ok"}, {"id": 2, "text": "ok", "do": do}])
    manager.process_batch(batch_id)

    (failed,) = manager.list_items(batch_id, status="failed")
    error_type, words = MISBEHAVIOUR[do]
    assert failed.error_type == error_type
    assert words in (failed.error_message or "")


def test_every_misbehaviour_in_one_batch(manager: BatchManager, sql: Sql) -> None:
    items: list[dict[str, Any]] = []
    for do in MISBEHAVIOUR:
        items += [{"id": len(items), "text": "ok"}, {"id": len(items) + 1, "text": "ok", "do": do}]

    summary = manager.process_batch(manager.create_batch("notes", items))

    assert (summary.completed_items, summary.failed_items) == (len(MISBEHAVIOUR), len(MISBEHAVIOUR))
    assert sql("SELECT count(*) FROM notes") == [(len(MISBEHAVIOUR),)]


@pytest.mark.parametrize("do", ["set search_path", "set role", "set read only", "temporary table"])
def test_what_an_item_leaves_in_the_session_does_not_reach_the_next(manager: BatchManager, do: str) -> None:
    items = [{"id": number, "text": "ok"} for number in range(1, 120)]
    items[10]["do"] = do
    summary = manager.process_batch(manager.create_batch("immediate", items))

    # These fail the item itself, whose next statement finds no table, or may not write to it.
    assert summary.failed_items == (1 if do in ("set search_path", "set role") else 0)
    assert summary.completed_items == 119 - summary.failed_items


@pytest.mark.parametrize("bad", [0, 1, 25, 48, 49, 50, 99])
def test_a_refused_declared_write_fails_its_item_alone(manager: BatchManager, sql: Sql, bad: int) -> None:
    items = [{"id": number, "text": "bad" if number == bad else "ok"} for number in range(100)]

    batch_id = manager.create_batch("notes", items)
    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (99, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.stage, failed.error_type) == (bad + 1, "write", "CheckViolation")
    assert sql("SELECT count(*) FROM notes") == [(99,)]


def test_the_writes_of_one_item_are_undone_together(manager: BatchManager, sql: Sql) -> None:
    # The upsert is refused after other statements of the item were accepted.
    summary = manager.process_batch(manager.create_batch("immediate", [{"id": 1, "text": "bad"}, {"id": 2}]))

    assert (summary.completed_items, summary.failed_items) == (1, 1)
    assert sql("SELECT item FROM writes") == [(2,)]


def test_a_deferred_constraint_hits_its_own_item(manager: BatchManager, sql: Sql) -> None:
    items = [
        {"id": 1, "text": "a", "later": 1},
        {"id": 2, "text": "b", "later": 99},
        {"id": 3, "text": "c", "later": 2},
    ]

    batch_id = manager.create_batch("notes", items)
    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (2, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (2, "ForeignKeyViolation")
    assert sql("SELECT id FROM notes ORDER BY 1") == [(1,), (3,)]


def test_declared_writes_happen_in_item_order(manager: BatchManager, sql: Sql) -> None:
    items = [{"id": 1, "text": f"version {number}"} for number in range(120)]
    manager.process_batch(manager.create_batch("notes", items))

    assert sql("SELECT text FROM notes") == [("version 119",)]


def test_a_batch_in_which_nothing_completes_is_failed(manager: BatchManager) -> None:
    summary = manager.process_batch(
        manager.create_batch("notes", [{"id": 1, "text": "bad"}, {"id": 2, "valid": False}])
    )

    assert summary.status is BatchStatus.FAILED
    assert summary.failed_items == 2


def test_skipped_items_are_no_failures_and_leave_no_writes(manager: BatchManager, sql: Sql) -> None:
    items = [
        {"id": 1, "text": "ok", "do": "skip"},
        {"id": 2, "text": "ok", "do": "write and skip"},
        {"id": 3, "text": "ok"},
    ]
    batch_id = manager.create_batch("notes", items)
    summary = manager.process_batch(batch_id)

    assert (summary.status, summary.completed_items, summary.skipped_items) == (BatchStatus.COMPLETED, 1, 2)
    assert [item.skip_reason for item in manager.list_items(batch_id, status="skipped")] == ["nothing to do", "not now"]
    assert sql("SELECT count(*) FROM places WHERE id = 77") == [(0,)]


def test_an_interrupt_stops_the_run_and_leaves_the_rest_pending(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(item: Any, ctx: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(ACTIONS, "interrupt", interrupt)
    items = [{"id": number, "text": "ok"} for number in range(200)]
    items[120]["do"] = "interrupt"
    batch_id = manager.create_batch("notes", items)

    with pytest.raises(KeyboardInterrupt):
        manager.process_batch(batch_id)

    interrupted = manager.get_summary(batch_id)
    assert (interrupted.status, interrupted.failed_items) == (BatchStatus.PROCESSING, 0)
    # The chunk before may be in flight still; whether it comes to be committed is a matter of time.
    completed = [item.item_number for item in manager.list_items(batch_id, status="completed", limit=200)]
    assert 0 < len(completed) <= 120
    assert interrupted.open_items == 200 - len(completed)
    assert sql("SELECT item FROM writes ORDER BY 1") == [(number,) for number in completed]
    assert manager.list_runs(batch_id=batch_id)[0].state == "interrupted"

    monkeypatch.setitem(ACTIONS, "interrupt", lambda item, ctx: None)
    assert manager.process_batch(batch_id).status is BatchStatus.COMPLETED
    assert [run.mode for run in manager.list_runs(batch_id=batch_id)] == ["import", "resume"]


def test_a_finished_batch_is_not_touched_again(manager: BatchManager) -> None:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "ok"}, {"id": 2, "text": "bad"}])
    first = manager.process_batch(batch_id)

    assert manager.process_batch(batch_id) == first
    assert len(manager.list_runs(batch_id=batch_id)) == 1
