"""The picture of a batch's moves is the table of them."""

from __future__ import annotations

import re

from reliable_imports.postgres.queries import load
from reliable_imports.statuses import BATCH_MOVES, MOVES_OF_A_BATCH, BatchStatus
from tests.running import ROOT

PAGE = (ROOT / "docs" / "moves.md").read_text(encoding="utf-8")
PICTURE = PAGE.split("## A batch\n")[1].split("```mermaid\n")[1].split("```")[0]
ARROWS = re.findall(r"^ +(\S+) --> (\S+?)(?:: (\w+))?$", PICTURE, re.MULTILINE)


def test_every_line_of_the_picture_is_an_arrow() -> None:
    assert len(ARROWS) == len(PICTURE.strip().splitlines()) - 1


def test_the_picture_shows_the_moves_that_are_allowed() -> None:
    shown = {(BatchStatus(start), BatchStatus(end)) for start, end, _ in ARROWS if "[*]" not in (start, end)}
    assert shown == {(start, end) for start, ends in BATCH_MOVES.items() for end in ends}


def test_the_picture_names_the_same_queries_as_the_table() -> None:
    shown = {arrow for arrow in ARROWS if "[*]" not in arrow[:2]}
    assert shown == {(move.start, move.end, move.query) for move in MOVES_OF_A_BATCH}


def test_the_picture_shows_which_statuses_are_final() -> None:
    assert {start for start, end, _ in ARROWS if end == "[*]"} == {status for status in BATCH_MOVES if status.is_final}
    assert [end for start, end, _ in ARROWS if start == "[*]"] == ["pending"]


def test_every_move_names_the_query_that_makes_it() -> None:
    queries = load("work.sql") | load("reprocess.sql")
    for start, end, query in ARROWS:
        if "[*]" in (start, end):
            continue
        text = queries[query]
        assert re.search(rf"status (=|IN) .*'{start}'", text), f"{query} does not leave {start}"
        assert f"'{end}'" in text, f"{query} does not lead to {end}"
