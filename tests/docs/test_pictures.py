"""The pictures of Dagster's UI: each is shown somewhere, and made by the script."""

from __future__ import annotations

import re

from tests.running import ROOT
from tests.ui.pictures import IMAGES, PICTURES


def test_the_pictures_that_documents_show_are_those_that_the_script_takes() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {
        name for document in documents for name in re.findall(r"!\[[^\]]+\]\([^)]*images/(.+?)\)", document.read_text())
    }

    assert shown == {f"{show.__name__}.png" for show in PICTURES} == {path.name for path in IMAGES.glob("*.png")}


def test_no_picture_is_large() -> None:
    assert max(path.stat().st_size for path in IMAGES.rglob("*.*")) < 250_000
