"""What a promise excludes, the tables refuse: whoever writes it, by whatever bug."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest

from reliable_imports import BatchManager
from tests.conftest import Sql

ITEMS = "INSERT INTO reliable_imports.import_items (batch_id, item_number, source_data, source_raw, read_problem)"
REPEATS = """
    INSERT INTO reliable_imports.import_items (
        batch_id, item_number, source_data, repeats_batch_id, repeats_item_number, repeats_attempts
    )
"""
ATTEMPTS = """
    INSERT INTO reliable_imports.import_attempts (
        batch_id, item_number, attempt, run_id, outcome, is_final, skip_reason, stage, reason, retryable
    )
"""


@pytest.fixture
def constraint_of(manager: BatchManager, sql: Sql) -> Callable[[str], str | None]:
    """The constraint that refuses a statement, beside a batch with one completed item."""
    manager.process_batch(manager.create_batch("notes", [{"id": 1, "text": "ok"}]))

    def refuse(statement: str) -> str | None:
        with pytest.raises(psycopg2.IntegrityError) as refused:
            sql(statement)
        return refused.value.diag.constraint_name

    return refuse


@pytest.mark.promise(1)
def test_an_item_has_its_json_or_its_raw_bytes(constraint_of: Callable[[str], str | None]) -> None:
    assert constraint_of(f"{ITEMS} VALUES (9, 1, '1', '1', NULL)") == "import_items_kept_once"
    assert constraint_of(f"{ITEMS} VALUES (9, 1, NULL, NULL, NULL)") == "import_items_kept_once"
    assert constraint_of(f"{ITEMS} VALUES (9, 1, '1', NULL, 'broken')") == "import_items_problem_has_raw"


@pytest.mark.promise(1)
def test_only_a_repeat_reads_its_data_elsewhere(constraint_of: Callable[[str], str | None]) -> None:
    elsewhere = """
        INSERT INTO reliable_imports.import_items (
            batch_id, item_number, source_data, repeats_batch_id, repeats_item_number, data_batch_id, data_item_number
        )
    """
    assert constraint_of(f"{elsewhere} VALUES (9, 1, NULL, NULL, NULL, 1, 1)") == "import_items_data_of_chain"
    assert constraint_of(f"{elsewhere} VALUES (9, 1, NULL, 1, 1, 1, NULL)") == "import_items_data_of_chain"
    assert constraint_of(f"{elsewhere} VALUES (9, 1, '1', 1, 1, 1, 1)") == "import_items_kept_once"


@pytest.mark.promise(4)
def test_an_attempt_has_one_outcome(constraint_of: Callable[[str], str | None]) -> None:
    again = f"{ATTEMPTS} VALUES (1, 1, 1, 1, 'completed', true, NULL, NULL, NULL, NULL)"
    assert constraint_of(again) == "import_attempts_pkey"


@pytest.mark.promise(6)
def test_an_outcome_that_is_no_completion_says_why(constraint_of: Callable[[str], str | None]) -> None:
    failed = f"{ATTEMPTS} VALUES (1, 1, 2, 1, 'failed', true, NULL, NULL, NULL, NULL)"
    skipped = f"{ATTEMPTS} VALUES (1, 1, 2, 1, 'skipped', true, NULL, NULL, NULL, NULL)"
    assert constraint_of(failed) == "import_attempts_failure_explained"
    assert constraint_of(skipped) == "import_attempts_skip_explained"


@pytest.mark.promise(8)
def test_an_item_is_repeated_once(constraint_of: Callable[[str], str | None]) -> None:
    assert constraint_of(f"{REPEATS} VALUES (9, 1, '1', 1, 1, 1), (9, 2, '1', 1, 1, 1)") == "import_items_repeated_once"
