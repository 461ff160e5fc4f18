-- For which causes the items had failed that a batch repeats, by the batch that they had failed in: as it was counted when
-- the repeat was closed, else as it is now.
CREATE OR REPLACE VIEW reliable_imports.repeat_counts AS
SELECT batch_id, repeats_batch_id, reason, items, only_items
FROM reliable_imports.import_repeat_counts
UNION ALL
SELECT batch.id, now.repeats_batch_id, now.reason, now.items, now.only_items
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    SELECT
        item.repeats_batch_id,
        cause.reason,
        count(*) AS items,
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
    WHERE item.batch_id = batch.id
        AND repeated.outcome = 'failed'
        -- What a cancelled batch has not tried is outstanding as it was before.
        AND (
            batch.status <> 'cancelled'
            OR EXISTS (
                SELECT FROM reliable_imports.import_attempts AS tried
                WHERE tried.batch_id = item.batch_id
                    AND tried.item_number = item.item_number
                    AND tried.is_final
            )
            OR EXISTS (
                SELECT FROM reliable_imports.import_items AS again
                WHERE again.repeats_batch_id = item.batch_id
                    AND again.repeats_item_number = item.item_number
            )
        )
    GROUP BY item.repeats_batch_id, cause.reason
) AS now
WHERE NOT batch.is_counted
    AND batch.reprocess_of IS NOT NULL;
