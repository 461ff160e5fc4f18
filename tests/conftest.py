"""A real PostgreSQL for the whole run, and a database of its own for each test."""

from __future__ import annotations

import faulthandler
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import hypothesis
import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from reliable_imports.embedded import THROW_AWAY, EmbeddedPostgres
from reliable_imports.postgres.schema import migrate
from tests.faults.totals import TOTALS

# Ends the servers of a test run with the run, however that ends: the pipe closes with the last of its writers.
_WATCHER = """
import shutil, sys
from pathlib import Path
from reliable_imports.embedded import EmbeddedPostgres
folder = Path(sys.argv[1])
sys.stdin.read()
for home in folder.iterdir():
    EmbeddedPostgres(home).stop("immediate")
shutil.rmtree(folder)
"""
_numbers = itertools.count(1)

# Who is started in the background of a script inherits that SIGINT is ignored, and so does whatever it starts. Tests
# send it, and wait for the answer.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--test-dsn",
        default=os.environ.get("RELIABLE_IMPORTS_TEST_DSN"),
        help="run on this PostgreSQL, as a role that may create databases, and not on an embedded one "
        "(default: RELIABLE_IMPORTS_TEST_DSN)",
    )
    parser.addoption(
        "--faults-release",
        action="store_true",
        help="let the random tests of tests/faults do what is asked for before a release (a quarter of an hour)",
    )
    parser.addoption(
        "--faults-minutes",
        type=float,
        default=0.0,
        help="let each random test of tests/faults go on for so many minutes (default: until it has done its share)",
    )
    parser.addoption(
        "--writes-release",
        action="store_true",
        help="let the random tests of tests/writes compare 10,000 items for each way of writing, as before a release",
    )
    parser.addoption(
        "--promises-release",
        action="store_true",
        help="break every guard of tests/promises in a copy of the package, and see its test fail, as before a release",
    )


SLOW_FOLDERS = frozenset({"benchmarks", "cli", "dagster", "example", "faults", "promises", "ui", "writes"})
"""Their tests start commands, Dagster, browsers and servers of their own, or compare many random tables."""

SLOW_MODULES = frozenset(
    {
        "test_crashes",
        "test_declared_columns",
        "test_duplicates",
        "test_embedded",
        "test_faults",
        "test_handovers",
        "test_memory",
        "test_migrations",
        "test_misbehaviour",
    }
)
"""Likewise: workers are killed in them, or random items are made."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in SLOW_FOLDERS or item.path.stem in SLOW_MODULES:
            item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.config.getoption("--faults-release") or item.config.getoption("--faults-minutes"):
        faulthandler.cancel_dump_traceback_later()  # each goes on for as long as was asked for


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes that share the tests
        session.config.workeroutput["faults"] = (dict(TOTALS.counts), TOTALS.not_run)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if told := getattr(node, "workeroutput", {}).get("faults"):
        TOTALS.merge(*told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := TOTALS.lines():
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder for homes of embedded servers, which are stopped when the test run ends, even by SIGKILL."""
    folder = Path(tempfile.mkdtemp(prefix="reliable-imports-tests-"))
    folder.chmod(0o711)  # a server started by root runs as another account
    with subprocess.Popen(
        [sys.executable, "-c", _WATCHER, str(folder)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,  # Ctrl-C is for the tests alone
    ) as watcher:
        yield folder
        assert watcher.stdin is not None
        watcher.stdin.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def clean_environment(servers_folder: Path) -> Iterator[None]:
    """No variable of the user's reaches a test, and the default home is an empty one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("RELIABLE_IMPORTS_", "DAGSTER_", "PG")):
                patch.delenv(name)
        patch.setenv("RELIABLE_IMPORTS_HOME", str(servers_folder / "default-home"))
        yield


@pytest.fixture(scope="session")
def server_dsn(servers_folder: Path, pytestconfig: pytest.Config, clean_environment: None) -> str:
    """The DSN of a database on the test server in which no test leaves anything."""
    given = pytestconfig.getoption("--test-dsn")
    if given:
        return str(given)
    server = EmbeddedPostgres(servers_folder / "shared", settings=THROW_AWAY)
    server.start()
    return server.dsn("postgres")


@pytest.fixture(scope="session")
def template(server_dsn: str) -> Iterator[str]:
    """The name of a database with all migrations; the clones of it are the tests'."""
    name = _new_name("template")
    _administrate(server_dsn, "CREATE DATABASE {name}", name)
    try:
        migrate(_dsn_of(server_dsn, name))
        yield name
    finally:
        _drop(server_dsn, name)


@pytest.fixture
def new_database(server_dsn: str, template: str) -> Iterator[Callable[[], str]]:
    """Makes as many migrated databases as a test needs; each call returns the DSN of another one."""
    names = []

    def create() -> str:
        names.append(_new_name("test"))
        _administrate(server_dsn, "CREATE DATABASE {name} TEMPLATE {template}", names[-1], template=template)
        return _dsn_of(server_dsn, names[-1])

    yield create
    for name in names:
        _drop(server_dsn, name)


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """The DSN of a database with all migrations and no batch, for this test alone."""
    return new_database()


@pytest.fixture
def empty_database(server_dsn: str) -> Iterator[str]:
    """The DSN of a database with nothing in it, for this test alone."""
    with temporary_database(server_dsn) as dsn:
        yield dsn


@contextmanager
def temporary_database(server_dsn: str) -> Iterator[str]:
    """The DSN of a database with nothing in it, which is dropped with the block."""
    name = _new_name("empty")
    _administrate(server_dsn, "CREATE DATABASE {name} TEMPLATE template0", name)
    try:
        yield _dsn_of(server_dsn, name)
    finally:
        _drop(server_dsn, name)


def _new_name(kind: str) -> str:
    return f"reliable_imports_{kind}_{os.getpid()}_{next(_numbers)}"


def _drop(server_dsn: str, name: str) -> None:
    # `WITH (FORCE)` came with PostgreSQL 13. The server waits for sessions that are about to end.
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {text}"
    _administrate(server_dsn, end, name)
    _administrate(server_dsn, "DROP DATABASE IF EXISTS {name}", name)


def _administrate(server_dsn: str, statement: str, name: str, **names: str) -> None:
    identifiers = {key: sql.Identifier(value) for key, value in {"name": name, **names}.items()}
    with closing(psycopg2.connect(server_dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(**identifiers, text=sql.Literal(name)))


def _dsn_of(server_dsn: str, database: str) -> str:
    """*server_dsn* with another database, in the form that it has."""
    if "://" not in server_dsn:
        return str(make_dsn(server_dsn, dbname=database))
    return urlunsplit(urlsplit(server_dsn)._replace(path=f"/{quote(database)}"))


Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(name="sql")
def run_sql(database: str) -> Iterator[Sql]:
    """Runs one or more statements on the test's database, committed at once, and gives the rows of the last."""
    connection = psycopg2.connect(database)
    connection.autocommit = True

    def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()
