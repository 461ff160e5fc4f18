"""The README's blocks are run (but for those that install, and run pytest), and what it shows is what comes out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(empty_database: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs a command as a reader would in a clone, on an empty database."""
    environment: Mapping[str, str] = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "RELIABLE_IMPORTS_DSN": empty_database,
        "RELIABLE_IMPORTS_HOME": str(tmp_path / "home"),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
    }
    (tmp_path / "dagster").mkdir()

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True)

    yield run
    (ROOT / "failed.csv").unlink(missing_ok=True)


def without_times(text: str) -> list[str]:
    """The lines of an output without what differs from run to run, and without the samples in tables."""
    text = re.sub(r"\(\d+\.\d s\)", "(_ s)", text)
    text = re.sub(r" in \d+\.\d s( \(.*\))?$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^1\. PostgreSQL: .*", "1. PostgreSQL", text, flags=re.MULTILINE)
    return ["  ".join(line.rstrip().split("\t")[:4]) for line in text.strip().splitlines()]


def test_the_demo_prints_what_the_readme_shows_and_twice_the_same(
    shell: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    (shown,) = blocks("text")
    assert ".venv/bin/reliable-imports demo\n" in blocks("bash")[0]

    first = shell("reliable-imports demo")
    assert (first.returncode, first.stderr) == (0, "")
    assert without_times(first.stdout) == without_times(shown)

    for block in blocks("console"):
        for each in block.removeprefix("$ ").split("\n$ "):
            command, _, output = each.partition("\n")
            answer = shell(command)
            assert answer.returncode in (0, 1), answer.stderr
            assert without_times(answer.stdout)[: len(output.splitlines())] == without_times(output)

    second = shell("reliable-imports demo")
    assert counts(second.stdout) == counts(first.stdout)


def counts(text: str) -> list[str]:
    """What every import and reprocess came to; not its batch, which is a new one each time."""
    found = re.findall(r": batch \d+, (.*) \(", text)
    assert len(found) == 6
    return found


@pytest.mark.parametrize("block", [block for block in blocks("bash") if ".venv" not in block])
def test_the_shell_blocks_run(
    shell: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, block: str
) -> None:
    (tmp_path / "clone").mkdir()  # in which a block may make files
    (tmp_path / "clone" / "example_repo").symlink_to(ROOT / "example_repo")
    begin = f"cd {tmp_path / 'clone'}\n" if " init " in block else ""

    result = shell(f"set -e\n{begin}{block}")

    assert result.returncode == 0, result.stderr[-2000:]


def test_the_python_blocks_run(empty_database: str, tmp_path: Path) -> None:
    tables = "CREATE TABLE customers (id integer GENERATED ALWAYS AS IDENTITY, email text PRIMARY KEY, name text)"
    program = tmp_path / "readme.py"
    setup = f"import psycopg2\nwith psycopg2.connect({empty_database!r}) as c: c.cursor().execute({tables!r})\n"
    program.write_text(setup + "".join(blocks("python")))
    result = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env={**os.environ, "RELIABLE_IMPORTS_DSN": empty_database, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (0, "Completed: 1/2\n"), result.stderr


def test_the_reprocess_config_of_the_readme_is_accepted(
    shell: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (config,) = blocks("yaml")
    (tmp_path / "reprocess.yaml").write_text(config.replace("batch_id: 4", "batch_id: 1"))
    assert shell("reliable-imports import --as customer_data").returncode == 1

    job = "dagster job execute -m example_repo.definitions -j reprocess_failed_items"
    result = shell(f"{job} -c {tmp_path}/reprocess.yaml")
    # The two customers without an address fail again, and a batch in which nothing completes is a failed run.
    assert result.returncode == 1, result.stderr[-2000:]
    assert "batch 2" in result.stderr


def test_nothing_of_the_readme_needs_what_is_not_installed() -> None:
    assert shutil.which("reliable-imports", path=str(Path(sys.executable).parent)), "install with pip install -e ."
