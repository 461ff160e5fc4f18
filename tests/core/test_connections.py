"""Calls that share a connection within a block, and the run that takes it over meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

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


def test_a_connection_that_is_shared_may_be_gone_when_it_is_wanted(manager: BatchManager, sql: Sql) -> None:
    """Servers end sessions that are idle for long, and standard input may take hours."""

    def end_sessions() -> None:
        while not sql(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'reliable-imports' AND state = 'idle'"
        ):
            pass

    with manager.connected(ahead=True):
        end_sessions()
        batch_id = manager.create_batch("plain", [{"id": 1, "text": "good"}])
        end_sessions()
        assert manager.process_batch(batch_id).status is BatchStatus.COMPLETED
        end_sessions()
        assert manager.get_batch(batch_id).status is BatchStatus.COMPLETED


def test_a_source_may_ask_while_its_items_are_stored(manager: BatchManager, sql: Sql) -> None:
    def items() -> Iterator[dict[str, object]]:
        yield {"id": len(manager.list_batches()), "text": "good"}

    with manager.connected():
        assert manager.get_batch(manager.create_batch("plain", items())).total_items == 1
    assert sql("SELECT source_data ->> 'id' FROM reliable_imports.import_items") == [("0",)]


def test_nobody_waits_for_a_connection_that_nobody_wanted(manager: BatchManager, database: str) -> None:
    """Another command migrates, say, when this one is interrupted."""
    with closing(psycopg2.connect(database)) as migrating, migrating.cursor() as cursor:
        # Who waits nevertheless does so until the server has had enough.
        cursor.execute("SET idle_in_transaction_session_timeout TO '20s'; LOCK TABLE reliable_imports.migrations")
        asked = (
            "SELECT count(*) FROM pg_locks WHERE NOT granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with manager.connected(ahead=True):
            while cursor.execute(asked) or cursor.fetchall() == [(0,)]:
                pass
        cursor.execute(asked)
        assert cursor.fetchall() == [(1,)]


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
