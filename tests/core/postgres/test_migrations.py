"""The schema: migrations, functions and views, and programs of two releases on one database."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - likewise
from psycopg2.extensions import make_dsn

from reliable_imports import BatchManager, SchemaNotReady, SchemaTooNew, UnsupportedDatabase
from reliable_imports.postgres import schema
from reliable_imports.postgres.connect import Connection, connect
from reliable_imports.postgres.program import Program, read_program, release_order, this_program
from reliable_imports.postgres.schema import migrate, require_migrated
from reliable_imports.statuses import BATCH_MOVES, BatchStatus, Outcome, RunMode, Runner, RunOutcome, Stage
from tests.conftest import Sql
from tests.core.crashing_worker import worker_that_stops_at

SQL = Path(schema.__file__).parent
EVERYTHING = [each.name for each in (*this_program().migrations, *this_program().definitions)]


class OtherRelease:
    """The SQL of this release, as another one has it; a test changes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for kind in ("migrations", "functions", "views"):
            shutil.copytree(SQL / kind, folder / kind)

    def write(self, path: str, sql: str) -> None:
        (self.folder / f"{path}.sql").write_text(sql)

    def change(self, path: str, old: str, new: str) -> None:
        before = (self.folder / f"{path}.sql").read_text()
        assert old in before
        self.write(path, before.replace(old, new, 1))

    def remove(self, path: str) -> None:
        (self.folder / f"{path}.sql").unlink()

    def program(self, release: str) -> Program:
        return read_program(self.folder, release)


@pytest.fixture
def other(tmp_path: Path) -> OtherRelease:
    return OtherRelease(tmp_path / "other")


@pytest.fixture
def role(sql: Sql) -> Iterator[str]:
    """A role that owns nothing and may do nothing yet."""
    ((name,),) = sql("SELECT 'reader of ' || current_database()")
    sql(f'CREATE ROLE "{name}"')
    yield name
    sql(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


# What a program finds


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = [migration.number for migration in this_program().migrations]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_file_makes_what_its_name_says_and_nothing_else() -> None:
    for kind, made in [("functions", "FUNCTION"), ("views", "VIEW")]:
        for path in (SQL / kind).iterdir():
            assert re.findall(r"^(?:CREATE|ALTER|DROP|GRANT)\b.*?(?=\(|$| AS$)", path.read_text(), re.MULTILINE) == [
                f"CREATE OR REPLACE {made} reliable_imports.{path.stem}"
            ]


def test_functions_bear_the_number_of_their_signature_and_views_do_not() -> None:
    for definition in this_program().definitions:
        assert bool(re.fullmatch(r"[a-z_]+_v[1-9][0-9]*", definition.name)) != definition.is_view


def test_a_migration_calls_no_function_that_is_defined_after_it() -> None:
    """It would be another one in a database that is made later."""
    functions = {definition.name for definition in this_program().definitions if not definition.is_view}
    for migration in this_program().migrations:
        assert not functions & set(re.findall(r"\w+", migration.sql))


def test_releases_are_compared_by_their_numbers() -> None:
    in_order = ["0", "0.1.0", "0.9.2", "0.10.0", "1.0.0", "1.0.1.dev3+g12"]
    assert sorted(in_order, key=release_order) == in_order
    assert release_order("1.0") == release_order("1.0.0") == release_order("1")


# Bringing it up to date


def test_migrating_twice_changes_nothing(empty_database: str) -> None:
    assert migrate(empty_database) == EVERYTHING
    assert migrate(empty_database) == []


@contextmanager
def counted_statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the schema's connections send."""
    sent: list[str] = []

    class CountingCursor(Cursor):
        def execute(self, query: Any, parameters: Any = None) -> None:
            sent.append(str(query))
            super().execute(query, parameters)

    @contextmanager
    def counting(dsn: str) -> Iterator[Connection]:
        with connect(dsn) as connection:
            connection.cursor_factory = CountingCursor
            yield connection

    with monkeypatch.context() as patch:
        patch.setattr(schema, "connect", counting)
        yield sent


def test_what_is_up_to_date_costs_one_query(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted_statements(monkeypatch) as sent:
        migrate(database)
        assert len(sent) == 1
        require_migrated(database)
        assert len(sent) == 2


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
    assert sorted(applied) == [[], [], [], EVERYTHING]


def wait_for_a_waiting_lock(dsn: str, until: threading.Thread) -> None:
    """Until somebody waits for a table, or the thread has ended."""
    with closing(psycopg2.connect(dsn)) as watcher:
        watcher.autocommit = True
        cursor = watcher.cursor()
        for _ in range(12_000):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL")
            if cursor.fetchone() != (0,) or not until.is_alive():
                return
            time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


def test_a_migration_lets_a_reader_finish_and_others_pass(database: str, other: OtherRelease) -> None:
    other.write("migrations/0099_to_come", "ALTER TABLE reliable_imports.import_batches ADD COLUMN to_come integer")
    reader = psycopg2.connect(database)
    reader.cursor().execute("SELECT count(*) FROM reliable_imports.import_batches")  # holds its lock until it commits
    applied: list[list[str]] = []
    migration = threading.Thread(target=lambda: applied.append(migrate(database, other.program("99"))))
    migration.start()
    wait_for_a_waiting_lock(database, migration)

    # It waits for two seconds, and lets go again: longer than that nobody is kept waiting.
    for _ in range(3):
        passing = psycopg2.connect(database, options="-c lock_timeout=10s")
        passing.cursor().execute("SELECT count(*) FROM reliable_imports.import_batches")
        passing.close()
    assert applied == []
    reader.close()
    migration.join(timeout=60)

    assert applied == [["0099_to_come"]]


def test_without_migrate_the_error_says_which_command_to_run(empty_database: str) -> None:
    manager = BatchManager(empty_database, migrate=False)
    with pytest.raises(SchemaNotReady, match="has no reliable_imports schema; run `reliable-imports migrate`"):
        manager.list_batches()
    manager.migrate()
    assert manager.list_batches() == []


def test_what_was_dropped_by_hand_is_missed_and_made_again(database: str, sql: Sql) -> None:
    sql("DROP VIEW reliable_imports.dagster_runs; DROP FUNCTION reliable_imports.dagster_run_status_v1")
    with pytest.raises(SchemaNotReady, match=r"lacks dagster_run_status_v1, dagster_runs of this release; run"):
        require_migrated(database)
    assert migrate(database) == ["dagster_run_status_v1", "dagster_runs"]
    require_migrated(database)


# Functions and views of a later release


def test_only_what_differs_is_defined_anew(database: str, sql: Sql, other: OtherRelease) -> None:
    other.change("functions/fault_of_v1", "'40001', '40P01'", "'40001', '40P01', '12345'")
    other.change("views/run_history", "run.error\n", "run.error,\n    run.process_id AS one_more\n")
    other.write("functions/fault_of_v2", "CREATE FUNCTION reliable_imports.fault_of_v2() RETURNS int RETURN 2")
    with pytest.raises(SchemaNotReady, match="lacks fault_of_v1, fault_of_v2, run_history of this release"):
        require_migrated(database, other.program("99"))
    before = rights_of(sql, "run_history")

    assert sorted(migrate(database, other.program("99"))) == ["fault_of_v1", "fault_of_v2", "run_history"]
    assert sql("SELECT reliable_imports.fault_of_v1('12345'), reliable_imports.fault_of_v2()") == [("transaction", 2)]
    assert sql("SELECT one_more FROM reliable_imports.run_history") == []
    assert rights_of(sql, "run_history") == before
    assert migrate(database, other.program("99")) == []


def rights_of(sql: Sql, view: str) -> list[tuple[Any, ...]]:
    return sql(
        "SELECT pg_get_userbyid(relowner), acl.grantee::regrole::text, acl.privilege_type, acl.is_grantable "
        "FROM pg_class LEFT JOIN LATERAL aclexplode(relacl) AS acl ON acl.grantee <> relowner "
        "WHERE pg_class.oid = ('reliable_imports.' || %s)::regclass ORDER BY 2, 3",
        view,
    )


def test_a_view_with_other_columns_keeps_its_rights_and_what_stands_on_it(
    database: str, sql: Sql, role: str, other: OtherRelease
) -> None:
    owner = role.replace("reader", "owner")
    sql(f'CREATE ROLE "{owner}"; GRANT CREATE ON SCHEMA reliable_imports TO "{owner}"')
    sql(f'GRANT USAGE ON SCHEMA reliable_imports TO "{owner}"')
    sql(f'GRANT SELECT ON ALL TABLES IN SCHEMA reliable_imports TO "{owner}"')
    try:
        sql(f'ALTER VIEW reliable_imports.batch_summaries OWNER TO "{owner}"')
        sql(f'GRANT SELECT ON reliable_imports.batch_summaries TO "{role}" WITH GRANT OPTION')
        sql("GRANT SELECT ON reliable_imports.batch_summaries TO PUBLIC")
        sql(f'GRANT SELECT ON reliable_imports.stalled_batches TO "{role}"')
        sql(f'GRANT SELECT (batch_id), UPDATE (note, source) ON reliable_imports.batch_summaries TO "{role}"')
        before = rights_of(sql, "batch_summaries"), rights_of(sql, "stalled_batches")
        other.change("views/batch_summaries", "    batch.note,\n", "    batch.metadata,\n")

        assert migrate(database, other.program("99")) == ["batch_summaries"]

        assert (rights_of(sql, "batch_summaries"), rights_of(sql, "stalled_batches")) == before
        assert before[0][0][0] == owner
        columns = sql(
            "SELECT attname, acl.privilege_type FROM pg_attribute CROSS JOIN LATERAL aclexplode(attacl) AS acl "
            "WHERE attrelid = 'reliable_imports.batch_summaries'::regclass ORDER BY 1"
        )
        assert columns == [("batch_id", "SELECT"), ("source", "UPDATE")]
        assert sql("SELECT metadata FROM reliable_imports.batch_summaries") == []
        assert sql("SELECT batch_id FROM reliable_imports.stalled_batches") == []
    finally:
        sql(f'REASSIGN OWNED BY "{owner}" TO current_user; DROP OWNED BY "{owner}"; DROP ROLE "{owner}"')


def test_a_view_of_the_teams_own_that_is_in_the_way_is_told_of_and_stays(
    database: str, sql: Sql, other: OtherRelease
) -> None:
    sql("CREATE VIEW their_report AS SELECT note FROM reliable_imports.batch_summaries")
    other.change("views/batch_summaries", "    batch.note,\n", "")
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist, match="their_report"):
        migrate(database, other.program("99"))
    assert sql("SELECT note FROM their_report") == []
    require_migrated(database)


def test_a_migration_may_drop_a_view_that_is_in_its_way(
    database: str, sql: Sql, role: str, other: OtherRelease
) -> None:
    sql(f'GRANT SELECT ON reliable_imports.run_history TO "{role}"')
    before = rights_of(sql, "run_history")
    other.write(
        "migrations/0099_wider",
        "DROP VIEW reliable_imports.run_history; "
        "ALTER TABLE reliable_imports.import_runs ALTER COLUMN process_id TYPE bigint",
    )
    assert migrate(database, other.program("99")) == ["0099_wider", "run_history"]
    assert rights_of(sql, "run_history") == before
    assert sql("SELECT pg_typeof(process_id) FROM reliable_imports.run_history") == []


def test_a_migration_waits_for_its_turn_and_says_so(database: str, sql: Sql, other: OtherRelease) -> None:
    other.write("migrations/0099_more", "ALTER TABLE reliable_imports.import_batches ADD COLUMN more integer")
    ((name,),) = sql("SELECT current_database()")
    sql(f"ALTER DATABASE {name} SET lock_timeout = '1ms'")
    has_to_wait = threading.Event()
    applied: list[str] = []

    def wait_and_migrate() -> None:
        applied.extend(migrate(database, other.program("99"), on_wait=has_to_wait.set))

    waiting = threading.Thread(target=wait_and_migrate)
    with closing(psycopg2.connect(database)) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [schema.ADVISORY_LOCK])
        waiting.start()
        assert has_to_wait.wait(60)
        assert applied == []
    waiting.join()
    assert applied == ["0099_more"]


# Programs of two releases on one database


def test_an_older_program_goes_on_and_leaves_the_later_schema_as_it_is(
    manager: BatchManager, sql: Sql, other: OtherRelease
) -> None:
    other.write("migrations/0099_more", "ALTER TABLE reliable_imports.import_batches ADD COLUMN more integer")
    other.change("functions/fault_of_v1", "'40001', '40P01'", "'40001', '40P01', '12345'")
    other.write("functions/fault_of_v2", "CREATE FUNCTION reliable_imports.fault_of_v2() RETURNS int RETURN 2")
    migrate(manager.dsn, other.program("99"))

    assert migrate(manager.dsn) == []
    require_migrated(manager.dsn)
    done = manager.process_batch(manager.create_batch("notes", [{"id": 1, "text": "ok"}]))
    assert done.completed_items == 1
    assert sql("SELECT reliable_imports.fault_of_v1('12345'), reliable_imports.fault_of_v2()") == [("transaction", 2)]


def test_an_older_program_says_that_what_it_calls_is_gone(database: str, sql: Sql, other: OtherRelease) -> None:
    other.remove("functions/lineage_generation_v1")
    other.write(
        "functions/lineage_generation_v2",
        "CREATE FUNCTION reliable_imports.lineage_generation_v2() RETURNS int RETURN 2",
    )
    assert migrate(database, other.program("99.1")) == ["lineage_generation_v2"]
    assert sql("SELECT FROM pg_proc WHERE proname = 'lineage_generation_v1'") == []

    said = (
        r"the database is that of a later release and does not have lineage_generation_v1: "
        r"release \S+ of reliable-imports cannot work with it; install release 99.1 or later"
    )
    with pytest.raises(SchemaTooNew, match=said):
        migrate(database)
    with pytest.raises(SchemaTooNew, match=said):
        BatchManager(database, migrate=False).list_batches()


def test_an_older_program_does_not_bring_back_what_a_later_release_only_dropped(
    database: str, sql: Sql, other: OtherRelease
) -> None:
    other.remove("functions/lineage_generation_v1")
    assert migrate(database, other.program("99.1")) == []
    with pytest.raises(SchemaTooNew, match="lineage_generation_v1"):
        migrate(database)
    assert sql("SELECT FROM pg_proc WHERE proname = 'lineage_generation_v1'") == []


def test_a_migration_may_say_which_release_it_needs(database: str, other: OtherRelease) -> None:
    path = "migrations/0099_narrower"
    drop = (
        "DROP VIEW reliable_imports.batch_summaries, reliable_imports.stalled_batches;"
        "ALTER TABLE reliable_imports.import_batches DROP COLUMN note"
    )
    other.change("views/batch_summaries", "    batch.note,\n", "")
    other.write(path, f"-- needs release 98.2\n{drop}")
    migrate(database, other.program("99"))
    with pytest.raises(SchemaTooNew, match="install release 99 or later") as told:
        require_migrated(database)
    assert told.value.gone == ()
    require_migrated(database, read_program(SQL, "98.2"))
    assert migrate(database, read_program(SQL, "98.2")) == []


def test_a_run_goes_on_while_a_later_release_migrates(manager: BatchManager, sql: Sql, other: OtherRelease) -> None:
    """It is between two chunks that the later release comes in, and its function is what the run calls from then on."""
    other.write(
        "migrations/0099_seen",
        "ALTER TABLE reliable_imports.import_runs ADD COLUMN seen integer NOT NULL DEFAULT 0;"
        "ALTER TABLE reliable_imports.import_ranges ADD COLUMN more integer",
    )
    other.change(
        "functions/record_chunk_v1",
        "skipped = skipped + skipped_n\n",
        "skipped = skipped + skipped_n, seen = seen + 1\n",
    )
    other.change(
        "functions/claim_chunk_v1",
        "    has_duplicates  boolean;",
        "    has_duplicates  boolean;\n    another_one  text;",
    )
    items = [{"id": number, "text": "ok"} for number in range(1500)]
    batch_id = manager.create_batch("notes", items)
    applied: list[list[str]] = []
    later = other.program("99")
    migration = threading.Thread(target=lambda: applied.append(migrate(manager.dsn, later)))

    with worker_that_stops_at(manager.dsn, batch_id, *range(1, 1500, 50)) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        migration.start()
        said = "reached\n"
        while said == "reached\n":
            # The run holds its tables here. Whoever waits for them gets them when the chunk is committed.
            wait_for_a_waiting_lock(manager.dsn, migration)
            child.stdin.write("\n")
            child.stdin.flush()
            said = child.stdout.readline()
        assert said == "finished\n"
        assert child.wait(60) == 0
    migration.join(60)

    assert sorted(applied[0]) == ["0099_seen", "claim_chunk_v1", "record_chunk_v1"]
    summary = manager.get_summary(batch_id)
    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, 1500)
    assert sql("SELECT count(*), bool_and(seen > 0) FROM reliable_imports.import_runs") == [(1, True)]


def test_a_migrated_database_is_as_one_that_is_made_new(
    empty_database: str, database: str, other: OtherRelease
) -> None:
    other.change("functions/fault_of_v1", "'40001', '40P01'", "'40001'")
    other.change("views/batch_summaries", "    batch.note,\n", "    batch.metadata,\n")
    other.change("views/run_history", "    run.host,\n    run.process_id,\n", "")
    other.remove("views/hourly_throughput")
    other.write("functions/fault_of_v0", "CREATE FUNCTION reliable_imports.fault_of_v0() RETURNS int RETURN 0")
    other.write(
        "views/superseded",
        "CREATE VIEW reliable_imports.superseded AS "
        "SELECT reliable_imports.fault_of_v0() AS it, metadata FROM reliable_imports.batch_summaries",
    )
    migrate(empty_database, other.program("0.0.1"))
    assert listing(empty_database) != listing(database)

    migrate(empty_database)

    assert listing(empty_database) == listing(database)


def listing(dsn: str) -> list[tuple[Any, ...]]:
    """What the catalogue has of the schema."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(LISTING)
        return cursor.fetchall()


LISTING = """
WITH ours AS (
    SELECT * FROM pg_class WHERE relnamespace = 'reliable_imports'::regnamespace
)
SELECT 'relation', relname::text, relkind::text, coalesce(pg_get_viewdef(oid), ''), relacl::text FROM ours
UNION ALL
SELECT 'column', relname || ' ' || attnum, attname,
    concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity), pg_get_expr(adbin, adrelid)
FROM ours
JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT 'constraint', conname, conrelid::regclass::text, pg_get_constraintdef(oid), NULL
FROM pg_constraint WHERE connamespace = 'reliable_imports'::regnamespace
UNION ALL
SELECT 'index', indexrelid::regclass::text, indrelid::regclass::text, pg_get_indexdef(indexrelid), NULL
FROM pg_index JOIN ours ON ours.oid = indrelid
UNION ALL
SELECT 'trigger', tgname, tgrelid::regclass::text, pg_get_triggerdef(pg_trigger.oid), NULL
FROM pg_trigger JOIN ours ON ours.oid = tgrelid AND NOT tgisinternal
UNION ALL
SELECT 'function', proname, oid::regprocedure::text, pg_get_functiondef(oid), proacl::text
FROM pg_proc WHERE pronamespace = 'reliable_imports'::regnamespace
UNION ALL
SELECT 'noted', name, checksum, NULL, NULL FROM reliable_imports.definitions
UNION ALL
SELECT 'noted', name, number::text, needs_release, NULL FROM reliable_imports.migrations
ORDER BY 1, 2, 3
"""


# Words


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("import_batches_status_known", BatchStatus),
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


def test_the_type_of_outcomes_knows_those_of_python(database: str) -> None:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT unnest(enum_range(NULL::reliable_imports.outcome))::text")
        assert [word for (word,) in cursor.fetchall()] == [outcome.value for outcome in Outcome]
    connection.close()


def test_every_status_has_its_moves() -> None:
    assert set(BATCH_MOVES) == set(BatchStatus)
