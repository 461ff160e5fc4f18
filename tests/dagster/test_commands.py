"""Dagster's own commands on the example, as a person types them, on a database in which nothing was prepared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

ROOT = Path(__file__).parents[2]
NOBODY_LISTENS = "postgresql://nobody:secret@127.0.0.1:1/nothing"
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs a command of the environment that the tests run in, with a DAGSTER_HOME of its own."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    def run(name: str, *arguments: str | Path, dsn: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / name, *arguments],
            cwd=ROOT,
            env={**os.environ, "DAGSTER_HOME": str(home), "RELIABLE_IMPORTS_DSN": dsn},
            capture_output=True,
            text=True,
        )

    return run


def _select(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_definitions_validate_needs_no_database(command: Command) -> None:
    done = command("dagster", "definitions", "validate", dsn=NOBODY_LISTENS)

    assert done.returncode == 0, done.stderr
    assert "Validation successful" in done.stdout + done.stderr


def test_dg_check_defs_needs_no_database(command: Command) -> None:
    done = command("dg", "check", "defs", dsn=NOBODY_LISTENS)

    assert done.returncode == 0, done.stdout + done.stderr


def test_job_execute_imports_and_reprocesses_on_an_empty_database(
    command: Command, empty_database: str, tmp_path: Path
) -> None:
    execute = ("job", "execute", "-m", "example_repo.definitions", "-j")
    file = tmp_path / "planes.csv"
    file.write_text((ROOT / "example_repo" / "data" / "planes.csv").read_text() + "N1,not a year,,,,,,,\n")
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"ops": {"planes": {"config": {"path": str(file)}}}}))

    done = command("dagster", *execute, "import_planes", "-c", config, dsn=empty_database)
    assert done.returncode == 0, done.stderr
    assert _select(
        empty_database, "SELECT status, failed_items, requested_by FROM reliable_imports.import_batches"
    ) == [("completed_with_failures", 1, "dagster")]

    told = {"batch_id": 1, "reason": None, "failed_items_only": True}
    config.write_text(json.dumps({"ops": {"reprocess_failed_items": {"config": told}}}))
    done = command("dagster", *execute, "reprocess_failed_items", "-c", config, dsn=empty_database)
    assert done.returncode == 1, "what was not mended fails again"
    assert "1 of 1 item failed" in done.stderr
    assert _select(
        empty_database,
        "SELECT batch_id, mode FROM reliable_imports.import_runs WHERE dagster_run_id IS NOT NULL ORDER BY id",
    ) == [(1, "import"), (2, "reprocess")]


def test_job_execute_needs_no_config_where_the_processor_has_a_source(command: Command, empty_database: str) -> None:
    done = command(
        "dagster", "job", "execute", "-m", "example_repo.definitions", "-j", "import_flights", dsn=empty_database
    )

    # Without airports and aircraft not one flight can be stored.
    assert done.returncode == 1
    assert _select(empty_database, "SELECT status, total_items FROM reliable_imports.import_batches") == [
        ("failed", 6099)
    ]


def test_dg_launch_imports_an_asset_and_reprocesses_by_batch_reason_and_items_of_a_file(
    command: Command, empty_database: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"

    def launch(*what: str, op: str, **told: object) -> int:
        config.write_text(json.dumps({"ops": {op: {"config": told}}}))
        return command("dg", "launch", *what, "--config", config, dsn=empty_database).returncode

    items = [{"carrier": "XX", "name": "Test"}, {}, {"carrier": 7}, {}, {}]
    # Some items were imported: a green run by itself, and what the status tells if it is wished.
    assert launch("--assets", "airlines", op="airlines", items=items, fail_run_on="any_failure") == 1
    [(reason,)] = _select(
        empty_database, "SELECT DISTINCT reason FROM reliable_imports.outstanding_failures WHERE item_number = 2"
    )

    wanted = {"batch_id": 1, "reason": reason, "from_item": 2, "to_item": 4}
    assert launch("--job", "reprocess_failed_items", op="reprocess_failed_items", **wanted) == 1
    assert launch("--job", "reprocess_failed_items", op="reprocess_failed_items", **wanted, fail_run_on="never") == 0

    assert _select(
        empty_database,
        "SELECT batch_id, repeats_batch_id, repeats_item_number FROM reliable_imports.import_items "
        "WHERE batch_id > 1 ORDER BY batch_id, item_number",
    ) == [(2, 1, 2), (2, 1, 4), (3, 2, 1), (3, 2, 2)]


def test_dg_launch_takes_the_command_that_a_materialization_shows(command: Command, empty_database: str) -> None:
    config = json.dumps({"ops": {"airlines": {"config": {"items": [{"carrier": "XX", "name": "Test"}, {}]}}}})
    done = command("dg", "launch", "--job", "import_airlines", "--config-json", config, dsn=empty_database)
    assert done.returncode == 0, done.stderr


def test_dg_lists_what_there_is(command: Command) -> None:
    done = command("dg", "list", "defs", "--json", dsn=NOBODY_LISTENS)

    assert done.returncode == 0, done.stderr
    for name in ("airlines", "import_flights", "reprocess_failed_items", "reprocess_changed_code_sensor"):
        assert f'"{name}"' in done.stdout
