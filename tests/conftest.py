"""A real PostgreSQL for the whole run, and a database of its own for each test."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import psycopg2
import pytest

from reliable_imports.engine.isolation import savepoints
from reliable_imports.engine.work import chunk
from reliable_imports.testing import databases as databases_of_tests
from reliable_imports.testing.databases import migrated_template
from reliable_imports.testing.server import folder_in_memory, folder_of_servers, start_server
from tests.faults.totals import TOTALS

# Who is started in the background of a script inherits that SIGINT is ignored, and so does whatever it starts. Tests
# send it, and wait for the answer.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Dagster's instances and the projects that tests write are many small files, too. The workers of xdist, and whatever
# tests start, inherit the variable.
if (memory := folder_in_memory()) is not None:
    os.environ["TMPDIR"] = str(memory)
    tempfile.tempdir = None

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


_TESTS = Path(__file__).parent

SLOW_FOLDERS = frozenset({"benchmarks", "cli", "dagster", "example", "faults", "promises", "ui", "writes"})
"""Their tests start commands, Dagster, browsers and servers of their own, or compare many random tables."""

SLOW_MODULES = frozenset(
    {
        "test_blocks",
        "test_crashes",
        "test_declared_columns",
        "test_duplicates",
        "test_embedded",
        "test_faults",
        "test_handovers",
        "test_memory",
        "test_migrations",
        "test_misbehaviour",
        "test_plugin",
        "test_site",
    }
)
"""Likewise: workers are killed in them, or random items are made."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folders = item.path.relative_to(_TESTS).parts if item.path.is_relative_to(_TESTS) else ()
        if not SLOW_FOLDERS.isdisjoint(folders) or item.path.stem in SLOW_MODULES:
            item.add_marker(pytest.mark.slow)
    # Short ones are left for the end, when no process should be idle while another has a minute to go.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


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
    with folder_of_servers() as folder:
        yield folder


@pytest.fixture(scope="session", autouse=True)
def clean_environment(servers_folder: Path) -> Iterator[None]:
    """No variable of the user's reaches a test, and the default home is an empty one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("RELIABLE_IMPORTS_", "DAGSTER_", "PG")):
                patch.delenv(name)
        patch.setenv("RELIABLE_IMPORTS_HOME", str(servers_folder / "default-home"))
        yield


@pytest.fixture(scope="session", autouse=True)
def unhurried_chunks() -> Iterator[None]:
    """A busy machine cuts no chunk short, and no group of items. Tests of that set the limits that they mean."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk, "MAX_SECONDS", 600.0)
        patch.setattr(savepoints, "_MAX_REPEATED_SECONDS", 600.0)
        yield


@pytest.fixture(scope="session")
def server_dsn(servers_folder: Path, pytestconfig: pytest.Config, clean_environment: None) -> str:
    """The DSN of a database on the test server in which no test leaves anything."""
    given = pytestconfig.getoption("--test-dsn")
    if given:
        return str(given)
    return start_server(servers_folder / "shared")


@pytest.fixture(scope="session")
def template(server_dsn: str) -> Iterator[str]:
    """The name of a database with all migrations; the clones of it are the tests'."""
    with migrated_template(server_dsn) as name:
        yield name


@pytest.fixture
def new_database(server_dsn: str, template: str) -> Iterator[Callable[[], str]]:
    """Makes as many migrated databases as a test needs; each call returns the DSN of another one."""
    with ExitStack() as databases:
        yield lambda: databases.enter_context(databases_of_tests.new_database(server_dsn, template))


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """The DSN of a database with all migrations and no batch, for this test alone."""
    return new_database()


@pytest.fixture
def empty_database(server_dsn: str) -> Iterator[str]:
    """The DSN of a database with nothing in it, for this test alone."""
    with temporary_database(server_dsn) as dsn:
        yield dsn


def temporary_database(server_dsn: str) -> AbstractContextManager[str]:
    """The DSN of a database with nothing in it, which is dropped with the block."""
    return databases_of_tests.new_database(server_dsn)


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
