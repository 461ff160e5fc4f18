from __future__ import annotations

import threading
import time

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from reliable_imports import BatchManager, SchemaNotReady, UnsupportedDatabase
from reliable_imports.postgres.schema import migrate, scripts
from reliable_imports.statuses import BATCH_MOVES, BatchStatus, Outcome, RunMode, Runner, RunOutcome, Stage


def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _, _ in scripts()] == list(range(1, len(scripts()) + 1))


def test_migrating_twice_changes_nothing(empty_database: str) -> None:
    assert migrate(empty_database) == [name for _, name, _ in scripts()]
    assert migrate(empty_database) == []


def test_a_database_in_another_encoding_is_refused(empty_database: str) -> None:
    server = psycopg2.connect(empty_database)
    server.autocommit = True
    cursor = server.cursor()
    cursor.execute("CREATE DATABASE in_latin1 ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    try:
        dsn = make_dsn(empty_database, dbname="in_latin1")
        with pytest.raises(UnsupportedDatabase, match=r"database in_latin1 is in LATIN1.* ENCODING 'UTF8'"):
            migrate(dsn)
        with pytest.raises(SchemaNotReady):
            BatchManager(dsn, migrate=False).list_batches()
    finally:
        cursor.execute("DROP DATABASE in_latin1")
        server.close()


def test_four_processes_may_migrate_at_once(empty_database: str) -> None:
    start = threading.Barrier(4)
    applied: list[list[str]] = []

    def run() -> None:
        start.wait(120)
        applied.append(migrate(empty_database))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(map(len, applied)) == [0, 0, 0, len(scripts())]


def test_a_migration_lets_a_reader_finish_and_others_pass(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(empty_database)
    to_come = (len(scripts()) + 1, "to_come", "ALTER TABLE reliable_imports.import_batches ADD COLUMN to_come integer")
    known = [*scripts(), to_come]
    monkeypatch.setattr("reliable_imports.postgres.schema.scripts", lambda: known)
    reader = psycopg2.connect(empty_database)
    reader.cursor().execute("SELECT count(*) FROM reliable_imports.import_batches")  # holds its lock until it commits
    applied: list[list[str]] = []
    migration = threading.Thread(target=lambda: applied.append(migrate(empty_database)))
    migration.start()
    watcher = psycopg2.connect(empty_database)
    watcher.autocommit = True
    cursor = watcher.cursor()
    for _ in range(2000):
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL")
        if cursor.fetchone() != (0,):
            break
        time.sleep(0.01)
    watcher.close()

    # It waits for two seconds, and lets go again: longer than that nobody is kept waiting.
    for _ in range(3):
        other = psycopg2.connect(empty_database, options="-c lock_timeout=10s")
        other.cursor().execute("SELECT count(*) FROM reliable_imports.import_batches")
        other.close()
    assert applied == []
    reader.close()
    migration.join(timeout=60)

    assert applied == [["to_come"]]


def test_without_migrate_the_error_says_which_command_to_run(empty_database: str) -> None:
    manager = BatchManager(empty_database, migrate=False)
    with pytest.raises(SchemaNotReady, match="has no reliable_imports schema; run `reliable-imports migrate`"):
        manager.list_batches()
    manager.migrate()
    assert manager.list_batches() == []


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("import_batches_status_known", BatchStatus),
        ("import_attempts_outcome_known", Outcome),
        ("import_attempts_stage_known", Stage),
        ("import_runs_runner_known", Runner),
        ("import_runs_mode_known", RunMode),
        ("import_runs_outcome_known", RunOutcome),
    ],
)
def test_the_tables_know_the_same_words_as_python(database: str, constraint: str, words: type[BatchStatus]) -> None:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [constraint])
        ((definition,),) = cursor.fetchall()
        cursor.execute("SELECT regexp_matches(%s, '''([a-z_]+)''', 'g')", [definition])
        known = {word for ((word,),) in cursor.fetchall()}
    connection.close()
    assert known == {word.value for word in words}


def test_every_status_has_its_moves() -> None:
    assert set(BATCH_MOVES) == set(BatchStatus)
