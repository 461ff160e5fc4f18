"""Chromium without a window, as the machine has it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, ViewportSize, sync_playwright

_FLAGS = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT: ViewportSize = {"width": 1440, "height": 900}


class NoChromium(Exception):
    """There is no chromium to look at the UI with."""

    def __init__(self) -> None:
        super().__init__(
            "there is no program `chromium` on PATH, and the UI is looked at with it; "
            "install it, on Debian by `apt-get install chromium`"
        )


@contextmanager
def browser() -> Iterator[Browser]:
    """Raises NoChromium: there is none on PATH."""
    program = shutil.which("chromium")
    if program is None:
        raise NoChromium
    # Root's processes cannot have Chromium's sandbox. It sees pages of our own server only.
    flags = [*_FLAGS, "--no-sandbox"] if os.geteuid() == 0 else _FLAGS
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            yield started
        finally:
            started.close()
