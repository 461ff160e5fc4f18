"""The site: it can be made without a warning, lacks nothing, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import reliable_imports
import reliable_imports.testing
import reliable_imports_dagster
from tests.docs.mermaid import DOCS, PICTURES, name_of, texts
from tests.running import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "docs", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr[-5000:]
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"([^\"]+)", page.read_text())
        assert [each for each in loaded if each.startswith(("http:", "https:", "//"))] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", sheet.read_text()), sheet


def test_links_to_files_of_the_repository_lead_to_them(site: Path) -> None:
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#:?]+)[^":]*"', page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"


def test_every_picture_was_drawn_and_no_other() -> None:
    assert {path.name for path in PICTURES.glob("*")} == {name_of(text) for text in texts()}


@pytest.mark.parametrize("package", [reliable_imports, reliable_imports.testing, reliable_imports_dagster])
def test_every_public_name_is_in_the_api(package: object) -> None:
    name = package.__name__  # type: ignore[attr-defined]
    pages = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    told = re.findall(rf"^\.\. auto\w+:: {name}\.(\w+)$", pages, re.MULTILINE)
    assert sorted(told) == sorted(package.__all__)  # type: ignore[attr-defined]


def test_every_page_is_in_the_site(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS).with_suffix(".html")).exists()
