-- Counting again.

-- name: batches
SELECT id
FROM reliable_imports.import_batches
WHERE %(batch_id)s::bigint IS NULL OR id = %(batch_id)s
ORDER BY id

-- name: verify
-- One statement, so one snapshot: what is committed meanwhile is seen whole or not at all.
WITH batch AS (
    SELECT id, status, total_items, completed_items, failed_items, skipped_items
    FROM reliable_imports.import_batches
    WHERE id = %(batch_id)s
), ended AS (
    SELECT
        item_number,
        count(*) AS outcomes,
        max(outcome) AS outcome
    FROM reliable_imports.import_attempts
    WHERE batch_id = %(batch_id)s
        AND is_final
    GROUP BY item_number
), retries AS (
    SELECT item_number
    FROM reliable_imports.import_retries
    WHERE batch_id = %(batch_id)s
), items AS (
    SELECT
        item.item_number,
        item.item_number < held.next_item AS is_done,
        ended.outcomes,
        ended.outcome,
        retries.item_number IS NOT NULL AS waits
    FROM reliable_imports.import_items AS item
    LEFT JOIN reliable_imports.import_ranges AS held
        ON held.batch_id = item.batch_id
        AND held.range_number > 0
        AND held.range_number = 1 + (item.item_number - 1) / (
            SELECT max(first.last_item)
            FROM reliable_imports.import_ranges AS first
            WHERE first.batch_id = %(batch_id)s
                AND first.range_number = 1
        )
    LEFT JOIN ended ON ended.item_number = item.item_number
    LEFT JOIN retries ON retries.item_number = item.item_number
    WHERE item.batch_id = %(batch_id)s
), counted AS (
    SELECT
        count(*) AS items,
        coalesce(max(item_number), 0) AS last_item,
        count(*) FILTER (WHERE is_done AND NOT waits AND outcomes IS NULL) AS done_without_outcome,
        count(*) FILTER (WHERE is_done IS NOT TRUE AND outcomes IS NOT NULL) AS open_with_outcome,
        count(*) FILTER (WHERE outcomes > 1) AS several_outcomes,
        count(*) FILTER (WHERE waits AND outcomes IS NOT NULL) AS retry_with_outcome,
        count(*) FILTER (WHERE outcome = 'completed') AS completed,
        count(*) FILTER (WHERE outcome = 'failed') AS failed,
        count(*) FILTER (WHERE outcome = 'skipped') AS skipped,
        count(*) FILTER (WHERE outcomes IS NULL) AS open
    FROM items
), ranges AS (
    SELECT
        coalesce(sum(completed), 0) AS completed,
        coalesce(sum(failed), 0) AS failed,
        coalesce(sum(skipped), 0) AS skipped
    FROM reliable_imports.import_ranges
    WHERE batch_id = %(batch_id)s
), runs AS (
    SELECT coalesce(sum(completed + failed + skipped), 0) AS ended
    FROM reliable_imports.import_runs
    WHERE batch_id = %(batch_id)s
)
SELECT
    counted.items,
    abs(batch.total_items - counted.items) + abs(batch.total_items - counted.last_item) AS missing_items,
    counted.done_without_outcome,
    counted.open_with_outcome,
    counted.several_outcomes,
    counted.retry_with_outcome,
    abs(ranges.completed - counted.completed) AS wrong_completed,
    abs(ranges.failed - counted.failed) AS wrong_failed,
    abs(ranges.skipped - counted.skipped) AS wrong_skipped,
    abs(runs.ended - (ranges.completed + ranges.failed + ranges.skipped)) AS wrong_run_counts,
    (
        batch.completed_items IS NOT NULL
        AND (batch.completed_items, batch.failed_items, batch.skipped_items)
        IS DISTINCT FROM (ranges.completed, ranges.failed, ranges.skipped)
    ) AS wrong_batch_counts,
    CASE
        WHEN batch.status IN ('completed', 'completed_with_failures', 'failed') THEN counted.open
        ELSE 0
    END AS open_in_finished,
    (
        SELECT count(*)
        FROM reliable_imports.import_items AS item
        WHERE item.batch_id = %(batch_id)s
            AND item.repeats_batch_id IS NOT NULL
            AND NOT EXISTS (
                SELECT FROM reliable_imports.import_items AS repeated
                WHERE repeated.batch_id = item.repeats_batch_id
                    AND repeated.item_number = item.repeats_item_number
            )
    ) AS broken_links
FROM batch
CROSS JOIN counted
CROSS JOIN ranges
CROSS JOIN runs
