"""Backfills as the UI launches them, on a real webserver and a real daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reliable_imports.settings import Settings
from reliable_imports_dagster.storage import dagster_environment, prepare_dagster_home
from tests.dagster.conftest import Query
from tests.dagster.partitioned_project import FOLDER
from tests.running import ask, free_port, until

ROOT = Path(__file__).parents[3]
MODULE = "tests.dagster.partitioned_project"
LAUNCH = """
mutation ($wanted: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $wanted) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""
BATCHES = "SELECT id, metadata ->> 'partition', status, total_items FROM reliable_imports.import_batches ORDER BY id"
DAYS = [{"path": ["days"]}]
JOB = {
    "partitionSetName": "import_days_partition_set",
    "repositorySelector": {"repositoryLocationName": MODULE, "repositoryName": "__repository__"},
}
RUNS = "SELECT status, count(*) FROM dagster.runs GROUP BY status ORDER BY status"


class Dagster:
    """A webserver, and a daemon that looks at once what there is to do whenever it is started, and then seldom."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int) -> None:
        self._folder = folder
        self._environment = environment
        self._port = port

    @contextmanager
    def process(self, *command: str) -> Iterator[None]:
        with (
            (self._folder / f"{command[0]}.log").open("ab") as log,
            subprocess.Popen(
                [Path(sys.executable).parent / command[0], *command[1:], "-m", MODULE],
                env=self._environment,
                cwd=ROOT,
                start_new_session=True,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=120)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise

    @contextmanager
    def webserver(self) -> Iterator[None]:
        with self.process("dagster-webserver", "--host", "127.0.0.1", "--port", str(self._port)):
            until(self._is_up)
            yield

    def _is_up(self) -> bool | None:
        try:
            return bool(ask(self._port, "{ version }"))
        except (urllib.error.URLError, ConnectionError):
            return None

    def launch(self, *partitions: str, **of_what: Any) -> None:
        wanted = {"partitionNames": partitions, **of_what}
        launched = ask(self._port, LAUNCH, wanted=wanted)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched


@pytest.fixture
def dagster(dsn: str, tmp_path: Path) -> Iterator[Dagster]:
    environment = {
        **os.environ,
        **dagster_environment(dsn, prepare_dagster_home(dsn, Settings(dsn=dsn, home=tmp_path))),
        FOLDER: str(tmp_path),
    }
    started = Dagster(tmp_path, environment, free_port())
    with started.webserver():
        yield started


def test_a_backfill_makes_a_batch_of_each_partition_and_one_that_failed_is_resumed(
    dagster: Dagster, query: Query, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    (tmp_path / "days-2024-01-01.jsonl").write_text('{"id": 10}')
    (tmp_path / "days-2024-01-02.jsonl").write_text(f'{{"id": 20}}\n{{"id": 21, "until": "{mended}"}}')

    def until_runs_are(*expected: tuple[str, int]) -> None:
        until(lambda: query(RUNS) == list(expected) or None)

    dagster.launch("2024-01-01", "2024-01-02", assetSelection=DAYS)
    with dagster.process("dagster-daemon", "run"):
        until_runs_are(("FAILURE", 1), ("SUCCESS", 1))

    assert query(BATCHES) == [(1, "2024-01-01", "completed", 1), (2, "2024-01-02", "paused", 2)]
    assert query("SELECT id FROM writes") == [(10,)]

    mended.touch()
    # What was not done; and what was, now from the page of the job.
    dagster.launch("2024-01-02", assetSelection=DAYS)
    dagster.launch("2024-01-01", selector=JOB)
    with dagster.process("dagster-daemon", "run"):
        until_runs_are(("FAILURE", 1), ("SUCCESS", 3))

    assert query(BATCHES) == [
        (1, "2024-01-01", "completed", 1),
        (2, "2024-01-02", "completed", 2),  # the same batch
        (3, "2024-01-01", "completed", 1),  # a new one
    ]
    assert query("SELECT batch, id FROM writes ORDER BY batch, id") == [(1, 10), (2, 20), (2, 21), (3, 10)]
    assert query("SELECT batch_id, result ->> 'partition' FROM reliable_imports.import_attempts ORDER BY 1") == [
        (1, "2024-01-01"),
        (2, "2024-01-02"),
        (2, "2024-01-02"),
        (3, "2024-01-01"),
    ]
