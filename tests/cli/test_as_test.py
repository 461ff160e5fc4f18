"""`failures --as-test`: the file runs as it stands, fails while the cause is there, and passes once it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Run

People = Callable[..., Path]

SECRETS = """
from reliable_imports import BaseProcessor


class AccountsProcessor(BaseProcessor):
    sensitive = ("iban",)

    def process_item(self, item, ctx):
        if not item.source_data["iban"].startswith("DE"):
            raise ValueError("no German account")
"""


@pytest.fixture
def pytest_of_project(project: Path, environment: dict[str, str]) -> Callable[[str], int]:
    """Runs a test file in the project, where nothing says which database, and gives its exit status."""

    def run(text: str) -> int:
        (project / "test_captured.py").write_text(text)
        variables = {name: value for name, value in {**os.environ, **environment}.items() if "DSN" not in name}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_captured.py"],
            cwd=project,
            env={**variables, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "1 failed" in done.stdout or "1 passed" in done.stdout, done.stdout + done.stderr
        return done.returncode

    return run


def test_a_captured_failure_fails_until_its_cause_is_gone(
    run: Run, people: People, project: Path, pytest_of_project: Callable[[str], int]
) -> None:
    run("import", people(good=1, unknown=2), "--as", "people")
    [reason] = run("failures", "--json").document["reasons"]
    answer = run("failures", "--reason", reason["reason"][:4], "--as-test")
    assert answer.status == 0, answer.err
    assert "from shop import PeopleProcessor\n" in answer.out
    assert '    "email": "n0@example.com",\n' in answer.out
    assert pytest_of_project(answer.out) == 1
    module = project / "shop" / "__init__.py"
    module.write_text(module.read_text().replace('== "Nobody"', '== "Somebody else"'))
    assert pytest_of_project(answer.out) == 0


def test_sensitive_values_have_others_of_the_same_shape(run: Run, project: Path, tmp_path: Path) -> None:
    (project / "shop" / "accounts.py").write_text(SECRETS)
    (tmp_path / "a.jsonl").write_text('{"iban": "FR14 2004 1010", "sum": 1.50}\n')
    run("import", tmp_path / "a.jsonl", "--as", "accounts")
    [reason] = run("failures", "--json").document["reasons"]
    shown = run("failures", "--reason", reason["reason"], "--as-test").out
    assert "FR14" not in shown
    assert '    "iban": "XX11 1111 1111",\n    "sum": 1.50\n' in shown
    assert "parse_float=Decimal" in shown
    assert "from decimal import Decimal\n" in shown
    assert "FR14 2004 1010" in run("failures", "--reason", reason["reason"], "--as-test", "--with-sensitive").out


def test_what_cannot_be_captured_says_so(run: Run, people: People, tmp_path: Path) -> None:
    (tmp_path / "people.jsonl").write_bytes(b"[1, 2\n")
    run("import", tmp_path / "people.jsonl", "--as", "people")
    [reason] = run("failures", "--json").document["reasons"]
    answer = run("failures", "--reason", reason["reason"], "--as-test")
    assert (answer.status, answer.out) == (2, "")
    assert "could not be read" in answer.err
    assert run("failures", "--as-test").status == 2
