"""The UI with the demo in it: a database, `reliable-imports demo`, then `reliable-imports dev`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from tests.running import ROOT, dev, environment_of, free_port, wait_until_up

EXAMPLE = "example_repo.definitions"


@dataclass(frozen=True)
class DagsterUi:
    """A running UI. Dagster, and so each run, works in `folder`."""

    port: int
    dsn: str
    home: Path
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asset(self, key: str) -> str:
        return f"{self.url}/assets/{key}"

    def launchpad(self, job: str, module: str = EXAMPLE) -> str:
        return f"{self.url}/locations/{module}/jobs/{job}/playground"

    def select(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What PostgreSQL says."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Runs what somebody has copied from a page, in a clone, in a shell that finds our commands."""
        environment = environment_of(self.dsn, self.home)
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        return subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )


@contextmanager
def demo_in_dagster(dsn: str, home: Path, *modules: str) -> Iterator[DagsterUi]:
    """The demo's runs and assets in a UI that also has these modules' definitions."""
    folder = home / "work"
    folder.mkdir()
    locations = [f"  - python_module: {module}\n" for module in (EXAMPLE, *modules)]
    (folder / "workspace.yaml").write_text("load_from:\n" + "".join(locations))
    demo = subprocess.run(
        [sys.executable, "-m", "reliable_imports", "demo"],
        cwd=folder,
        env=environment_of(dsn, home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stderr
    port = free_port()
    with dev(folder, dsn, home, "--port", str(port)) as process:
        wait_until_up(process, port, home)
        yield DagsterUi(port, dsn, home, folder)
