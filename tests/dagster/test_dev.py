from __future__ import annotations

import signal
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.running import ROOT, ask, dev, free_port, processes, until, wait_until_up

LAUNCH = """
mutation ($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
SELECTOR = {
    "repositoryLocationName": "example_repo.definitions",
    "repositoryName": "__repository__",
    "jobName": "import_airlines",
}


def _select(dsn: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def test_dev_serves_the_ui_runs_jobs_and_leaves_nothing_behind(empty_database: str, tmp_path: Path) -> None:
    port = free_port()
    with dev(ROOT, empty_database, tmp_path, "--port", str(port)) as process:
        wait_until_up(process, port, tmp_path)
        [dagster] = processes("ppid", process.pid)
        assert len(processes("sid", dagster)) > 1

        launched = ask(port, LAUNCH, selector=SELECTOR)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]

        def ended() -> str | None:
            status = str(ask(port, STATUS, id=run_id)["runOrError"]["status"])
            return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

        assert until(ended) == "SUCCESS"
        assert _select(
            empty_database,
            "SELECT batch.batch_type, batch.status, batch.completed_items, run.status "
            "FROM reliable_imports.import_runs AS import_run "
            "JOIN reliable_imports.import_batches AS batch ON batch.id = import_run.batch_id "
            "JOIN dagster.runs AS run ON run.run_id = import_run.dagster_run_id "
            "WHERE import_run.dagster_run_id = %s",
            run_id,
        ) == [("airlines", "completed", 16, "SUCCESS")]

        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=90) == 0

    assert processes("sid", dagster) == []
    assert f"http://127.0.0.1:{port}" in (tmp_path / "output").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_can_be_stopped_while_it_starts(empty_database: str, tmp_path: Path, number: signal.Signals) -> None:
    with dev(ROOT, empty_database, tmp_path, "--port", str(free_port())) as process:
        [dagster] = until(lambda: processes("ppid", process.pid) or None)
        process.send_signal(number)
        assert process.wait(timeout=90) == 0

    assert processes("sid", dagster) == []


def test_dev_says_when_the_port_is_taken(empty_database: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with dev(ROOT, empty_database, tmp_path, "--port", str(port)) as process:
            assert process.wait(timeout=60) == 2

    told = (tmp_path / "output").read_text()
    assert f"cannot listen on 127.0.0.1:{port}" in told
    assert "Traceback" not in told


def test_dev_in_a_folder_without_definitions_shows_the_example(empty_database: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with dev(tmp_path / "empty", empty_database, tmp_path, "--port", str(free_port())) as process:
        until(lambda: processes("ppid", process.pid) or None)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=90) == 0

    assert (
        "no definitions and no processors in this folder, so this is the example" in (tmp_path / "output").read_text()
    )


JOBS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }"
PROCESSORS = """
from reliable_imports import BaseProcessor

class OrdersProcessor(BaseProcessor):
    def process_item(self, item, ctx):
        pass
"""


def test_dev_in_a_project_with_processors_shows_these(empty_database: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "below").mkdir(parents=True)
    (project / "pyproject.toml").write_text('[tool.reliable_imports]\nprocessors = ["shop"]\n')
    (project / "shop.py").write_text(PROCESSORS)
    port = free_port()
    with dev(project / "below", empty_database, tmp_path, "--port", str(port)) as process:
        wait_until_up(process, port, tmp_path)
        [repository] = ask(port, JOBS)["repositoriesOrError"]["nodes"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=90) == 0

    names = {job["name"] for job in repository["jobs"]}
    assert {"import_orders", "reprocess_orders", "reprocess_failed_items"} <= names
    assert "import_airlines" not in names
    assert "these are the processors in shop" in (tmp_path / "output").read_text()


def test_dev_without_a_database_is_one_line(tmp_path: Path) -> None:
    nobody_listens = "postgresql://nobody:secret@127.0.0.1:1/nothing"
    with dev(ROOT, nobody_listens, tmp_path, "--port", str(free_port())) as process:
        assert process.wait(timeout=60) == 3

    told = (tmp_path / "output").read_text()
    assert "Traceback" not in told
    assert "secret" not in told
