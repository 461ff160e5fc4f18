"""Calls that share a connection within a block, and the run that takes it over meanwhile."""

from __future__ import annotations

import threading

import psycopg2
import pytest

from reliable_imports import BatchManager, BatchStatus
from reliable_imports.postgres.connect import Connection, open_connection
from reliable_imports.postgres.opening import Opening
from tests.core.conftest import Sql


def test_a_session_that_is_used_again_reads_dates_whatever_the_database_is_used_to(
    manager: BatchManager, sql: Sql
) -> None:
    sql("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = German', current_database()); END $$")
    with manager.connected():
        batch_id = manager.create_batch("plain", [{"id": 1, "text": "bad"}])
        manager.process_batch(batch_id)
        [reason] = manager.failure_reasons(batch_id)
        assert manager.get_batch(batch_id).created_at <= reason.first_seen
        assert manager.reprocess_batch(batch_id).failed_items == 1


@pytest.mark.parametrize("ahead", [False, True])
def test_a_run_that_is_the_first_call_of_a_block_gives_its_connection_to_the_next(
    manager: BatchManager, ahead: bool
) -> None:
    batch_id = manager.create_batch("plain", [{"id": 1, "text": "bad"}])
    with manager.connected(ahead=ahead):
        assert manager.process_batch(batch_id).failed_items == 1
        assert len(manager.failure_reasons(batch_id)) == 1
        assert manager.process_batch(batch_id).failed_items == 1, "it has ended already"
        assert len(manager.failure_reasons(batch_id)) == 1


def test_what_is_asked_in_a_block_during_a_run_has_another_connection(manager: BatchManager) -> None:
    batch_id = manager.create_batch("plain", [{"id": 1, "text": "ok"}])
    asked = []
    with manager.connected():
        manager.process_batch(batch_id, on_progress=lambda _: asked.append(manager.get_batch(batch_id).status))
        assert manager.get_batch(batch_id).status is BatchStatus.COMPLETED
    assert asked


def test_a_connection_that_was_opened_ahead_may_be_gone_when_it_is_wanted(manager: BatchManager, sql: Sql) -> None:
    """Servers end sessions that are idle for long, and standard input may take hours."""
    end_sessions = (
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'reliable-imports' AND state = 'idle'"
    )
    for _ in ("the first calls of a manager", "later ones, when the schema is known"):
        with manager.connected(ahead=True):
            while not sql(end_sessions):
                pass
            assert manager.list_batches() == []


def test_what_went_wrong_ahead_is_told_once_and_the_next_call_tries_anew(database: str, sql: Sql) -> None:
    name = f"{sql('SELECT current_database()')[0][0]}_later"
    manager = BatchManager(f"{database}_later")
    with manager.connected(ahead=True):
        with pytest.raises(psycopg2.OperationalError, match=f'database "{name}" does not exist'):
            manager.list_batches()
        sql(f"CREATE DATABASE {name}")
        assert manager.list_batches() == []
    sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_connection_that_nobody_waits_for_is_closed_when_it_is_open(database: str) -> None:
    may_open = threading.Event()

    def open_late() -> Connection:
        assert may_open.wait(60)
        return open_connection(database)

    opening = Opening(open_late, lambda _: None)
    opening.close()
    may_open.set()
    assert opening.connection().closed
