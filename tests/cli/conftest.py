"""A team's project in a folder of its own, and the command line as a process in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.forking import fork
from tests.running import ROOT

IMPORTED = (
    "reliable_imports.cli.main",
    "reliable_imports.batches.create",
    "reliable_imports.engine.run",
    "reliable_imports.processor.table",
    "reliable_imports.sources.source",
)
"""What most commands come to import."""

PROCESSORS = '''
"""What the tests import."""

import os
import time
from pathlib import Path

from reliable_imports import BaseProcessor, SourceOptions

HERE = Path(__file__).parent


class PeopleProcessor(BaseProcessor):
    """People, by e-mail address.

    Those without one fail.
    """

    setup_sql = HERE / "people.sql"
    source = HERE / "people.csv"

    def validate_item(self, item, ctx):
        return "@" in (item.source_data.get("email") or "")

    def process_item(self, item, ctx):
        if item.source_data.get("name") == "Nobody":
            ctx.log("nobody is called so", level="error")
            raise LookupError(item.source_data.get("complaint", "there is no such person"))
        ctx.upsert("people", {"email": item.source_data["email"], "name": item.source_data["name"]}, key=["email"])


class AddressesProcessor(BaseProcessor):
    def process_item(self, item, ctx):
        ctx.execute("INSERT INTO nowhere (id) VALUES (1)")


class SlowProcessor(BaseProcessor):
    """Waits at the second item until it is interrupted, but the first time only."""

    def process_item(self, item, ctx):
        reached = Path(os.environ["REACHED"])
        if item.item_number == 2 and not reached.exists():
            ctx.execute("SELECT 1")
            reached.touch()
            while not reached.with_name("interrupted").exists():
                time.sleep(0.01)


class UnstartableProcessor(BaseProcessor):
    def on_batch_start(self, batch, ctx):
        raise RuntimeError("no such planet\\nat all")

    def process_item(self, item, ctx):
        pass
'''


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """All of stdout as one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Answer]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a package of processors that its pyproject.toml names."""
    folder = tmp_path / "project"
    package = folder / "shop"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[tool.reliable_imports]\nprocessors = ["shop"]\n')
    (package / "__init__.py").write_text(PROCESSORS)
    (package / "people.sql").write_text("CREATE TABLE IF NOT EXISTS people (email text PRIMARY KEY, name text)")
    (package / "people.csv").write_text("email,name\nann@example.com,Ann\nben@example.com,Ben\n")
    return folder


@pytest.fixture
def environment(project: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of every command; no database is among them."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "REACHED": str(tmp_path / "reached"), "COLUMNS": "120"}


@pytest.fixture
def run_without_database(project: Path, environment: dict[str, str]) -> Run:
    """Runs `reliable-imports` in the project, where nothing says which database."""

    def run(*arguments: str | Path, stdin: bytes = b"", cwd: Path = project, **variables: str) -> Answer:
        words, given = [str(each) for each in arguments], {**environment, **variables}
        if any(name.startswith("PYTHON") for name in variables):  # Python reads them when it starts
            command = [sys.executable, "-m", "reliable_imports", *words]
            done = subprocess.run(command, input=stdin, cwd=cwd, env=given, capture_output=True, timeout=120)
            return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())
        with closing(fork(IMPORTED, "reliable_imports", words, cwd=cwd, env=given)) as process:
            out, err = process.communicate(stdin)
            return Answer(process.wait(120), out.decode(), err.decode())

    return run


@pytest.fixture
def run(run_without_database: Run, environment: dict[str, str], database: str) -> Run:
    """Runs `reliable-imports` in the project, on the test's database."""
    environment["RELIABLE_IMPORTS_DSN"] = database
    return run_without_database


@pytest.fixture
def people(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of people: good ones, ones without an address, and unknown ones."""

    def write(*, good: int = 0, without_address: int = 0, unknown: int = 0, complaint: str | None = None) -> Path:
        rows: list[dict[str, str | None]] = []
        rows += [{"email": f"p{number}@example.com", "name": f"Person {number}"} for number in range(good)]
        rows += [{"email": None, "name": f"Hermit {number}"} for number in range(without_address)]
        rows += [{"email": f"n{number}@example.com", "name": "Nobody"} for number in range(unknown)]
        if complaint is not None:
            rows = [{**row, "complaint": complaint} for row in rows]
        file = tmp_path / "people.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file

    return write


@pytest.fixture
def sql(database: str) -> Callable[..., list[tuple[Any, ...]]]:
    def select(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    return select
