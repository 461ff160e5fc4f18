"""A database with the doubles' tables, Dagster's instance, and short ways to launch and to look."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from reliable_imports import BatchManager, ProcessorRegistry
from reliable_imports_dagster.run.report import failed_values, target_table
from tests.dagster import project
from tests.dagster.doubles import NOTES

Rows = list[tuple[Any, ...]]
Query = Callable[..., Rows]
Launch = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(scope="session", autouse=True)
def migrations_of_dagster_are_read_once() -> Iterator[None]:
    """Dagster makes a file of SQLite for each run, and would read its ninety migrations for each of them."""
    read = ScriptDirectory.from_config
    known: dict[str | None, ScriptDirectory] = {}

    def read_once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", read_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def reports_are_patient() -> Iterator[None]:
    """A busy server leaves nothing out of what is told of tables and values."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (failed_values, target_table):
            patch.setattr(module, "_PATIENCE", "60s")
        yield


@pytest.fixture
def dsn(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database that resources without a DSN find, with the doubles' tables."""
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(NOTES)
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", database)
    return database


@pytest.fixture
def query(dsn: str) -> Query:
    def select(statement: str, *parameters: object) -> Rows:
        with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    return select


@pytest.fixture
def manager(dsn: str) -> BatchManager:
    registry = ProcessorRegistry()
    registry.discover("tests.dagster.doubles")
    return BatchManager(dsn, registry=registry)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def launch(dsn: str, instance: dg.DagsterInstance) -> Launch:
    """Runs a job of the project in this process; the keywords are the config of its op."""

    def execute(job: str, *, tags: Mapping[str, str] | None = None, **config: object) -> dg.ExecuteInProcessResult:
        op = job if job.startswith("reprocess_") else job.removeprefix("import_")
        return project.defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            run_config={"ops": {op: {"config": config}}} if config else None,
            tags=dict(tags or {}),
            raise_on_error=False,
        )

    return execute


def jsonl(folder: Path, items: Iterable[Mapping[str, Any]]) -> Path:
    """A file with these items."""
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def notes(count: int, **others: object) -> list[dict[str, object]]:
    return [{"id": number, **others} for number in range(1, count + 1)]


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """The checks of a run, which worked one batch, by name."""
    evaluations = result.get_asset_check_evaluations()
    checks = {evaluation.check_name: evaluation for evaluation in evaluations}
    assert len(checks) == len(evaluations)
    return checks


def observations_of(result: dg.ExecuteInProcessResult) -> list[dg.AssetObservation]:
    events = result.filter_events(lambda event: event.event_type is dg.DagsterEventType.ASSET_OBSERVATION)
    return [event.asset_observation_data.asset_observation for event in events]


def observation_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata of the only observation of a run that has materialized nothing, and checked everything."""
    assert result.get_asset_materialization_events() == []
    assert checks_of(result).keys() == {"no_failed_items", "failure_rate", "reconciled"}
    [observed] = observations_of(result)
    return {name: value.value for name, value in observed.metadata.items()}


def problem(result: dg.ExecuteInProcessResult) -> str:
    """What the step that failed said."""
    [failure] = result.get_step_failure_events()
    data = failure.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    assert data.error is not None
    return (data.error.cause or data.error).message


def tags_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """The tags of ours that a run has now."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return {
        key.removeprefix("reliable_imports/"): value
        for key, value in run.tags.items()
        if key.startswith("reliable_imports/")
    }
