"""The fixtures, which pytest finds by itself. Nothing is loaded or started before a test asks for one of them.

imports_database    the DSN of a new database, which managers and resources without a DSN find
imports_manager     a BatchManager on it, which knows the processors that the project declares
imports_sql         runs SQL on it
dagster_instance    a DagsterInstance that is forgotten after the test
imports_tables      for the whole run; override it to say what makes your tables
imports_server      for the whole run: the DSN of the server on which the databases are made

Without the variable RELIABLE_IMPORTS_TEST_DSN (a server on which the role may create databases) a PostgreSQL is started
for the run, and thrown away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import dagster

    from reliable_imports.manager import BatchManager
    from reliable_imports.processor.registry import ProcessorRegistry
    from reliable_imports.testing.databases import Tables

_TEST_DSN = "RELIABLE_IMPORTS_TEST_DSN"


@pytest.fixture(scope="session")
def imports_server() -> Iterator[str]:
    """The DSN of the server of RELIABLE_IMPORTS_TEST_DSN, or else of one that lives as long as the run."""
    if given := os.environ.get(_TEST_DSN, "").strip():
        yield given
        return
    from reliable_imports.testing.server import throw_away_server

    with throw_away_server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def _imports_registry(pytestconfig: pytest.Config) -> ProcessorRegistry:
    """The processors that the project declares; an empty registry if it declares none."""
    from reliable_imports.processor.registry import ProcessorRegistry
    from reliable_imports.settings import Settings

    registry = ProcessorRegistry()
    settings = Settings.from_environment(cwd=pytestconfig.rootpath)
    if settings.project is not None and str(settings.project) not in sys.path:
        sys.path.insert(0, str(settings.project))  # as the command line finds them
    if settings.processors:
        registry.discover(*settings.processors)
    return registry


@pytest.fixture(scope="session")
def imports_tables(_imports_registry: ProcessorRegistry) -> Tables:
    """What makes your tables: paths of SQL files, and functions that take a DSN. Run once, in their order.

    Without an override these are the files that the processors of the project name as `setup_sql`.
    """
    return list(dict.fromkeys(each.setup_sql for each in _imports_registry if each.setup_sql is not None))


@pytest.fixture(scope="session")
def _imports_template(imports_server: str, imports_tables: Tables) -> Iterator[str]:
    from reliable_imports.testing.databases import migrated_template

    with migrated_template(imports_server, imports_tables) as name:
        yield name


@pytest.fixture
def imports_database(imports_server: str, _imports_template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The DSN of a database with your tables and no row, for this test alone.

    It is the value of RELIABLE_IMPORTS_DSN during the test.
    """
    from reliable_imports.testing.databases import new_database

    with new_database(imports_server, _imports_template) as dsn:
        monkeypatch.setenv("RELIABLE_IMPORTS_DSN", dsn)
        yield dsn


@pytest.fixture
def imports_manager(imports_database: str, _imports_registry: ProcessorRegistry) -> BatchManager:
    """A BatchManager on the test's database, which knows the processors that the project declares."""
    from reliable_imports.manager import BatchManager

    manager = BatchManager(imports_database)
    for processor in _imports_registry:
        manager.registry.register(processor)
    return manager


@pytest.fixture
def imports_sql(imports_database: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Runs statements on the test's database, committed at once, and gives the rows of the last one.

    `imports_sql("SELECT name FROM customers WHERE email = %s", "ada@example.com")`
    """
    import psycopg2

    connection = psycopg2.connect(imports_database)
    connection.autocommit = True

    def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


@pytest.fixture
def dagster_instance(imports_database: str) -> Iterator[dagster.DagsterInstance]:
    """An instance that is forgotten after the test; a resource without a DSN uses the test's database."""
    try:
        import dagster
    except ImportError:
        pytest.fail("the fixture dagster_instance needs Dagster, which is not installed", pytrace=False)
    with dagster.DagsterInstance.ephemeral() as instance:
        yield instance
