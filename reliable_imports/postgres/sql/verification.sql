-- Counting again.

-- name: batches
SELECT id
FROM reliable_imports.import_batches
WHERE %(batch_id)s::bigint IS NULL OR id = %(batch_id)s
ORDER BY id

-- name: verify
-- One statement, so one snapshot: what is committed meanwhile is seen whole or not at all.
WITH batch AS (
    SELECT id, status, total_items, completed_items, failed_items, skipped_items, is_counted, erased_items
    FROM reliable_imports.import_batches
    WHERE id = %(batch_id)s
), held AS MATERIALIZED (
    -- Where each range begins and where it stands, in their order.
    SELECT pg_catalog.array_agg(first_item ORDER BY first_item) AS firsts, pg_catalog.array_agg(next_item ORDER BY first_item) AS nexts
    FROM (
        SELECT next_item, 1 + coalesce(lag(last_item) OVER (ORDER BY range_number), 0) AS first_item
        FROM reliable_imports.import_ranges
        WHERE batch_id = %(batch_id)s
            AND range_number <> reliable_imports.retries_range_v1()
    ) AS ranges
), found AS (
    -- Everything that names an item, brought together by sorting: no plan for it depends on statistics.
    SELECT
        item_number,
        sum(stored) AS stored,
        sum(outcomes) AS outcomes,
        sum(waits) AS waits,
        max(outcome) AS outcome
    FROM (
        SELECT item_number, 1 AS stored, 0 AS outcomes, 0 AS waits, NULL AS outcome
        FROM reliable_imports.import_items
        WHERE batch_id = %(batch_id)s
        UNION ALL
        SELECT item_number, 0, 1, 0, outcome
        FROM reliable_imports.import_attempts
        WHERE batch_id = %(batch_id)s
            AND is_final
        UNION ALL
        SELECT item_number, 0, 0, 1, NULL
        FROM reliable_imports.import_retries
        WHERE batch_id = %(batch_id)s
    ) AS traces
    GROUP BY item_number
), items AS (
    SELECT
        found.*,
        found.item_number < held.nexts[pg_catalog.width_bucket(found.item_number, held.firsts)] AS is_done
    FROM found
    CROSS JOIN held
), counted AS (
    SELECT
        count(*) FILTER (WHERE stored = 1) AS items,
        coalesce(max(item_number), 0) AS last_item,
        count(*) FILTER (WHERE stored <> 1) AS strangers,
        count(*) FILTER (WHERE is_done AND waits = 0 AND outcomes = 0) AS done_without_outcome,
        count(*) FILTER (WHERE is_done IS NOT TRUE AND outcomes > 0) AS open_with_outcome,
        count(*) FILTER (WHERE outcomes > 1) AS several_outcomes,
        count(*) FILTER (WHERE waits > 0 AND outcomes > 0) AS retry_with_outcome,
        count(*) FILTER (WHERE outcome = 'completed') AS completed,
        count(*) FILTER (WHERE outcome = 'failed') AS failed,
        count(*) FILTER (WHERE outcome = 'skipped') AS skipped,
        count(*) FILTER (WHERE outcomes = 0) AS open
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
    greatest(abs(batch.total_items - counted.items), abs(batch.total_items - counted.last_item)) AS missing_items,
    counted.strangers,
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
                OFFSET 0
            )
    ) AS broken_links,
    (
        SELECT count(*)
        FROM reliable_imports.import_items AS item
        WHERE item.batch_id = %(batch_id)s
            AND item.data_batch_id IS NOT NULL
            AND item.erased_at IS NULL
            AND NOT EXISTS (
                SELECT FROM reliable_imports.import_items AS held
                WHERE held.batch_id = item.data_batch_id
                    AND held.item_number = item.data_item_number
                    AND held.data_batch_id IS NULL
                    AND held.erased_at IS NULL
                OFFSET 0
            )
    ) AS without_data,
    (
        SELECT count(*)
        FROM (
            SELECT reason, items, only_items
            FROM reliable_imports.import_failure_counts
            WHERE batch_id = %(batch_id)s
        ) AS kept
        FULL JOIN (
            SELECT cause.reason, count(*) AS items,
                count(*) FILTER (WHERE pg_catalog.cardinality(failure.reasons) = 1) AS only_items
            FROM reliable_imports.import_attempts AS failure
            CROSS JOIN LATERAL pg_catalog.unnest(failure.reasons) AS cause (reason)
            WHERE failure.batch_id = %(batch_id)s
                AND failure.is_final
                AND failure.outcome = 'failed'
            GROUP BY cause.reason
        ) AS there ON there.reason = kept.reason
        WHERE batch.is_counted
            AND (kept.items, kept.only_items) IS DISTINCT FROM (there.items, there.only_items)
    ) AS wrong_failure_counts,
    (
        SELECT count(*)
        FROM (
            SELECT repeats_batch_id, reason, items, only_items
            FROM reliable_imports.import_repeat_counts
            WHERE batch_id = %(batch_id)s
        ) AS kept
        FULL JOIN (
            SELECT item.repeats_batch_id, cause.reason, count(*) AS items,
                count(*) FILTER (WHERE pg_catalog.cardinality(repeated.reasons) = 1) AS only_items
            FROM reliable_imports.import_items AS item
            CROSS JOIN LATERAL (
                SELECT ended.outcome, ended.reasons
                FROM reliable_imports.import_attempts AS ended
                WHERE ended.batch_id = item.repeats_batch_id
                    AND ended.item_number = item.repeats_item_number
                    AND ended.is_final
                OFFSET 0
            ) AS repeated
            CROSS JOIN LATERAL pg_catalog.unnest(repeated.reasons) AS cause (reason)
            WHERE item.batch_id = %(batch_id)s
                AND repeated.outcome = 'failed'
            GROUP BY item.repeats_batch_id, cause.reason
        ) AS there ON there.repeats_batch_id = kept.repeats_batch_id AND there.reason = kept.reason
        WHERE batch.is_counted
            AND (kept.items, kept.only_items) IS DISTINCT FROM (there.items, there.only_items)
            -- Else what they repeat may be in a partition that was dropped.
            AND EXISTS (
                SELECT FROM reliable_imports.import_items AS repeated
                WHERE repeated.batch_id = coalesce(kept.repeats_batch_id, there.repeats_batch_id)
                OFFSET 0
            )
    ) AS wrong_repeat_counts,
    abs(batch.erased_items - (
        SELECT count(*)
        FROM reliable_imports.import_items AS item
        WHERE item.batch_id = %(batch_id)s
            AND item.erased_at IS NOT NULL
    )) AS wrong_erased
FROM batch
CROSS JOIN counted
CROSS JOIN ranges
CROSS JOIN runs
