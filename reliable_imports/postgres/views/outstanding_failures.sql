-- Failed items that no later item repeats, across the whole lineage of a batch; and what a cancelled batch left undone,
-- which has no reason.
CREATE OR REPLACE VIEW reliable_imports.outstanding_failures AS
SELECT
    batch.first_batch_id,
    batch.batch_type,
    failure.batch_id,
    failure.item_number,
    failure.reason,
    failure.attempt AS attempts,
    failure.retryable,
    failure.finished_at + failure.retry_after AS retry_at,
    failure.finished_at AS failed_at,
    failure.constraint_name,
    failure.missing_key,
    failure.missing_fields,
    failure.reasons,
    -- For none but causes that people have said to ignore.
    coalesce(
        failure.reasons <@ (
            SELECT pg_catalog.array_agg(ignored.reason)
            FROM reliable_imports.ignored_reasons AS ignored
            WHERE NOT ignored.has_surged
        ),
        false
    ) AS is_ignored
FROM reliable_imports.import_attempts AS failure
JOIN reliable_imports.import_batches AS batch ON batch.id = failure.batch_id
WHERE failure.is_final
    AND failure.outcome = 'failed'
    AND failure.erased_at IS NULL
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_items AS repeat
        WHERE repeat.repeats_batch_id = failure.batch_id
            AND repeat.repeats_item_number = failure.item_number
        OFFSET 0  -- looked for by its key, whatever statistics say
    )
UNION ALL
SELECT
    batch.first_batch_id,
    batch.batch_type,
    item.batch_id,
    item.item_number,
    NULL::text AS reason,
    item.earlier_attempts AS attempts,
    false AS retryable,
    NULL::timestamptz AS retry_at,
    batch.finished_at AS failed_at,
    NULL::text AS constraint_name,
    NULL::text AS missing_key,
    NULL::text[] AS missing_fields,
    NULL::text[] AS reasons,
    false AS is_ignored
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    SELECT undone.first_item, undone.last_item
    FROM (
        SELECT next_item AS first_item, last_item
        FROM reliable_imports.import_ranges
        WHERE batch_id = batch.id
        UNION ALL
        SELECT item_number, item_number
        FROM reliable_imports.import_retries
        WHERE batch_id = batch.id
    ) AS undone
    WHERE undone.first_item <= undone.last_item
) AS undone
JOIN reliable_imports.stored_items AS item
    ON item.batch_id = batch.id
    AND item.item_number BETWEEN undone.first_item AND undone.last_item
WHERE batch.status = 'cancelled'
    AND item.erased_at IS NULL
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_items AS repeat
        WHERE repeat.repeats_batch_id = item.batch_id
            AND repeat.repeats_item_number = item.item_number
        OFFSET 0
    );
