-- For which causes the items had failed that a batch repeats, by the batch that they had failed in.
CREATE OR REPLACE FUNCTION reliable_imports.repeat_counts_v1(counted_batch bigint)
RETURNS TABLE (
    repeats_batch_id  bigint,
    reason            text,
    items             bigint,
    only_items        bigint
)
LANGUAGE sql STABLE AS $$
    SELECT
        item.repeats_batch_id,
        cause.reason,
        count(*),
        count(*) FILTER (WHERE pg_catalog.cardinality(repeated.reasons) = 1)
    FROM reliable_imports.import_items AS item
    JOIN reliable_imports.import_batches AS batch ON batch.id = item.batch_id
    JOIN reliable_imports.import_attempts AS repeated
        ON repeated.batch_id = item.repeats_batch_id
        AND repeated.item_number = item.repeats_item_number
        AND repeated.is_final
        AND repeated.outcome = 'failed'
    CROSS JOIN LATERAL pg_catalog.unnest(repeated.reasons) AS cause (reason)
    WHERE item.batch_id = counted_batch
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
$$;
