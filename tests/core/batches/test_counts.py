"""What failed in a batch is counted once, whoever counts."""

from __future__ import annotations

import threading

from reliable_imports import BatchManager
from reliable_imports.batches.counts import count_batch
from reliable_imports.postgres.connect import connect, transaction
from reliable_imports.postgres.queries import load
from tests.core.conftest import Sql


def test_two_that_count_a_batch_of_repeats_at_once_count_it_once(
    manager: BatchManager, database: str, sql: Sql
) -> None:
    """As two that purge it do."""
    repeated = manager.create_batch("plain", [{"id": 1, "text": "bad"}])
    manager.process_batch(repeated)
    batch_id = manager.reprocess_batch(repeated).batch_id
    counts = "SELECT * FROM reliable_imports.import_repeat_counts"
    counted = sql(counts)
    assert counted
    sql(load("erase.sql")["uncount"] % {"batches": f"ARRAY[{batch_id}]"})
    assert sql(counts) == []

    errors: list[BaseException] = []

    def count_too() -> None:
        try:
            with connect(database) as connection, transaction(connection) as cursor:
                count_batch(cursor, batch_id)
        except BaseException as error:
            errors.append(error)

    other = threading.Thread(target=count_too)
    with connect(database) as connection, transaction(connection) as cursor:
        count_batch(cursor, batch_id)
        other.start()
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while other.is_alive() and not sql(waiting):
            pass
    other.join()
    assert errors == []
    assert sql(counts) == counted
