from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def old_batch(run: Run, people: Callable[..., Path], sql: Sql) -> int:
    """A batch with three good people and an unknown one, that ended a hundred days ago."""
    assert run("import", people(good=3, unknown=1), "--as", "people").status == 1
    sql("UPDATE reliable_imports.import_batches SET finished_at = now() - interval '100 days'")
    return 1


def test_old_data_goes_and_what_is_outstanding_stays(run: Run, old_batch: int) -> None:
    asked = run("purge", "--data-older-than", "90d")
    assert asked.status == 2
    assert "the data of up to 4 items in 1 batch would be gone for good; say --yes" in asked.err
    assert run("purge", "--data-older-than", "15w", "--yes").lines == [
        "nothing to purge: no batch that ended so long ago has data that may go"
    ]

    done = run("purge", "--data-older-than", "90d", "--yes")
    assert done.status == 0
    assert done.lines == [
        "the data of 3 items in 1 batch is erased",
        "1 outstanding or being repeated keeps its data; --outstanding-too takes what nobody repeats now",
    ]
    assert "data erased\tof 3 items" in run("status", "1").lines
    assert run("verify").status == 0

    told = run("purge", "--data-older-than", "2400h", "--outstanding-too", "--as", "people", "--yes", "--json")
    assert told.document == {"batches": 1, "items": 1, "kept_items": 0}
    assert "1 failed item of it cannot be repeated: data erased" in run("reprocess", "1").lines


@pytest.mark.parametrize("age", ["90", "d", "-3d", "90 days", "1.5d", ""])
def test_an_age_that_nobody_could_read_is_refused(run_without_database: Run, age: str) -> None:
    answer = run_without_database("purge", f"--data-older-than={age}", "--yes")
    assert answer.status == 2
    assert "is no age; give hours, days or weeks, such as 12h, 90d or 26w" in answer.err


def test_a_type_without_a_batch_is_named_and_not_passed_over(run: Run, old_batch: int) -> None:
    answer = run("purge", "--data-older-than", "90d", "--as", "poeple", "--yes")
    assert answer.status == 2
    assert "there is no batch of type 'poeple'; there are people" in answer.err
