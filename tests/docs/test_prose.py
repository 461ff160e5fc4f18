"""How pages and docstrings are written: a sentence a line, and the glossary's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "example_repo").rglob("*.md")),
]
# Of one thing that has another word by now.
OLD_WORDS = re.compile(r"audit trail|lines? of batches|batch's (whole )?line\b|\bits (whole )?line(,| counts)")
TEXTS = [
    *PAGES,
    *(
        path
        for package in ("reliable_imports", "reliable_imports_dagster", "example_repo")
        for path in sorted((ROOT / package).rglob("*"))
        if path.suffix in (".py", ".sql")
    ),
]


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a page that are neither code nor a table, without what is quoted as code."""
    is_code = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith("|"):
            yield number, re.sub(r"`[^`]*`", "X", line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_line_holds_one_sentence(page: Path) -> None:
    assert [number for number, line in prose(page) if re.search(r"[a-z)X][.?] +[A-Z]", line)] == []


def test_a_thing_has_one_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if OLD_WORDS.search(line)
    ]
    assert found == []
