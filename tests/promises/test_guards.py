"""Every guard that the promises rest on is there. Before a release each of them is broken, and a test has to fail.

`--promises-release` copies the package, breaks one guard at a time, and runs the test that must notice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises.guards import GUARDS, Guard
from tests.running import ROOT

PACKAGE = ROOT / "reliable_imports"
ONE_PROCESS = ("-n", "0", "-q", "-x", "-p", "no:cacheprovider")
COPIED = ("reliable_imports", "reliable_imports_dagster", "example_repo", "tests", "pyproject.toml")


def places(old: str) -> list[Path]:
    """The files of the package that hold the text, each as often as it does."""
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".sql")]
    return [path for path in files for _ in range(path.read_text(encoding="utf-8").count(old))]


def changes(guard: Guard) -> list[tuple[str, str]]:
    return [(guard.old, guard.new), *guard.more]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.promise}-{guard.name}")
def test_a_guard_stands_in_one_place(guard: Guard) -> None:
    for old, _ in changes(guard):
        found = [str(path.relative_to(ROOT)) for path in places(old)]
        assert len(found) == 1, f"adapt tests/promises/guards.py: {old!r} is found in {found or 'no file'}"


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.promise}-{guard.name}")
def test_a_broken_guard_is_noticed(guard: Guard, server_dsn: str, tmp_path: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    for old, new in changes(guard):
        (place,) = places(old)
        broken = tmp_path / place.relative_to(ROOT)
        broken.write_text(broken.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-n0",
            "-q",
            "-x",
            "-pno:cacheprovider",
            f"--test-dsn={server_dsn}",
            guard.test,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    # 1: tests failed. Anything else would be a mistake of ours: no such test, or code that cannot be imported.
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout[-3000:] + result.stderr[-1000:]
