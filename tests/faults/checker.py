"""Whether the database shows what the promises say; plain SQL on what people read, nothing of the engine's own.

The target table has no key, so an item that was written twice shows. Everything is read in one snapshot, so a batch
may be checked while it is worked on, and after any crash.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from tests.faults.targets import SECRET
from tests.faults.totals import TOTALS

_FINAL = ("completed", "completed_with_failures", "failed", "cancelled")

# Each gives what is wrong, as rows; none is right.
_CHECKS = {
    "items without exactly one known status": """
        SELECT item_number, count(*), min(status)
        FROM reliable_imports.import_batch_items
        WHERE batch_id = %(batch_id)s
        GROUP BY item_number
        HAVING count(*) <> 1
            OR min(status) NOT IN ('pending', 'processing', 'completed', 'failed', 'skipped')""",
    "item numbers with gaps, or not as many as the batch has": """
        SELECT count(*), min(item_number), max(item_number), batch.total_items
        FROM reliable_imports.import_batches AS batch
        LEFT JOIN reliable_imports.import_batch_items AS item ON item.batch_id = batch.id
        WHERE batch.id = %(batch_id)s
        GROUP BY batch.total_items
        HAVING count(item_number) <> batch.total_items
            OR coalesce(min(item_number), 1) <> 1
            OR coalesce(max(item_number), 0) <> batch.total_items""",
    "completed items that were lost: nothing of them was written": """
        SELECT item_number
        FROM reliable_imports.import_batch_items AS item
        WHERE batch_id = %(batch_id)s
            AND status = 'completed'
            AND NOT EXISTS (
                SELECT FROM written
                WHERE written.batch_id = item.batch_id
                    AND written.item_number = item.item_number
                    AND written.item_id = (item.source_data ->> 'id')::bigint
            )""",
    "items that were doubled: written more than once": """
        SELECT batch_id, item_number, count(*)
        FROM written
        WHERE batch_id = %(batch_id)s
        GROUP BY batch_id, item_number
        HAVING count(*) > 1""",
    "ids that were doubled in the lineage: written by several batches": """
        SELECT written.item_id, count(*)
        FROM written
        JOIN reliable_imports.import_batches AS batch ON batch.id = written.batch_id
        JOIN reliable_imports.import_batches AS named ON named.first_batch_id = batch.first_batch_id
        WHERE named.id = %(batch_id)s
        GROUP BY written.item_id
        HAVING count(*) > 1""",
    "items that are not completed, and yet were written": """
        SELECT written.item_number, item.status
        FROM written
        LEFT JOIN reliable_imports.import_batch_items AS item
            ON item.batch_id = written.batch_id
            AND item.item_number = written.item_number
        WHERE written.batch_id = %(batch_id)s
            AND item.status IS DISTINCT FROM 'completed'""",
    "counts of the batch that are not what its items say": """
        SELECT summary.*, counted.*
        FROM reliable_imports.batch_summaries AS summary
        CROSS JOIN (
            SELECT
                count(*) FILTER (WHERE status = 'completed') AS completed,
                count(*) FILTER (WHERE status = 'failed') AS failed,
                count(*) FILTER (WHERE status = 'skipped') AS skipped,
                count(*) FILTER (WHERE status IN ('pending', 'processing')) AS open
            FROM reliable_imports.import_batch_items
            WHERE batch_id = %(batch_id)s
        ) AS counted
        WHERE summary.batch_id = %(batch_id)s
            AND (completed_items, failed_items, skipped_items, open_items)
                IS DISTINCT FROM (counted.completed, counted.failed, counted.skipped, counted.open)""",
    "counts of ranges or runs that are not what the items say": """
        SELECT ranges.*, runs.*, counted.*
        FROM (
            SELECT
                coalesce(sum(completed), 0) AS completed, coalesce(sum(failed), 0) AS failed,
                coalesce(sum(skipped), 0) AS skipped
            FROM reliable_imports.import_ranges
            WHERE batch_id = %(batch_id)s
        ) AS ranges
        CROSS JOIN (
            SELECT
                coalesce(sum(completed), 0) AS completed, coalesce(sum(failed), 0) AS failed,
                coalesce(sum(skipped), 0) AS skipped
            FROM reliable_imports.import_runs
            WHERE batch_id = %(batch_id)s
        ) AS runs
        CROSS JOIN (
            SELECT
                count(*) FILTER (WHERE status = 'completed') AS completed,
                count(*) FILTER (WHERE status = 'failed') AS failed,
                count(*) FILTER (WHERE status = 'skipped') AS skipped
            FROM reliable_imports.import_batch_items
            WHERE batch_id = %(batch_id)s
        ) AS counted
        WHERE (ranges.completed, ranges.failed, ranges.skipped)
                IS DISTINCT FROM (counted.completed, counted.failed, counted.skipped)
            OR (runs.completed, runs.failed, runs.skipped)
                IS DISTINCT FROM (counted.completed, counted.failed, counted.skipped)""",
    "attempts that are not numbered on, or not exactly one of them final and last": """
        SELECT
            item.item_number, item.earlier_attempts, pg_catalog.array_agg(attempt.attempt ORDER BY attempt.attempt),
            pg_catalog.array_agg(attempt.is_final ORDER BY attempt.attempt)
        FROM reliable_imports.stored_items AS item
        JOIN reliable_imports.import_batch_items AS shown
            ON shown.batch_id = item.batch_id
            AND shown.item_number = item.item_number
        LEFT JOIN reliable_imports.import_attempts AS attempt
            ON attempt.batch_id = item.batch_id
            AND attempt.item_number = item.item_number
        WHERE item.batch_id = %(batch_id)s
        GROUP BY item.item_number, item.earlier_attempts, shown.status
        HAVING count(*) FILTER (WHERE attempt.is_final)
                <> CASE WHEN shown.status IN ('completed', 'failed', 'skipped') THEN 1 ELSE 0 END
            OR coalesce(min(attempt.attempt), item.earlier_attempts + 1) <> item.earlier_attempts + 1
            OR coalesce(max(attempt.attempt) - min(attempt.attempt) + 1, 0) <> count(attempt.attempt)
            OR coalesce(max(attempt.attempt) FILTER (WHERE attempt.is_final), max(attempt.attempt))
                IS DISTINCT FROM max(attempt.attempt)""",
    "attempts of runs or items that are not there": """
        SELECT attempt.item_number, attempt.run_id
        FROM reliable_imports.import_attempts AS attempt
        LEFT JOIN reliable_imports.import_runs AS run ON run.id = attempt.run_id AND run.batch_id = attempt.batch_id
        LEFT JOIN reliable_imports.import_items AS item
            ON item.batch_id = attempt.batch_id
            AND item.item_number = attempt.item_number
        WHERE attempt.batch_id = %(batch_id)s
            AND (run.id IS NULL OR item.batch_id IS NULL)""",
    "a status that hides what became of the items": """
        SELECT summary.status, summary.completed_items, summary.failed_items, summary.open_items
        FROM reliable_imports.batch_summaries AS summary
        WHERE summary.batch_id = %(batch_id)s
            AND NOT CASE summary.status
                WHEN 'completed' THEN failed_items = 0 AND open_items = 0
                WHEN 'completed_with_failures' THEN failed_items > 0 AND completed_items > 0 AND open_items = 0
                WHEN 'failed' THEN failed_items > 0 AND completed_items = 0 AND open_items = 0
                WHEN 'pending' THEN completed_items + failed_items + skipped_items = 0
                ELSE true
            END""",
    "items that two later items repeat, or that repeat something else": """
        SELECT item.repeats_batch_id, item.repeats_item_number, count(*)
        FROM reliable_imports.stored_items AS item
        LEFT JOIN reliable_imports.stored_items AS repeated
            ON repeated.batch_id = item.repeats_batch_id
            AND repeated.item_number = item.repeats_item_number
        WHERE item.batch_id = %(batch_id)s
            AND item.repeats_batch_id IS NOT NULL
        GROUP BY item.repeats_batch_id, item.repeats_item_number
        HAVING count(*) > 1
            OR pg_catalog.bool_or(repeated.source_data::text IS DISTINCT FROM item.source_data::text)""",
    "personal data outside the source data": """
        SELECT 'attempt', item_number
        FROM reliable_imports.import_attempts AS tried  -- not "attempt", which is a column
        WHERE batch_id = %(batch_id)s
            AND pg_catalog.strpos(tried::text, %(secret)s) > 0
        UNION ALL
        SELECT 'log', id
        FROM reliable_imports.import_logs AS log
        WHERE batch_id = %(batch_id)s
            AND pg_catalog.strpos(log::text, %(secret)s) > 0
        UNION ALL
        SELECT 'reason', count(*)
        FROM reliable_imports.import_failure_reasons AS reason
        WHERE pg_catalog.strpos(reason::text, %(secret)s) > 0
        HAVING count(*) > 0""",
}
_FAILED = """
    SELECT item_number, error_type, error_message
    FROM reliable_imports.import_batch_items
    WHERE batch_id = %(batch_id)s
        AND status = 'failed'
    ORDER BY item_number"""
_SUMMARY = "SELECT status, total_items, open_items FROM reliable_imports.batch_summaries WHERE batch_id = %(batch_id)s"


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        problems: in words, with the first rows; empty if all is well.
        failed: the numbers of the items that failed.
    """

    status: str
    total: int
    open: int
    failed: tuple[int, ...]
    lost: int
    doubled: int
    problems: tuple[str, ...]


def check(dsn: str, batch_id: int, *, may_fail: Collection[int] = (), is_finished: bool = False) -> Checked:
    """Look at one batch.

    Args:
        may_fail: the items that deserve to fail; any other that failed was blamed for something else's fault.
        is_finished: the batch must have come to its end.
    """
    parameters = {"batch_id": batch_id, "secret": SECRET}
    problems = []
    lost = doubled = 0
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
        for what, query in _CHECKS.items():
            cursor.execute(query, parameters)
            if wrong := cursor.fetchall():
                problems.append(_problem(what, wrong))
                lost += len(wrong) * ("lost" in what)
                doubled += len(wrong) * ("doubled" in what)
        cursor.execute(_FAILED, parameters)
        failed = cursor.fetchall()
        cursor.execute(_SUMMARY, parameters)
        status, total, still_open = cursor.fetchone()
    if blamed := [row for row in failed if row[0] not in may_fail]:
        problems.append(_problem("items that failed for no fault of theirs", blamed))
    if is_finished and (status not in _FINAL or still_open):
        problems.append(f"the batch should have come to its end: {status}, {still_open} of {total} items open")
    return Checked(status, total, still_open, tuple(row[0] for row in failed), lost, doubled, tuple(problems))


def assert_sound(dsn: str, batch_id: int, *, may_fail: Collection[int] = (), is_finished: bool = False) -> Checked:
    """`check`, and nothing must be wrong."""
    checked = check(dsn, batch_id, may_fail=may_fail, is_finished=is_finished)
    TOTALS.add("rounds")
    TOTALS.add("lost", checked.lost)
    TOTALS.add("doubled", checked.doubled)
    if is_finished:
        TOTALS.add("items", checked.total)
    assert not checked.problems, f"batch {batch_id}:\n" + "\n".join(checked.problems)
    return checked


def _problem(what: str, rows: list[Any]) -> str:
    return f"{len(rows)} {what}: {', '.join(map(str, rows[:5]))}"
