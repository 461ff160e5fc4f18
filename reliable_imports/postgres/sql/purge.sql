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
SELECT item_number, item_number
FROM reliable_imports.import_items
WHERE batch_id = %(batch_id)s
    AND item_number > %(after)s
    AND erased_at IS NULL
ORDER BY item_number
LIMIT %(limit)s

-- name: wanted_items
-- Which of these items are still wanted, for they, or what repeats them: wait in a batch that has not ended ('awaited'),
-- or failed, or were left undone, and nothing repeats them ('outstanding').
WITH RECURSIVE repeats AS (
    SELECT number AS of_item, %(batch_id)s::bigint AS batch_id, number AS item_number
    FROM pg_catalog.unnest(%(numbers)s::bigint[]) AS number
    UNION ALL
    SELECT repeats.of_item, repeat.batch_id, repeat.item_number
    FROM repeats
    JOIN reliable_imports.import_items AS repeat
        ON repeat.repeats_batch_id = repeats.batch_id
        AND repeat.repeats_item_number = repeats.item_number
)
SELECT
    repeats.of_item,
    pg_catalog.bool_or(ended.outcome IS NULL AND batch.finished_at IS NULL) AS is_awaited
FROM repeats
JOIN reliable_imports.import_batches AS batch ON batch.id = repeats.batch_id
JOIN reliable_imports.import_items AS item
    ON item.batch_id = repeats.batch_id
    AND item.item_number = repeats.item_number
LEFT JOIN reliable_imports.import_attempts AS ended
    ON ended.batch_id = repeats.batch_id
    AND ended.item_number = repeats.item_number
    AND ended.is_final
WHERE item.erased_at IS NULL
    AND coalesce(ended.outcome, 'failed') = 'failed'
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_items AS repeat
        WHERE repeat.repeats_batch_id = repeats.batch_id
            AND repeat.repeats_item_number = repeats.item_number
    )
GROUP BY repeats.of_item
