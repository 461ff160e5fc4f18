from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import psycopg2
import pytest

from reliable_imports.settings import Settings
from reliable_imports_dagster import dagster_postgres_url
from reliable_imports_dagster.storage import dagster_instance, prepare_dagster_home
from tests.dagster import project
from tests.dagster.conftest import Query


def test_the_url_names_the_driver_and_the_schema() -> None:
    url = dagster_postgres_url("postgresql://me:p%40ss@host:5433/db?sslmode=require")

    assert url.startswith("postgresql+psycopg2://me:p%40ss@host:5433/db?")
    assert "sslmode=require" in url
    assert "options=-csearch_path%3Ddagster" in url


def test_dagsters_storage_is_in_a_schema_of_the_same_database(dsn: str, query: Query, tmp_path: Path) -> None:
    with dagster_instance(dsn, Settings(dsn=dsn, home=tmp_path)) as instance:
        result = project.defs.resolve_job_def("import_authors").execute_in_process(instance=instance)

    assert query(
        "SELECT run.status, import_run.mode FROM reliable_imports.import_runs AS import_run "
        "JOIN dagster.runs AS run ON run.run_id = import_run.dagster_run_id WHERE run.run_id = %s",
        result.run_id,
    ) == [("SUCCESS", "import")]
    assert query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename = 'runs'") == [(0,)]


def test_preparing_twice_changes_nothing_and_writes_no_password(dsn: str, tmp_path: Path) -> None:
    settings = Settings(dsn=dsn, home=tmp_path)

    home = prepare_dagster_home(dsn, settings)
    first = (home / "dagster.yaml").read_text()
    assert prepare_dagster_home(dsn, settings) == home

    assert (home / "dagster.yaml").read_text() == first
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]
    password = psycopg2.extensions.parse_dsn(dsn).get("password")
    assert password is None or password not in first


@pytest.mark.parametrize("name", ["DAGSTER_HOME", "RELIABLE_IMPORTS_DAGSTER_URL"])
def test_the_environment_is_as_before(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "before")
    with dagster_instance(dsn, Settings(dsn=dsn, home=tmp_path)) as instance:
        assert isinstance(instance, dg.DagsterInstance)

    assert os.environ[name] == "before"
