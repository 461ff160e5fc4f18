"""The page of `report`, as a browser shows it on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import ViewportSize

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext
from reliable_imports.report import Showing, report_on_batch, write_report
from tests.ui.browser import browser

HOSTILE = "<script>document.title = 'run'</script><img src=https://example.com/x onerror=\"document.title='run'\">"


class VisitorsProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        if item.source_data.get("bad"):
            raise ValueError(f"no: {item.source_data['bad'][::-1]}")


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_runs_nothing_and_asks_for_nothing(database: str, tmp_path: Path, width: int) -> None:
    manager = BatchManager(database)
    manager.registry.register(VisitorsProcessor)
    items = [{"bad": "x" * 900, HOSTILE: HOSTILE}, {"bad": HOSTILE[::-1], "long": "y" * 9_000}, {"good": 1}]
    batch_id = manager.create_batch("visitors", items, source=f"{'z' * 200}.csv", requested_by=HOSTILE)
    manager.process_batch(batch_id)
    manager.reprocess_batch(batch_id)
    file = write_report(tmp_path / "page.html", report_on_batch(manager, batch_id, Showing()))

    with browser() as started:
        page = started.new_page(viewport=ViewportSize(width=width, height=900))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(file.as_uri())

        assert page.title() == f"visitors, batch {batch_id}"
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert asked == [file.as_uri()]
        assert said == []
        assert page.evaluate("document.querySelectorAll('script, img').length") == 0
        assert page.locator("h1").inner_text() == "visitors: 1 of 3 items went in, 2 did not"
