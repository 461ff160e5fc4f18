from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ROOT, Answer

_DEMO = (
    "from example_repo.demo import demo; from reliable_imports.cli.main import cli, main; cli.add_command(demo); main()"
)


@pytest.fixture
def demo(environment: dict[str, str], database: str, tmp_path: Path) -> Callable[..., Answer]:
    home = tmp_path / "home"
    variables = {**environment, "RELIABLE_IMPORTS_DSN": database, "RELIABLE_IMPORTS_HOME": str(home)}

    def run(*options: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-c", _DEMO, "demo", *options], env=variables, cwd=ROOT, capture_output=True, text=True
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


def _without_ids_and_times(text: str) -> str:
    """What must be the same every time."""
    text = re.sub(r"\(\d[\d.]* (s|min.*)\)", "(TIME)", text)
    text = re.sub(r"batch \d+|(failures|reprocess) +\d+ *|dev +|batches +", "ID ", text)
    # The first demo makes what the second one finds.
    return re.sub(r"(?m)^[23]\. .*$", "", text)


def test_the_demo_tells_the_same_figures_every_time(
    demo: Callable[..., Answer], sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    first = demo()
    assert (first.status, first.err) == (0, "")
    assert "4,973 of 6,099 items completed, 1,126 failed" in first.out
    assert "1,126 items failed for 2 reasons" in first.lines
    assert [line.split("\t")[0] for line in first.lines if line.startswith(("979\t", "147\t"))] == ["979", "147", "979"]
    assert "147 of 1,126 items completed, 979 failed" in first.out
    assert "979 flights left, of 1,126 that failed at first" in first.lines
    assert "reliable-imports dev" in first.out
    second = demo()
    assert (second.status, second.err) == (0, "")
    assert _without_ids_and_times(second.out) == _without_ids_and_times(first.out)
    assert sql("SELECT count(*) FROM example.flights") == [(4_973 + 147,)]
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(12,)]
    # Dagster's storage is in the same database, and its runs are tied to the batches.
    tied = "SELECT count(*) FROM reliable_imports.import_runs JOIN dagster.runs ON runs.run_id = dagster_run_id"
    assert sql(tied) == [(12,)]


def test_the_demo_empties_no_table_but_its_own(
    demo: Callable[..., Answer], sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    sql("CREATE SCHEMA example; CREATE TABLE example.precious AS SELECT 1 AS id")
    document = demo("--json").document
    assert sql("SELECT id FROM example.precious") == [(1,)]
    assert (document["failed_items"], document["completed_by_reprocessing"], document["outstanding_failures"]) == (
        1126,
        147,
        979,
    )
    assert [reason["items"] for reason in document["reasons"]] == [979, 147]
