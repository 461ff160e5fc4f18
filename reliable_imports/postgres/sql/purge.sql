-- Taking the data of old batches out of the tables, a slice in each transaction.

-- name: known_types
SELECT DISTINCT batch_type FROM reliable_imports.import_batches ORDER BY batch_type

-- name: old_batches
SELECT id, total_items - erased_items AS items
FROM reliable_imports.import_batches
WHERE finished_at < pg_catalog.clock_timestamp() - %(older_than)s::interval
    AND erased_items < total_items
    AND (%(batch_type)s::text IS NULL OR batch_type = %(batch_type)s)
ORDER BY id

-- name: next_lines
SELECT id, item_number
FROM reliable_imports.import_logs
WHERE batch_id = %(batch_id)s
    AND id > %(after)s
    AND item_number IS NOT NULL
    AND (message <> 'data erased' OR details IS NOT NULL)
ORDER BY id
LIMIT %(limit)s

-- name: next_items
SELECT item_number
FROM reliable_imports.import_items
WHERE batch_id = %(batch_id)s
    AND item_number > %(after)s
    AND erased_at IS NULL
ORDER BY item_number
LIMIT %(limit)s

-- name: chains
-- All items of the chains to which these items belong, for they share one copy of the data; and whether any of a chain
-- wants it to be kept: its batch has not ended, or ended not long ago, or it failed, or was left undone, and nothing
-- repeats it.
WITH RECURSIVE chain AS (
    SELECT DISTINCT
        coalesce(item.origin_batch_id, item.batch_id) AS first_batch,
        coalesce(item.origin_item_number, item.item_number) AS first_item,
        coalesce(item.origin_batch_id, item.batch_id) AS batch_id,
        coalesce(item.origin_item_number, item.item_number) AS item_number
    FROM reliable_imports.import_items AS item
    WHERE item.batch_id = %(batch_id)s
        AND item.item_number = ANY (%(numbers)s::bigint[])
    UNION ALL
    SELECT chain.first_batch, chain.first_item, repeat.batch_id, repeat.item_number
    FROM chain
    JOIN reliable_imports.import_items AS repeat
        ON repeat.repeats_batch_id = chain.batch_id
        AND repeat.repeats_item_number = chain.item_number
)
SELECT
    chain.batch_id,
    chain.item_number,
    item.erased_at IS NOT NULL AS is_erased,
    pg_catalog.bool_or(
        item.erased_at IS NULL
        AND (
            batch.finished_at IS NULL
            OR batch.finished_at >= pg_catalog.clock_timestamp() - %(older_than)s::interval
            OR (
                NOT %(outstanding_too)s
                AND coalesce(ended.outcome, 'failed') = 'failed'
                AND NOT EXISTS (
                    SELECT FROM reliable_imports.import_items AS repeat
                    WHERE repeat.repeats_batch_id = chain.batch_id
                        AND repeat.repeats_item_number = chain.item_number
                )
            )
        )
    ) OVER (PARTITION BY chain.first_batch, chain.first_item) AS is_kept
FROM chain
JOIN reliable_imports.import_batches AS batch ON batch.id = chain.batch_id
JOIN reliable_imports.import_items AS item
    ON item.batch_id = chain.batch_id
    AND item.item_number = chain.item_number
LEFT JOIN reliable_imports.import_attempts AS ended
    ON ended.batch_id = chain.batch_id
    AND ended.item_number = chain.item_number
    AND ended.is_final
ORDER BY chain.batch_id, chain.item_number
