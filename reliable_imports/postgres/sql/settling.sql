-- Failures that a corrected delivery has settled: an item of the same natural key was delivered later, and completed.

-- name: lock_type
-- One at a time for each batch type.
SELECT pg_catalog.pg_advisory_xact_lock(
    pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', 'reliable_imports: settling', %(batch_type)s), 0)
)

-- name: unsettled_batches
-- Those that have ended, and nobody has looked yet what they settle, or what has settled their failures meanwhile.
SELECT id, first_batch_id
FROM reliable_imports.import_batches
WHERE batch_type = %(batch_type)s
    AND is_to_settle
ORDER BY id

-- name: note_settled
UPDATE reliable_imports.import_batches
SET is_to_settle = false
WHERE id = ANY (%(batches)s::bigint[])

-- name: older_failures
-- Batches with failures that items of a batch may settle: those of its own lineage too, for an item may stand twice in it.
-- Not its own failures: of the items of a batch that have one key, one is processed.
SELECT batch.id
FROM reliable_imports.import_batches AS batch
WHERE batch.batch_type = %(batch_type)s
    AND batch.first_batch_id <= %(first_batch_id)s
    AND batch.id <> %(batch_id)s
    AND batch.failed_items > 0
    AND batch.finished_at IS NOT NULL
    AND NOT batch.is_all_repeated

-- name: with_outstanding
-- Which of these batches have failures that nothing repeats. Asked only where there are such batches: to plan it takes the
-- server longer than to answer it.
SELECT batch.id
FROM reliable_imports.import_batches AS batch
WHERE batch.id = ANY (%(batches)s::bigint[])
    AND EXISTS (
        SELECT FROM reliable_imports.outstanding_failures AS outstanding
        WHERE outstanding.batch_id = batch.id
    )

-- name: note_all_repeated
-- So that what was repaired long ago is not looked through by every batch that ends.
UPDATE reliable_imports.import_batches
SET is_all_repeated = true
WHERE id = ANY (%(batches)s::bigint[])

-- name: newer_batches
-- Batches that may have settled failures of a batch before those were there. What ended before it was begun has been
-- compared with what it repeats; an hour more, for a batch ends a little before others see it.
SELECT newer.id
FROM reliable_imports.import_batches AS batch
JOIN reliable_imports.import_batches AS newer
    ON newer.batch_type = batch.batch_type
    AND newer.first_batch_id >= batch.first_batch_id
    AND newer.finished_at >= batch.created_at - interval '1 hour'
    AND newer.id <> batch.id
WHERE batch.id = %(batch_id)s
    AND batch.failed_items > 0

-- name: settled
-- The failures that are outstanding in some batches, each with the newest item of other batches that has completed the
-- same key. The items of those are looked at only if anything is outstanding. Brought together by sorting, as just after
-- an import no statistics tell how many there are.
WITH failed AS MATERIALIZED (
    SELECT
        outstanding.first_batch_id,
        outstanding.batch_id,
        outstanding.item_number,
        coalesce(item.origin_batch_id, item.batch_id) AS origin_batch_id,
        coalesce(item.origin_item_number, item.item_number) AS origin_item_number,
        ARRAY[{key}] AS natural_key
    FROM reliable_imports.outstanding_failures AS outstanding
    JOIN reliable_imports.stored_items AS item
        ON item.batch_id = outstanding.batch_id
        AND item.item_number = outstanding.item_number
    WHERE outstanding.batch_id = ANY (%(failed_in)s::bigint[])
        AND item.source_data IS NOT NULL
        AND pg_catalog.json_typeof(item.source_data) = 'object'
), keyed AS (
    SELECT failed.*, true AS has_failed
    FROM failed
    UNION ALL
    SELECT
        NULL,
        item.batch_id,
        item.item_number,
        item.origin_batch_id,
        item.origin_item_number,
        item.natural_key,
        false
    FROM (
        SELECT
            item.batch_id,
            item.item_number,
            coalesce(item.origin_batch_id, item.batch_id) AS origin_batch_id,
            coalesce(item.origin_item_number, item.item_number) AS origin_item_number,
            ARRAY[{key}] AS natural_key
        FROM reliable_imports.stored_items AS item
        WHERE item.batch_id = ANY (%(completed_in)s::bigint[])
            AND item.source_data IS NOT NULL
            AND pg_catalog.json_typeof(item.source_data) = 'object'
            AND EXISTS (SELECT FROM failed)
            -- Most items settle nothing. As many keys as a hash is sure to hold are looked for while the items are read.
            AND (
                (SELECT count(*) > 20000 FROM failed)
                OR ARRAY[{key}] IN (SELECT failed.natural_key FROM failed LIMIT 20000)
            )
        OFFSET 0
    ) AS item
    CROSS JOIN LATERAL (
        SELECT
        FROM reliable_imports.import_attempts AS ended
        WHERE ended.batch_id = item.batch_id
            AND ended.item_number = item.item_number
            AND ended.is_final
            AND ended.outcome = 'completed'
        OFFSET 0 -- looked up one by one: taken for few, as the conditions seem to leave, they would be scanned for each
    ) AS ended
), placed AS (
    -- Of each key the failures come first, and last the newest item that has completed it, if there is one.
    SELECT
        keyed.*,
        last_value(has_failed) OVER of_key AS newest_has_failed,
        last_value(batch_id) OVER of_key AS by_batch,
        last_value(item_number) OVER of_key AS by_item,
        last_value(origin_batch_id) OVER of_key AS by_origin_batch_id,
        last_value(origin_item_number) OVER of_key AS by_origin_item_number
    FROM keyed
    WHERE pg_catalog.array_position(natural_key, NULL) IS NULL
    WINDOW of_key AS (
        PARTITION BY natural_key
        ORDER BY has_failed DESC, origin_batch_id, origin_item_number
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
)
SELECT first_batch_id, batch_id, item_number, by_batch, by_item
FROM placed
WHERE has_failed
    AND NOT newest_has_failed
    AND (by_origin_batch_id, by_origin_item_number) > (origin_batch_id, origin_item_number)

-- name: settled_items
-- Those that are still outstanding, now that nobody else can take them.
SELECT outstanding.batch_id, outstanding.item_number, 1 AS attempts
FROM reliable_imports.outstanding_failures AS outstanding
JOIN (
    SELECT
        pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id,
        pg_catalog.unnest(%(items)s::bigint[]) AS item_number
) AS settled
    ON settled.batch_id = outstanding.batch_id
    AND settled.item_number = outstanding.item_number
WHERE outstanding.first_batch_id = %(first_batch_id)s
    AND outstanding.reason IS NOT NULL
