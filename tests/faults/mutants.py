"""Broken engines. Each breaks one rule that the promises rest on, in a worker process, while it runs.

They show that the checker can see what it is there to see. A mutant that finds nothing to break raises, so that it
cannot quietly become a sound engine when the code around it changes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2

from reliable_imports.engine import begin, end, run
from reliable_imports.engine.isolation import as_columns, item_writes, transaction
from reliable_imports.engine.isolation.declared_writes import DeclaredWrites
from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.engine.isolation.savepoints import Savepoints
from reliable_imports.engine.isolation.transaction import ChunkTransaction
from reliable_imports.engine.recovery import reconnection
from reliable_imports.engine.work import attempt, chunk, diagnosis, worker
from reliable_imports.engine.work.claims import Claim
from reliable_imports.engine.work.recorder import CompletedItems, Recorder
from reliable_imports.items import failure
from reliable_imports.postgres import error_sorting as faults
from reliable_imports.postgres.connect import BEGIN


class NothingToBreak(Exception):
    """The code that a mutant breaks is no longer there: adapt the mutant to what stands in its place."""


def apply_mutant(name: str) -> None:
    """Break this process's engine."""
    if name in PYTHON_MUTANTS:
        PYTHON_MUTANTS[name]()
    elif name not in SQL_MUTANTS:
        raise ValueError(f"no mutant {name!r}")


def break_database(dsn: str, name: str) -> None:
    """Break the functions of one database, for mutants of SQL."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        for function, old, new in SQL_MUTANTS.get(name, ()):
            cursor.execute(
                "SELECT pg_get_functiondef(pg_proc.oid) FROM pg_proc "
                "WHERE proname = %s AND pronamespace = 'reliable_imports'::regnamespace",
                [function],
            )
            found = cursor.fetchone()
            cursor.execute(_replaced(found[0] if found else "", old, new))


def _replaced(text: str, old: str, new: str) -> str:
    if old not in text:
        raise NothingToBreak(f"{old!r} is not in what was to be broken")
    return text.replace(old, new)


def _break_method(owner: Any, name: str, broken: Any) -> None:
    if not hasattr(owner, name):
        raise NothingToBreak(f"{owner.__name__} has no {name}")
    setattr(owner, name, broken)


def _break_query(name: str, old: str, new: str) -> None:
    end._WORK[name] = _replaced(end._WORK[name], old, new)  # type: ignore[index]


def _commit_effects_first() -> None:
    sound = Recorder.commit

    def commit(self: Recorder, cursor: Any, claim: Claim, *told: Any) -> None:
        *others, pending = told
        cursor.execute(f"{pending}COMMIT; {BEGIN}; SELECT txid_current()")
        sound(self, cursor, claim._replace(transaction_id=cursor.fetchone()[0]), *others)

    _break_method(Recorder, "commit", commit)


def _commit_outcomes_first() -> None:
    sound = DeclaredWrites.flush

    def flush(self: DeclaredWrites) -> Any:
        self._waiting = []
        return sound(self)

    _break_method(DeclaredWrites, "flush", flush)


def _skip_an_item() -> None:
    sound = Recorder.commit

    def commit(self: Recorder, cursor: Any, claim: Claim, tried: Any, *more: Any) -> None:
        sound(self, cursor, claim, tried[:-2] + tried[-1:] if len(tried) > 2 else tried, *more)

    _break_method(Recorder, "commit", commit)


def _keep_failed_writes() -> None:
    def undo(self: Savepoints, item: ItemRecord) -> None:
        item.sent = None
        self.close()

    _break_method(Savepoints, "undo", undo)


def _undo_neighbours_too() -> None:
    sound = Savepoints.undo

    def undo(self: Savepoints, item: ItemRecord) -> None:
        if self._open is not None:
            self._open.sent = []
        sound(self, item)

    _break_method(Savepoints, "undo", undo)


def _blame_items_for_everything() -> None:
    for module in (faults, transaction, item_writes, as_columns, worker, reconnection, begin, run):
        _break_method(module, "fault_of", lambda error, connection: faults.Fault.ITEM)


def _swallow_interrupts() -> None:
    for module in (faults, chunk, run):
        _break_method(module, "is_item_fault", lambda error: True)


def _keep_raw_text() -> None:
    sound = failure.server_failure

    def server_failure(*facts: Any, **named: Any) -> failure.Failure:
        made = sound(*facts, **named)
        return failure.Failure(
            **{
                **{field: getattr(made, field) for field in made.__dataclass_fields__},
                "message": f"{named['message']} {named['detail']}",
            }
        )

    for module in (failure, diagnosis):
        _break_method(module, "server_failure", server_failure)
    _break_method(failure, "without_secrets", lambda value, source_data, sensitive: value)


def _keep_sensitive_values() -> None:
    _break_method(attempt.Attempt, "hide", lambda self, sensitive: None)


def _name_all_savepoints_alike() -> None:
    _break_method(ChunkTransaction, "new_savepoint", lambda self: "item")


def _catch_exceptions_only() -> None:
    for module in (faults, chunk, run):
        _break_method(module, "is_item_fault", lambda error: isinstance(error, Exception))


def _close_within_the_chunk() -> None:
    """Each of two workers that end together sees the other's range open, and neither takes the batch's row first."""
    sound = Recorder.commit

    def commit(self: Recorder, cursor: Any, *more: Any) -> None:
        sound(self, _ClosingCursor(cursor, self._batch.id), *more)

    _break_method(Recorder, "commit", commit)
    _break_method(run, "close_batch", lambda connection, audit_log: False)


class _ClosingCursor:
    def __init__(self, cursor: Any, batch_id: int) -> None:
        self._cursor = cursor
        self._batch_id = batch_id

    def mogrify(self, statement: str, parameters: Any) -> Any:
        return self._cursor.mogrify(statement, parameters)

    def execute(self, statement: str) -> None:
        self._cursor.execute(_replaced(statement, "; COMMIT", ""))
        self._cursor.execute(end._WORK["close_batch"], {"batch_id": self._batch_id})
        print("closing", flush=True)
        sys.stdin.readline()
        self._cursor.execute("COMMIT")


def _do_not_wait_for_a_late_commit() -> None:
    _break_query("wait_for_range", "FOR UPDATE", "")


def _never_close() -> None:
    _break_query("close_batch", "batch.status = 'processing'", "batch.status = 'nowhere'")


def _number_attempts_anew() -> None:
    sound = CompletedItems.__init__

    def numbered_anew(self: CompletedItems, *arguments: Any, **options: Any) -> None:
        sound(self, *arguments, **options)
        self.columns["tries"] = self.columns["tries"].replace("1", "11")

    _break_method(CompletedItems, "__init__", numbered_anew)


PYTHON_MUTANTS: dict[str, Callable[[], None]] = {
    "effects are committed before the outcome": _commit_effects_first,
    "outcomes are committed without the declared writes": _commit_outcomes_first,
    "an item is skipped in silence": _skip_an_item,
    "a failed item's writes are kept": _keep_failed_writes,
    "an item's failure undoes its neighbours": _undo_neighbours_too,
    "trouble of the server is booked on the items": _blame_items_for_everything,
    "an interrupt is booked on the item": _swallow_interrupts,
    "raw text of errors is kept": _keep_raw_text,
    "values of sensitive fields are kept": _keep_sensitive_values,
    "all savepoints have one name": _name_all_savepoints_alike,
    "only what is an Exception fails its item": _catch_exceptions_only,
    "batches are closed without a lock": _close_within_the_chunk,
    "a late COMMIT is not waited for": _do_not_wait_for_a_late_commit,
    "nobody closes the batch": _never_close,
    "attempts are misnumbered": _number_attempts_anew,
}

_NO_FENCE = (
    ("record_chunk_v1", "AND claimed.next_item = record_chunk_v1.first_item", ""),
    ("record_chunk_v1", "AND claimed.is_open", ""),
    ("record_chunk_v1", "IF stored <> completed_n THEN", "IF false THEN"),
    (
        "record_chunk_v1",
        ") AS completed;",
        ") AS completed ON CONFLICT DO NOTHING;",
    ),
)

SQL_MUTANTS: dict[str, tuple[tuple[str, str, str], ...]] = {
    # A plain SELECT where a row should be locked, and no fence behind it.
    "nothing is locked and nothing is guarded": (("claim_chunk_v1", "FOR UPDATE SKIP LOCKED", ""), *_NO_FENCE),
    # Instead of a lock, whose owner lives as long as it does: a lease, which a slow owner outlives.
    "a run is dead when its time is over": (
        (
            "claim_chunk_v1",
            "AND open_range.is_open",
            """AND open_range.is_open
            AND NOT EXISTS (
                SELECT FROM reliable_imports.import_runs AS owner
                WHERE owner.batch_id = the_batch
                    AND owner.range_number = open_range.range_number
                    AND owner.id <> the_run
                    AND reliable_imports.run_is_live_v1(owner.ended_at, owner.heartbeat_at)
            )""",
        ),
        ("claim_chunk_v1", "FOR UPDATE SKIP LOCKED", ""),
        *_NO_FENCE,
    ),
    "names are not qualified": (
        ("record_chunk_v1", "INSERT INTO reliable_imports.import_attempts", "INSERT INTO import_attempts"),
    ),
    "a full disk is booked on declared writes": (("fault_of_v1", "'08', '53', '58'", "'08', '58'"),),
    "runs are not counted": (("record_chunk_v1", "completed = completed + completed_n", "completed = completed"),),
    "ranges are not counted": (
        ("record_chunk_v1", "completed = claimed.completed + completed_n", "completed = claimed.completed"),
    ),
}
