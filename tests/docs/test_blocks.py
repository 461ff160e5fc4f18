"""Every page's blocks are run: here, or by the page's own test, which is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, Reader, blocks_of, environment_of
from tests.running import ROOT

OWN_TESTS = {
    "dagster.md": "tests/dagster/test_documentation.py",
    "debugging.md": "tests/docs/test_debugging.py",
    "scaling.md": "tests/docs/test_scaling.py",
    "testing.md": "tests/docs/test_testing.py",
}
"""Pages whose blocks take a state of their own."""

PAGES = {str(page.relative_to(DOCS)): page for page in sorted(DOCS.rglob("*.md")) if blocks_of(page)}


@pytest.mark.parametrize("name", sorted(set(PAGES) - set(OWN_TESTS)))
def test_the_blocks_of_a_page_do_what_it_says(
    name: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    for part in ("examples", "example_repo"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "deploy", "data"))
    (folder / "example_repo" / "data").symlink_to(ROOT / "example_repo" / "data")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for variable, value in environment_of(database, folder).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    reader = Reader(folder, database)
    for block in blocks_of(PAGES[name]):
        try:
            reader.run(block)
        except Exception as error:
            raise AssertionError(f"docs/{name}, line {block.line}: {type(error).__name__}: {error}") from error


def test_a_page_with_a_test_of_its_own_has_it() -> None:
    for name, test in OWN_TESTS.items():
        assert name in PAGES
        assert name in (ROOT / test).read_text(), test
