"""The fixtures, as a project of somebody else's finds them; and what they cost those who use none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

PROJECT = '[tool.reliable_imports]\nprocessors = ["shop"]\n'

SHOP = """
from pathlib import Path
from pydantic import BaseModel
from reliable_imports import TableProcessor

class Order(BaseModel):
    no: str

class OrdersProcessor(TableProcessor):
    table, key, model = "orders", "no", Order
    setup_sql = Path(__file__).with_name("tables.sql")
"""

TABLES = "CREATE TABLE IF NOT EXISTS orders (no text PRIMARY KEY)"

TESTS = """
import os
import dagster as dg
from reliable_imports import BatchManager
from reliable_imports.testing import try_item
from reliable_imports_dagster import ReliableImportsResource, build_import_asset
from shop import OrdersProcessor

def test_a_manager_knows_the_processors(imports_manager, imports_sql):
    imports_manager.process_batch(imports_manager.create_batch("orders", [{"no": "7"}]))
    assert imports_sql("SELECT no FROM orders WHERE no = %s", "7") == [("7",)]

def test_each_test_has_a_database_of_its_own(imports_database, imports_sql):
    assert os.environ["RELIABLE_IMPORTS_DSN"] == imports_database == BatchManager().dsn
    assert imports_sql("SELECT count(*) FROM orders") == [(0,)]
    imports_sql("INSERT INTO orders VALUES ('7')")
    assert try_item(OrdersProcessor, {"no": "7"}, database=imports_database).outcome == "unchanged"

def test_dagster_uses_the_database(dagster_instance, imports_sql):
    result = dg.materialize(
        [build_import_asset(OrdersProcessor)],
        instance=dagster_instance,
        resources={"reliable_imports": ReliableImportsResource()},
        run_config={"ops": {"orders": {"config": {"items": [{"no": "8"}]}}}},
    )
    assert result.success
    assert imports_sql("SELECT no FROM orders") == [("8",)]

def test_the_environment_is_as_it_was():
    assert "RELIABLE_IMPORTS_DSN" not in os.environ
"""

OWN_TABLES = """
import pytest

def make_more(dsn):
    import psycopg2
    with psycopg2.connect(dsn) as connection:
        connection.cursor().execute("CREATE TABLE more (id integer)")

@pytest.fixture(scope="session")
def imports_tables(imports_tables, pytestconfig):
    return [*imports_tables, pytestconfig.rootpath / "own.sql", make_more]
"""

WITHOUT = """
import sys

def test_nothing_is_loaded():
    ours = ("reliable_imports", "psycopg2", "msgspec", "dagster", "pydantic")
    loaded = {name for name in sys.modules if name.startswith(ours)}
    assert loaded == {"reliable_imports", "reliable_imports.testing", "reliable_imports.testing.plugin"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text(SHOP)
    (tmp_path / "shop" / "tables.sql").write_text(TABLES)
    return tmp_path


def run_pytest(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """pytest as an installed distribution lets it find the plugin."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELIABLE_IMPORTS_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
    )


def test_the_fixtures_work_in_a_project_that_declares_its_processors(project: Path, server_dsn: str) -> None:
    (project / "test_shop.py").write_text(TESTS)
    done = run_pytest(project, RELIABLE_IMPORTS_TEST_DSN=server_dsn)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_server_is_started_and_ended_and_tables_can_be_told(project: Path) -> None:
    (project / "conftest.py").write_text(OWN_TABLES)
    (project / "own.sql").write_text("CREATE TABLE own (id integer)")
    (project / "test_own.py").write_text(
        "def test_own(imports_server, imports_sql):\n"
        "    print('server', imports_server)\n"
        "    assert imports_sql('SELECT (SELECT count(*) FROM own), (SELECT count(*) FROM more)') == [(0, 0)]\n"
        "    assert imports_sql('SELECT no FROM orders') == []\n"
        "    raise AssertionError('shown')\n"
    )
    done = run_pytest(project)
    assert "AssertionError: shown" in done.stdout, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("server "))
    import psycopg2

    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(line.removeprefix("server "))


def test_who_uses_no_fixture_loads_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(WITHOUT)
    done = run_pytest(tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
