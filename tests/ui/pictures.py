"""`python -m tests.ui.pictures`: takes the pictures of Dagster's UI that the documentation shows, in docs/images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import FloatRect, Locator, Page, expect

from reliable_imports.embedded import THROW_AWAY, EmbeddedPostgres
from tests.running import ROOT
from tests.ui.browser import VIEWPORT, browser
from tests.ui.dagster_ui import DagsterUi, demo_in_dagster

IMAGES = ROOT / "docs" / "images"
SECONDS = 60


def asset(page: Page, ui: DagsterUi) -> Locator:
    """As tall as what it says of the last batch, up to the path of its source, which is of this machine alone."""
    page.set_viewport_size({**VIEWPORT, "height": 1_600})
    _open_metadata(page, ui)
    return page.get_by_role("cell", name="source", exact=True)


def plots(page: Page, ui: DagsterUi) -> None:
    page.set_viewport_size({**VIEWPORT, "height": 1_200})
    _open_metadata(page, ui)
    page.get_by_role("button", name="Plots").click()
    expect(page.locator("canvas")).to_have_count(8)


def checks(page: Page, ui: DagsterUi) -> None:
    page.goto(f"{ui.asset('flights')}?view=checks")
    page.get_by_text("no_failed_items", exact=True).first.click()
    expect(page.get_by_text("wait to be reprocessed")).to_be_visible()


def lineage(page: Page, ui: DagsterUi) -> None:
    page.goto(f"{ui.asset('flights')}?view=lineage")
    expect(page.get_by_text("3 / 3 Passed")).to_have_count(3)
    expect(page.get_by_text("1 / 3 Passed")).to_be_visible()


def runs(page: Page, ui: DagsterUi) -> None:
    """Those of the lineage of the flights' batch."""
    page.goto(ui.asset("flights"))
    page.get_by_role("link", name="runs of its lineage").click()
    expect(page.get_by_role("link", name="View", exact=True)).to_have_count(2)


def launchpad(page: Page, ui: DagsterUi) -> None:
    page.goto(ui.asset("flights"))
    page.get_by_role("link", name="in the launchpad").click()
    expect(page.get_by_text("No errors")).to_be_visible()
    page.get_by_text("batch_id").click()
    page.mouse.move(0, 0)  # what hovers there hides the config
    expect(page.locator("code")).to_contain_text("A batch; its whole lineage counts")
    expect(page.get_by_role("button", name="Launch Run")).to_be_enabled()


def sensors(page: Page, ui: DagsterUi) -> None:
    page.goto(f"{ui.url}/automation")
    expect(page.get_by_role("link", name="_sensor")).to_have_count(8)


# Each shows a page, and says above what its picture ends, if not at the window's edge.
PICTURES: list[Callable[[Page, DagsterUi], Locator | None]] = [
    asset,
    plots,
    checks,
    lineage,
    runs,
    launchpad,
    sensors,
]


def _open_metadata(page: Page, ui: DagsterUi) -> None:
    """The asset's page at what it says of the last batch."""
    page.goto(ui.asset("flights"))
    entry = page.get_by_role("cell", name="outstanding_failures", exact=True)
    expect(entry).to_be_visible()
    columns = page.get_by_role("button", name="Columns")
    if columns.get_attribute("aria-expanded") == "true":  # the browser remembers that they are folded
        columns.click()


def _above(end: Locator | None) -> FloatRect | None:
    box = None if end is None else end.bounding_box()
    return None if box is None else {"x": 0, "y": 0, "width": VIEWPORT["width"], "height": box["y"]}


def take_pictures(ui: DagsterUi, page: Page) -> None:
    page.goto(ui.url)
    page.get_by_role("button", name="Hide navigation").click()
    for show in PICTURES:
        page.set_viewport_size(VIEWPORT)
        page.mouse.move(0, 0)
        end = show(page, ui)
        page.wait_for_load_state("networkidle")
        path = IMAGES / f"{show.__name__}.png"
        page.screenshot(path=path, animations="disabled", clip=_above(end))
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    expect.set_options(timeout=SECONDS * 1000)
    with tempfile.TemporaryDirectory(prefix="reliable-imports-pictures-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # a server started by root runs as another account
        server = EmbeddedPostgres(home / "postgres", settings=THROW_AWAY)
        server.start()
        try:
            with browser() as chromium, demo_in_dagster(server.dsn("postgres"), home) as ui:
                take_pictures(ui, chromium.new_page(viewport=VIEWPORT))
        finally:
            server.stop("immediate")


if __name__ == "__main__":
    main()
