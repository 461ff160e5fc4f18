"""Whatever is thrown at the command line: an exit status that tells, one line that helps, never a traceback."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from reliable_imports.postgres.dsn import parse_dsn
from tests.cli.conftest import Answer, Run

People = Callable[..., Path]
Sql = Callable[..., list[tuple[Any, ...]]]
CLOSED = "postgresql://somebody:s3cret-word@127.0.0.1:1/nothing"

REFUSED_FILES = {
    "empty.csv": b"",
    "empty.json": b"",
    "binary.csv": bytes(range(256)) * 20,
    "binary.jsonl": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 20,
    "object.json": b'{"email": "a@example.com"}',
    "truncated.json": b'[{"email": "a@example.com"}, {"ema',
    "unclosed.csv": b'email,name\na@example.com,"Ann\n',
    "repeated-columns.csv": b"email,email\na,b\n",
    "broken.csv.gz": gzip.compress(b"email,name\n" + b"a@example.com,Ann\n" * 1000)[:-20],
    "fake.csv.gz": b"\x1f\x8b not gzip at all",
    "unknown.xlsx": b"PK\x03\x04",
}

ACCEPTED_FILES = {
    "ragged.csv": (b"email,name\na@example.com\nb@example.com,B,more\nc@example.com,C\n", 3, 2),
    "encoding.csv": (b"email,name\na@example.com,Andr\xe9\nb@example.com,B\n", 2, 1),
    "lines.jsonl": (b'{"email": "a@example.com", "name": "A"}\nnot json\n\n"text"\n', 3, 2),
    "nul.jsonl": (b'{"email": "a\\u0000@example.com", "name": "A"}\n{"email": "b@example.com", "name": "B"}\n', 2, 1),
    "mixed.json": (b'[1, null, [], {"email": "a@example.com", "name": "A"}]', 4, 3),
}


def refused(answer: Answer, status: int) -> str:
    """The one line on stderr."""
    assert answer.status == status, answer
    assert answer.out == ""
    assert "Traceback" not in answer.err
    [line] = answer.err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_a_file_that_cannot_be_read_is_refused_and_makes_no_batch(
    run: Run, tmp_path: Path, sql: Sql, name: str
) -> None:
    file = tmp_path / name
    file.write_bytes(REFUSED_FILES[name])
    assert str(file) in refused(run("import", file, "--as", "people"), 2)
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(0,)]


@pytest.mark.parametrize("name", ACCEPTED_FILES)
def test_lines_that_cannot_be_imported_fail_alone(run: Run, tmp_path: Path, name: str) -> None:
    content, items, failed = ACCEPTED_FILES[name]
    file = tmp_path / name
    file.write_bytes(content)
    answer = run("import", file, "--as", "people", "--json")
    assert (answer.status, answer.err) == (1, "")
    assert (answer.document["total_items"], answer.document["failed_items"]) == (items, failed)
    for command in ("failures", "status", "logs"):
        shown = run(command, "1")
        assert (shown.status, shown.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], None),
        (["imprt"], "No such command 'imprt'"),
        (["import"], "Missing option '--as'"),
        (["import", "people.csv", "more.csv", "--as", "people"], "more.csv"),
        (["import", "missing.csv", "--as", "people"], "missing.csv: there is no such file"),
        (["import", ".", "--as", "people"], "error: .: "),
        (["import", "--as", "custmers"], "no processor for batch type 'custmers'; registered: addresses, people"),
        (["import", "--as", "addresses"], "AddressesProcessor has no source"),
        (["import", "--as", "people", "--partition", "2024-01-31"], "PeopleProcessor declares no partitions"),
        (["create", "people", "shop/people.csv", "--partition", "x"], "PeopleProcessor declares no partitions"),
        (["create", "people"], "Missing argument 'FILE'"),
        (["process"], "Missing argument 'BATCH'"),
        (["process", "7"], "there is no batch 7"),
        (["status", "7"], "there is no batch 7"),
        (["failures", "7"], "there is no batch 7"),
        (["logs", "7"], "there is no batch 7"),
        (["reprocess", "7"], "there is no batch 7"),
        (["status", "seven"], "there is no batch of type 'seven'"),
        (["process", "seven"], "'seven' is no batch's number"),
        (["status", "0"], "'0' is no batch's number"),
        (["status", "٣"], "is no batch's number"),
        (["batches", "--status", "green"], "'green' is not one of"),
        (["batches", "--limit", "0"], "--limit"),
        (["logs", "1", "--item", "9" * 30], "there is no batch 1"),
        (["status", "9" * 30], f"there is no batch {'9' * 30}"),
        (["verify", "9" * 30], f"there is no batch {'9' * 30}"),
        (["process", "9" * 30], f"there is no batch {'9' * 30}"),
        (["reprocess", "9" * 30, "--limit", "9" * 30], f"there is no batch {'9' * 30}"),
        (["--processors", "no.such.package", "processors"], "cannot import no.such.package"),
        (["--dsn", "http://example.com", "status", "1"], "its scheme is http:// and not postgresql://"),
        (["--dsn", "", "status", "7"], "there is no batch 7"),
    ],
)
def test_wrong_use_ends_with_2(run: Run, arguments: list[str], said: str | None) -> None:
    if said is None:
        answer = run(*arguments)
        assert answer.status == 2
        assert answer.err.startswith("Usage: reliable-imports")
    else:
        assert said in refused(run(*arguments), 2)


def test_a_broken_package_of_processors_is_named_with_its_line(run: Run, project: Path) -> None:
    module = project / "shop" / "broken.py"
    module.write_text("x = 1\nraise ValueError('first line\\nsecond line')\n")
    assert f"{module}:2" in refused(run("processors"), 2)
    module.write_text("def f(:\n")
    assert f"{module}:1" in refused(run("import", "--as", "people"), 2)
    module.write_text("import sys\nsys.exit(0)\n")
    assert "sys.exit()" in refused(run("processors"), 2)


def test_a_package_without_processors_and_a_broken_project_are_told(run: Run, project: Path) -> None:
    (project / "bare.py").write_text("")
    assert "there is no processor in bare" in refused(run("processors", "--processors", "bare"), 2)
    (project / "pyproject.toml").write_text("[tool.reliable_imports\n")
    assert "pyproject.toml cannot be read" in refused(run("processors"), 2)


@pytest.mark.parametrize(
    "command",
    [["status", "1"], ["batches"], ["migrate"], ["import", "--as", "people"], ["process", "1"], ["reprocess", "1"]],
    ids=" ".join,
)
def test_a_database_that_is_down_ends_with_3(run: Run, command: list[str]) -> None:
    line = refused(run("--dsn", CLOSED, *command), 3)
    assert "Connection refused" in line
    assert "`reliable-imports db start`" in line
    assert "RELIABLE_IMPORTS_DSN" in line
    assert "s3cret-word" not in line


def test_a_database_or_host_that_does_not_exist_is_named(run: Run, database: str) -> None:
    line = refused(run("--dsn", make_dsn(database, dbname="no_such_database"), "batches"), 3)
    assert 'database "no_such_database" does not exist; create it' in line
    line = refused(run("--dsn", "postgresql://host.invalid/x", "batches"), 3)
    assert "check the host" in line


def test_a_wrong_password_is_told_and_shown_nowhere(run: Run, database: str) -> None:
    wrong = make_dsn(database, password="Wr0ng-passw0rd")
    try:
        psycopg2.connect(wrong).close()
    except psycopg2.OperationalError:
        pass
    else:
        pytest.skip("this server lets everybody in")
    for options in ([], ["--verbose"]):
        answer = run("--dsn", wrong, *options, "batches")
        assert answer.status == 3
        assert "check user and password" in answer.err
        assert "Wr0ng-passw0rd" not in answer.err


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:s3cret@word@host/x", "host=h password=s3cret word", "s3cret", "://s3cret"]
)
def test_a_malformed_dsn_gives_nothing_of_itself_away(run_without_database: Run, dsn: str) -> None:
    for options in ([], ["--verbose"]):
        answer = run_without_database(*options, "batches", RELIABLE_IMPORTS_DSN=dsn)
        assert answer.status == 2
        assert "s3cret" not in answer.err
        assert "postgresql://user:password@host:5432/database" in answer.err


def test_a_missing_target_table_fails_the_items_and_not_the_command(run: Run, people: People) -> None:
    answer = run("import", people(good=2), "--as", "addresses")
    assert (answer.status, answer.err) == (1, "")
    assert 'relation "nowhere" does not exist' in answer.out


def test_a_role_without_rights_is_told_what_it_needs(run: Run, empty_database: str, sql: Sql) -> None:
    role = f"guest_{os.getpid()}"
    with closing(psycopg2.connect(empty_database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'guest'")
            try:
                guest = make_dsn(empty_database, user=role, password="guest")
                line = refused(run("--dsn", guest, "import", "--as", "people"), 3)
            finally:
                cursor.execute(f"DROP ROLE {role}")
    assert f"permission denied for database {parse_dsn(empty_database)['dbname']}" in line
    assert "CREATE on the database" in line


def test_an_error_of_user_code_outside_items_is_one_line_with_3(run: Run, people: People) -> None:
    line = refused_after_output(run("import", people(good=1), "--as", "unstartable"))
    assert line == "error: RuntimeError: no such planet at all; --verbose shows where it came from"
    verbose = run("process", "1", "--verbose")
    assert verbose.status == 3
    assert "Traceback" in verbose.err
    assert "on_batch_start" in verbose.err


def refused_after_output(answer: Answer) -> str:
    assert answer.status == 3
    [line] = answer.err.splitlines()
    return line


def test_a_setup_file_that_is_missing_or_wrong_ends_with_3(run: Run, project: Path) -> None:
    setup = project / "shop" / "people.sql"
    setup.write_text("CREATE TABEL people ()")
    assert "syntax error" in refused_after_output(run("import", "--as", "people"))
    setup.unlink()
    assert "people.sql" in refused_after_output(run("import", "--as", "people", "--again"))
