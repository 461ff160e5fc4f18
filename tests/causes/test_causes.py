"""A reason is a cause: measured on failures whose cause is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from reliable_imports import BatchManager
from tests.causes.corpus import SECRETS, several_at_once
from tests.causes.measure import Grouping, edits_that_split, measure, prepare


@pytest.fixture
def library(database: str) -> BatchManager:
    manager = BatchManager(database)
    prepare(manager)
    return manager


@pytest.fixture
def seen(library: BatchManager) -> Grouping:
    return measure(library)


def test_every_cause_is_one_reason_and_every_reason_one_cause_and_no_title_holds_a_value(seen: Grouping) -> None:
    assert seen.not_failed == []
    assert dict(seen.merges) == {}
    assert dict(seen.splits) == {}
    assert [title for title in seen.titles if any(secret in title for secret in SECRETS)] == []


def test_edits_that_leave_a_fault_as_it_was_leave_its_reason_too(library: BatchManager, tmp_path: Path) -> None:
    assert edits_that_split(library, tmp_path) == []


def test_faults_that_meet_in_an_item_are_reasons_of_their_own(library: BatchManager) -> None:
    items = list(several_at_once())
    batch_id = library.create_batch("g_books", [item for item, _ in items])
    library.process_batch(batch_id)
    assert len(library.failure_reasons(batch_id)) == len(frozenset().union(*(names for _, names in items)))
