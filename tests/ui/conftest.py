"""One UI with the demo in it, and one Chromium, for all tests of a module; a page for each test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import temporary_database
from tests.ui.browser import VIEWPORT, NoChromium, browser
from tests.ui.dagster_ui import DagsterUi, demo_in_dagster
from tests.ui.project import READINGS

ITEMS = 3_000
# A busy machine is no failure.
SECONDS = 120
expect.set_options(timeout=SECONDS * 1000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.fail(str(NoChromium()), pytrace=False)
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def ui(chromium: Browser, server_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUi]:
    """Comes after the browser, which may be missing: that is told at once."""
    home: Path = tmp_path_factory.mktemp("ui")
    with temporary_database(server_dsn) as dsn, demo_in_dagster(dsn, home, "tests.ui.project") as ui:
        lines = [json.dumps({"number": number}) for number in range(ITEMS)]
        (ui.folder / READINGS).write_text("\n".join(lines))
        yield ui


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport=VIEWPORT)
    context.set_default_timeout(SECONDS * 1000)
    yield context.new_page()
    context.close()
