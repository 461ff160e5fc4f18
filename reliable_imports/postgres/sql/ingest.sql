-- Making a batch. All of it is one transaction: a batch appears whole or not at all.

-- name: insert_batch
-- A concurrent delivery with the same key is waited for; if it is committed, no row comes back.
WITH new AS (
    SELECT pg_catalog.nextval(pg_catalog.pg_get_serial_sequence('reliable_imports.import_batches', 'id')) AS id
)
INSERT INTO reliable_imports.import_batches (
    id, first_batch_id, batch_type, source, idempotency_key, requested_by, metadata
)
OVERRIDING SYSTEM VALUE
SELECT new.id, new.id, %(batch_type)s, %(source)s, %(idempotency_key)s, %(requested_by)s, %(metadata)s
FROM new
ON CONFLICT ON CONSTRAINT import_batches_idempotency_key DO NOTHING
RETURNING id

-- name: find_delivery
SELECT id, first_batch_id, source, source_sha256, source_bytes, total_items, finished_at IS NOT NULL AS is_finished
FROM reliable_imports.import_batches
WHERE id IN (
    SELECT named.id
    FROM reliable_imports.import_batches AS named
    WHERE named.batch_type = %(batch_type)s
        AND named.idempotency_key = %(idempotency_key)s
    UNION ALL
    SELECT unchanged.batch_id
    FROM reliable_imports.import_unchanged_deliveries AS unchanged
    WHERE unchanged.batch_type = %(batch_type)s
        AND unchanged.idempotency_key = %(idempotency_key)s
)
LIMIT 1

-- name: find_size
-- Whether it can be worth while to read a file for its hash alone.
SELECT 1
FROM reliable_imports.import_batches
WHERE batch_type = %(batch_type)s
    AND source_bytes = %(size)s
LIMIT 1

-- name: lock_content
-- One delivery of a content at a time, so that the second one sees what the first has committed.
SELECT pg_catalog.pg_advisory_xact_lock(
    pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', 'reliable_imports', %(batch_type)s, %(sha256)s), 0)
)

-- name: find_same_content
WITH delivered AS (
    SELECT id, source, source_sha256, source_bytes, total_items, finished_at IS NOT NULL AS is_finished
    FROM reliable_imports.import_batches
    WHERE batch_type = %(batch_type)s
        AND id <> %(batch_id)s
        AND reprocess_of IS NULL
        AND status <> 'cancelled'
        AND metadata -> 'params' IS NOT DISTINCT FROM %(metadata)s::jsonb -> 'params'
        AND metadata -> 'partition' IS NOT DISTINCT FROM %(metadata)s::jsonb -> 'partition'
)
SELECT same.id, same.source, same.source_sha256, same.source_bytes, same.total_items, same.is_finished
FROM delivered AS same
WHERE same.source_bytes = %(size)s
    AND same.source_sha256 = %(sha256)s
    AND NOT EXISTS (
        SELECT FROM delivered AS since
        WHERE since.id > same.id
            AND since.source IN (same.source, %(source)s)
            AND since.source_sha256 IS DISTINCT FROM same.source_sha256
    )
ORDER BY same.id DESC
LIMIT 1

-- name: insert_unchanged_delivery
INSERT INTO reliable_imports.import_unchanged_deliveries (batch_type, idempotency_key, batch_id, source)
VALUES (%(batch_type)s, %(idempotency_key)s, %(batch_id)s, %(source)s)
ON CONFLICT ON CONSTRAINT import_unchanged_deliveries_pkey DO NOTHING

-- name: copy_items
COPY reliable_imports.import_items (
    batch_id, item_number, source_data, source_raw, read_problem, read_problem_kind, source_line, source_offset
) FROM STDIN

-- name: seal_batch
UPDATE reliable_imports.import_batches
SET total_items = %(total_items)s,
    source_sha256 = %(source_sha256)s,
    source_bytes = %(source_bytes)s,
    source_reading = %(source_reading)s,
    warnings = %(warnings)s::text[]
WHERE id = %(batch_id)s

-- name: add_warning
UPDATE reliable_imports.import_batches
SET warnings = warnings || %(warning)s::text
WHERE id = %(batch_id)s
    AND %(warning)s <> ALL (warnings)

-- name: make_ranges
-- Of the items after those that have ranges already. Small enough that several workers can share a small batch, large enough
-- that a million items are 100 rows; and of whole chunks, which have 2000 items or 1000, where that leaves at least eight.
INSERT INTO reliable_imports.import_ranges (batch_id, range_number, next_item, last_item)
SELECT
    %(batch_id)s,
    before.ranges + number,
    before.items + (number - 1) * size.items + 1,
    least(before.items + number * size.items, %(total_items)s)
FROM (
    SELECT coalesce(max(range_number), 0) AS ranges, coalesce(max(last_item), 0) AS items
    FROM reliable_imports.import_ranges
    WHERE batch_id = %(batch_id)s
) AS before
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN added.items <= 8000 THEN greatest(50, ceil(added.items / 16.0))
        WHEN added.items <= 24000 THEN 1000
        ELSE 2000 * least(5, greatest(1, round(added.items / 32000.0)))
    END::bigint AS items
    FROM (SELECT %(total_items)s - before.items AS items) AS added
) AS size
CROSS JOIN LATERAL pg_catalog.generate_series(
    1, ceil((%(total_items)s - before.items)::numeric / size.items)::integer
) AS number

-- name: unreadable_items
-- Items whose JSON the server's operators cannot read.
SELECT item_number, source_raw
FROM reliable_imports.stored_items
WHERE batch_id = %(batch_id)s
    AND item_number > %(after)s
    AND source_raw IS NOT NULL
    AND read_problem IS NULL
ORDER BY item_number
LIMIT 1000

-- name: part_of_key
(item.source_data ->> %s)

-- name: without_white_space
pg_catalog.btrim({value}, %s)

-- name: without_null_tokens
CASE WHEN {value} <> ALL (%s::text[]) THEN {value} END

-- name: may_have_duplicates
-- Whether two items may have one key: most batches have none, and this is a third of the work of finding them.
SELECT EXISTS (
    SELECT
    FROM reliable_imports.stored_items AS item
    WHERE item.batch_id = %(batch_id)s
        AND item.source_data IS NOT NULL
        AND pg_catalog.json_typeof(item.source_data) = 'object'
        AND ({key}) IS NOT NULL
    GROUP BY pg_catalog.hashtextextended({key}, 0)
    HAVING count(*) > 1
)
OR EXISTS (
    SELECT
    FROM reliable_imports.stored_items AS item
    WHERE item.batch_id = %(batch_id)s
        AND item.source_data IS NULL
        AND item.read_problem IS NULL
)

-- name: fields_of_no_item
-- Where a field is there, as it mostly is, one item is looked at.
SELECT field.name
FROM pg_catalog.unnest(%(names)s::text[]) AS field (name)
WHERE EXISTS (
        SELECT FROM reliable_imports.import_items AS item
        WHERE item.batch_id = %(batch_id)s
            AND item.read_problem IS NULL
            AND pg_catalog.json_typeof(item.source_data) = 'object'
    )
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_items AS item
        WHERE item.batch_id = %(batch_id)s
            AND item.read_problem IS NULL
            AND pg_catalog.json_typeof(item.source_data) = 'object'
            AND item.source_data -> field.name IS NOT NULL
    )

-- name: mark_duplicates
-- Sorted by key on the server, on disk where memory does not hold it.
INSERT INTO reliable_imports.import_duplicates (batch_id, item_number, duplicate_of, fails)
SELECT
    %(batch_id)s,
    keyed.item_number,
    CASE
        WHEN keyed.item_number = keyed.winner AND keyed.winner = keyed.first_item THEN keyed.last_item
        WHEN keyed.item_number = keyed.winner THEN keyed.first_item
        ELSE keyed.winner
    END,
    %(duplicates)s = 'fail'
FROM (
    SELECT
        item_number,
        count(*) OVER same_key AS items,
        min(item_number) OVER same_key AS first_item,
        max(item_number) OVER same_key AS last_item,
        CASE %(duplicates)s
            WHEN 'last_wins' THEN max(item_number) OVER same_key
            ELSE min(item_number) OVER same_key
        END AS winner
    FROM (
        SELECT
            item.item_number,
            ARRAY[{key}] AS natural_key
        FROM reliable_imports.stored_items AS item
        WHERE item.batch_id = %(batch_id)s
            AND item.source_data IS NOT NULL
            AND item.read_problem IS NULL
            AND pg_catalog.json_typeof(item.source_data) = 'object'
        UNION ALL
        SELECT unreadable.item_number, unreadable.natural_key
        FROM pg_catalog.json_to_recordset(%(unreadable)s::json) AS unreadable (item_number bigint, natural_key text[])
    ) AS given
    WHERE pg_catalog.array_position(natural_key, NULL) IS NULL
    WINDOW same_key AS (PARTITION BY natural_key)
) AS keyed
WHERE keyed.items > 1
    AND (keyed.item_number <> keyed.winner OR %(duplicates)s = 'fail')
-- Those that were known before the batch was given more items.
ON CONFLICT ON CONSTRAINT import_duplicates_pkey DO NOTHING
