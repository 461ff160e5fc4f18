from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from reliable_imports.cli.problems import explain
from reliable_imports.postgres.dsn import parse_dsn
from tests.cli.conftest import Run


@pytest.fixture
def home(servers_folder: Path, tmp_path: Path) -> str:
    """A home for an embedded server of the test's own, which ends with the test run at the latest."""
    return str(servers_folder / f"cli-{tmp_path.name}")


def test_the_embedded_server_is_started_found_and_stopped(run_without_database: Run, home: str) -> None:
    run = run_without_database
    before = run("db", "status", "--json", RELIABLE_IMPORTS_HOME=home)
    assert (before.status, before.document["running"]) == (0, False)
    started = run("db", "start", RELIABLE_IMPORTS_HOME=home)
    assert started.status == 0
    assert "embedded server\trunning" in started.lines
    url = run("db", "url", RELIABLE_IMPORTS_HOME=home)
    assert (url.status, url.err) == (0, "")
    [dsn] = url.lines
    password = parse_dsn(dsn)["password"]
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert run("batches", RELIABLE_IMPORTS_HOME=home).lines == ["no batches"]
    status = run("db", "status", RELIABLE_IMPORTS_HOME=home)
    assert password not in status.out + started.out
    stopped = run("db", "stop", RELIABLE_IMPORTS_HOME=home)
    assert stopped.status == 0
    assert "embedded server\tstopped" in stopped.lines
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(dsn)
    assert run("db", "stop", RELIABLE_IMPORTS_HOME=home).status == 0


def test_a_home_that_cannot_be_used_ends_with_3(run_without_database: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run_without_database("db", "start", RELIABLE_IMPORTS_HOME=str(tmp_path / "file" / "home"))
    assert answer.status == 3
    [line] = answer.err.splitlines()
    assert "RELIABLE_IMPORTS_HOME" in line


def test_the_url_of_a_server_of_ones_own_is_printed_alone(run: Run, database: str) -> None:
    assert run("db", "url").out == database + "\n"
    assert run("--dsn", "postgresql://other:word@there/x", "db", "url").out == "postgresql://other:word@there/x\n"
    assert run("db", "url", "--json").document == {"url": database}


def test_the_status_tells_which_other_server_is_used_but_not_its_password(run: Run) -> None:
    answer = run("db", "status", "--dsn", "postgresql://other:s3cret@there/x")
    assert "used instead\tpostgresql://other:***@there/x" in answer.lines
    assert "s3cret" not in answer.out


def test_migrate_makes_the_schema_once(run: Run, empty_database: str) -> None:
    first = run("--dsn", empty_database, "migrate")
    assert first.status == 0
    assert "0001_tables" in first.out
    assert run("migrate", "--dsn", empty_database).lines == ["the schema is up to date"]
    assert run("migrate", "--dsn", empty_database, "--json").document == {"applied": []}


def test_migrate_names_the_view_of_the_teams_own_that_is_in_its_way(run: Run, database: str) -> None:
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP VIEW reliable_imports.run_history")
        cursor.execute("CREATE VIEW reliable_imports.run_history AS SELECT 1 AS what_an_older_release_had")
        cursor.execute("CREATE VIEW their_report AS SELECT * FROM reliable_imports.run_history")
        cursor.execute(
            "UPDATE reliable_imports.definitions SET checksum = 'other', release = '0' WHERE name = 'run_history'"
        )

    refused = run("migrate", "--dsn", database)

    assert refused.status == 3
    assert "view their_report depends on view" in refused.err
    assert "drop what is yours, migrate, and make it again" in refused.err


def test_every_command_works_on_an_empty_database(run: Run, empty_database: str) -> None:
    assert run("--dsn", empty_database, "import", "--as", "people").status == 0


def test_a_connection_that_is_lost_while_items_are_stored_shows_none_of_them() -> None:
    """What libpq says then depends on what has reached it: this is the longest."""
    said = (
        "server closed the connection unexpectedly\n"
        "\tThis probably means the server terminated abnormally\n\tbefore or while processing the request.\n"
        "FATAL:  terminating connection due to administrator command\n"
        'CONTEXT:  COPY import_items, line 3: "1\t3\t{"name": "secret"}\t\\N"\n'
    )
    message = explain(psycopg2.OperationalError(said)).message
    assert message.startswith("server closed the connection unexpectedly; FATAL: terminating connection")
    assert "COPY" not in message
    assert "secret" not in message
