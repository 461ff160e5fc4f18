"""`python -m tests.docs.mermaid`: draws the pictures that the documentation writes in Mermaid, for the site.

GitHub draws them by itself. The site has them as SVG, because its pages load nothing from elsewhere. Mermaid comes from
npm, and Chromium draws.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import tarfile
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.running import ROOT
from tests.ui.browser import browser

DOCS = ROOT / "docs"
PICTURES = DOCS / "images" / "mermaid"
PACKAGE = "mermaid@11.12.1"

SETTINGS = {
    "startOnLoad": False,
    "theme": "neutral",
    "fontFamily": "Arial, Helvetica, sans-serif",
    "htmlLabels": False,
    "flowchart": {"htmlLabels": False},
    "deterministicIds": True,
}


def texts() -> list[str]:
    """The pictures of all pages."""
    pages = sorted(DOCS.rglob("*.md"))
    return [
        text
        for page in pages
        for text in re.findall(r"^```mermaid\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]


def name_of(text: str) -> str:
    """The file of a picture."""
    return str(_CONF["picture_of"](text))


def draw(page: Page, text: str) -> str:
    drawn = page.evaluate(
        "async ([text, settings]) => { mermaid.initialize(settings); return (await mermaid.render('m', text)).svg }",
        [text, SETTINGS],
    )
    drawn = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.1f}", drawn)
    # A picture of its own needs a size of its own.
    width, height = re.findall(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', drawn)[0]
    return re.sub(r'width="100%"', f'width="{float(width):.0f}" height="{float(height):.0f}"', drawn, count=1) + "\n"


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as package:
            script = package.extractfile("package/dist/mermaid.min.js")
            assert script is not None
            mermaid = script.read().decode()
        page = chromium.new_page()
        page.set_content("<html><body></body></html>")
        page.add_script_tag(content=mermaid)
        drawn = {name_of(text): draw(page, text) for text in texts()}
    for path in PICTURES.glob("*.svg"):
        if path.name not in drawn:
            path.unlink()
    for name, svg in drawn.items():
        (PICTURES / name).write_text(svg)


_CONF = runpy.run_path(str(DOCS / "conf.py"))

if __name__ == "__main__":
    main()
