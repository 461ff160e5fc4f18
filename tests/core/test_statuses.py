"""The table of allowed moves, compared with what the queries do."""

from __future__ import annotations

import re
from contextlib import closing
from uuid import uuid4

import psycopg2
import pytest

from reliable_imports import BatchManager, BatchStatus
from reliable_imports.postgres.program import this_program
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import (
    MOVES_OF_A_BATCH,
    MOVES_OF_A_RANGE,
    MOVES_OF_A_RUN,
    MOVES_OF_A_SUSPECT,
    Move,
)
from tests.core.conftest import Sql

pytestmark = pytest.mark.promise(6)

WORK = load("work.sql")


def batch_in(manager: BatchManager, sql: Sql, status: BatchStatus) -> int:
    """A batch of two items in the status, made in the way in which users make it."""
    texts = {
        BatchStatus.COMPLETED: ("ok", "ok"),
        BatchStatus.COMPLETED_WITH_FAILURES: ("ok", "bad"),
        BatchStatus.FAILED: ("bad", "bad"),
    }.get(status, ("ok", "ok"))
    batch_id = manager.create_batch("notes", [{"id": number, "text": text} for number, text in enumerate(texts)])
    if status is BatchStatus.PROCESSING:
        sql(WORK["start_batch"].replace("%(batch_id)s", str(batch_id)))
    elif status is BatchStatus.PAUSED:
        manager.pause_batch(batch_id)
    elif status is BatchStatus.CANCELLED:
        manager.cancel_batch(batch_id)
    elif status is not BatchStatus.PENDING:
        manager.process_batch(batch_id)
    assert manager.get_summary(batch_id).status is status
    return batch_id


ALL_MOVES = [*MOVES_OF_A_BATCH, *MOVES_OF_A_RUN, *MOVES_OF_A_RANGE, *MOVES_OF_A_SUSPECT]
# The table that each of them is a row of.
TABLES = {
    MOVES_OF_A_BATCH: "import_batches",
    MOVES_OF_A_RUN: "import_runs",
    MOVES_OF_A_RANGE: "import_ranges",
    MOVES_OF_A_SUSPECT: "import_suspects",
}


def statements() -> dict[str, str]:
    """The queries and functions of ours, by name."""
    found = {definition.name: definition.sql for definition in this_program().definitions}
    for file in ("ingest.sql", "orchestration.sql", "reprocess.sql", "suspects.sql", "work.sql"):
        found |= load(file)
    return found


def statement(name: str) -> str:
    return statements()[name]


@pytest.mark.parametrize("moves", TABLES, ids=TABLES.values())
def test_every_move_is_made_by_a_statement_that_touches_its_table(moves: tuple[Move, ...]) -> None:
    for move in moves:
        if move.query is not None:
            assert f"reliable_imports.{TABLES[moves]}" in statement(move.query), move.query


def test_every_statement_that_changes_where_something_is_makes_a_move() -> None:
    """These set what a batch, a run or a range is told by, or make or delete a suspect."""
    told_by = {
        "import_batches": r"\n(SET|    )\s*status = ",
        "import_runs": r"\n(SET|    )\s*ended_at = |INSERT INTO reliable_imports.import_runs",
        "import_ranges": r"\b(SET|    )\s*is_open = |INSERT INTO reliable_imports.import_ranges \(",
        "import_suspects": r"(INSERT INTO|DELETE FROM) reliable_imports.import_suspects",
    }
    for moves, table in TABLES.items():
        for name, text in statements().items():
            changes = re.search(rf"(UPDATE|INSERT INTO|DELETE FROM) reliable_imports.{table}\b", text)
            if changes and re.search(told_by[table], text):
                assert name in {move.query for move in moves}, f"{name} changes {table}"


def test_a_sentence_tells_who_moves_and_what_if_nobody_does() -> None:
    for move in ALL_MOVES:
        for sentence in (move.by, move.otherwise):
            assert re.fullmatch(r"[A-Z].*\.", sentence), sentence


def test_runs_end_as_the_table_says(manager: BatchManager, sql: Sql) -> None:
    batch_id = batch_in(manager, sql, BatchStatus.PENDING)
    parameters = {
        "batch_id": batch_id, "runner": "dagster", "dagster_run_id": "a run", "code_version": None, "host": "here",
        "sensitive": [], "process_id": 1, "error": None,
    }  # fmt: skip
    for move in MOVES_OF_A_RUN:
        if move.start is None or move.query is None:
            continue
        with closing(psycopg2.connect(manager.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(WORK["start_run"], {**parameters, "token": str(uuid4())})
            run_id = cursor.fetchone()[0]
            state = "SELECT state FROM reliable_imports.run_history WHERE run_id = %s"
            cursor.execute(state, [run_id])
            assert cursor.fetchone() == (move.start,)
            cursor.execute(statement(move.query), {**parameters, "run_id": run_id, "outcome": move.end})
            cursor.execute(state, [run_id])
            assert cursor.fetchone() == (move.end,)
            cursor.execute(statement(move.query), {**parameters, "run_id": run_id, "outcome": move.end})
            assert cursor.rowcount == 0, "a run ends once"


@pytest.mark.parametrize("status", list(BatchStatus))
@pytest.mark.parametrize("query", ["start_batch", "close_batch", "pause_batch", "cancel_batch"])
def test_queries_move_batches_as_the_table_says(
    manager: BatchManager, sql: Sql, status: BatchStatus, query: str
) -> None:
    batch_id = batch_in(manager, sql, status)
    if status is BatchStatus.PROCESSING and query == "close_batch":
        sql("UPDATE reliable_imports.import_ranges SET is_open = false, next_item = 3, completed = 2")

    connection = psycopg2.connect(manager.dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(WORK[query], {"batch_id": batch_id, "reason": "because"})
        moved = cursor.rowcount
        connection.rollback()
    connection.close()

    assert bool(moved) == any((move.start, move.query) == (status, query) for move in MOVES_OF_A_BATCH)
    # What was closed by hand here is given items again, so that the batch balances at the end of the test.
    if status is BatchStatus.PROCESSING and query == "close_batch":
        sql("UPDATE reliable_imports.import_ranges SET is_open = true, next_item = 1, completed = 0")


def test_a_batch_with_an_open_range_is_not_closed(manager: BatchManager, sql: Sql) -> None:
    batch_id = batch_in(manager, sql, BatchStatus.PROCESSING)
    assert sql(WORK["close_batch"].replace("%(batch_id)s", str(batch_id))) == []


FINISHED = "started_at = now(), finished_at = now(), "


@pytest.mark.parametrize(
    "change",
    [
        "status = 'completed'",
        "status = 'pending', started_at = now()",
        "status = 'gone'",
        FINISHED + "status = 'completed', completed_items = 1, failed_items = 1, skipped_items = 0",
        FINISHED + "status = 'completed', completed_items = 1, failed_items = 0, skipped_items = 0",
        FINISHED + "status = 'failed', completed_items = 2, failed_items = 0, skipped_items = 0",
    ],
)
def test_the_table_refuses_a_status_that_its_columns_contradict(manager: BatchManager, sql: Sql, change: str) -> None:
    batch_id = batch_in(manager, sql, BatchStatus.PENDING)
    with pytest.raises(psycopg2.errors.CheckViolation):
        sql(f"UPDATE reliable_imports.import_batches SET {change} WHERE id = {batch_id}")
