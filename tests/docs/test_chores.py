"""Each chore is one command, and CONTRIBUTING names it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tasks

ROOT = Path(__file__).parents[2]


def test_every_chore_is_documented_and_no_other() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Check")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(tasks.CHORES)


def test_without_a_chore_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert tasks.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in tasks.CHORES)

    assert tasks.main(["tidy"]) == 2


def test_a_chore_ends_with_the_first_command_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.CHORES, "fails", ("fails", [("this_module_is_nowhere",), ("pytest", "--version")]))
    assert tasks.main(["fails"]) == 1
