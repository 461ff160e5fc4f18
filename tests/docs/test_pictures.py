"""The pictures of Dagster's UI and of a terminal: each is shown somewhere, and made by a script."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from tests.running import ROOT
from tests.ui.pictures import IMAGES, PICTURES
from tests.ui.terminal import COMMANDS, RECORDING, lines_of


def test_the_pictures_that_documents_show_are_those_that_the_script_takes() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {
        name for document in documents for name in re.findall(r"!\[[^\]]+\]\([^)]*images/(.+?)\)", document.read_text())
    }

    assert shown == {RECORDING.name, *(f"{show.__name__}.png" for show in PICTURES)}
    assert shown == {path.name for path in IMAGES.glob("*.*")}


def test_no_picture_is_large() -> None:
    assert max(path.stat().st_size for path in IMAGES.rglob("*.*")) < 250_000


def test_the_recording_shows_the_commands_in_their_order_and_loads_nothing() -> None:
    recording = ElementTree.parse(RECORDING)
    texts = ["".join(text.itertext()) for text in recording.iter("{http://www.w3.org/2000/svg}text")]
    assert [text.removeprefix("$ ") for text in texts if text.startswith("$ ")] == list(COMMANDS)
    assert RECORDING.read_text(encoding="utf-8").count("http") == 1  # the name of the language


def test_what_a_command_has_taken_back_is_not_shown() -> None:
    written = "storing 1\r\x1b[2Kstoring 2\r\n\x1b[?25h\r\x1b[1A\x1b[2K\x1b[1mdone\x1b[0m\r\nnext:\r\n"
    assert lines_of(written) == ["\x1b[1mdone\x1b[0m", "next:"]
