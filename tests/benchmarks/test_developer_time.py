"""Our way of the job in four ways does what its acceptance test asks, in no more lines than are promised; and the
acceptance test finds out a way that does not."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.databases import Databases
from benchmarks.developer_time.__main__ import count, lines_of
from benchmarks.developer_time.acceptance import CHECKS, accept
from benchmarks.developer_time.ways import OURS, WAYS


@pytest.fixture
def databases(server_dsn: str) -> Iterator[Databases]:
    with Databases(server_dsn).prepared() as databases:
        yield databases


@pytest.mark.slow
def test_our_way_passes_every_check_in_25_lines(databases: Databases) -> None:
    assert count(OURS).lines <= 25
    found = accept(OURS, databases, 0.01, lambda text: None)
    assert {check: why for check, why in found.items() if why} == {}
    assert list(found) == list(CHECKS)


@pytest.mark.slow
def test_a_way_that_does_nothing_passes_no_check(databases: Databases) -> None:
    nothing = (sys.executable, "-c", "")
    idle = dataclasses.replace(
        OURS, import_file=lambda path: nothing, go_on=lambda path: nothing, retry=nothing, orchestrated=None
    )
    found = accept(idle, databases, 0.01, lambda text: None)
    assert [check for check, why in found.items() if not why] == []


def test_lines_are_counted_without_blanks_comments_and_docstrings(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(
        '"""What\n\nit is."""\n\n# why\nx = 1\n\n\ndef f():\n    """Does."""\n    return x\n'
    )
    (tmp_path / "tables.sql").write_text("-- why\nCREATE TABLE a (\n    b text\n);\n\n")
    assert (lines_of(tmp_path / "code.py"), lines_of(tmp_path / "tables.sql")) == (3, 3)
    assert all(count(way).lines > count(OURS).lines for way in WAYS[1:])
