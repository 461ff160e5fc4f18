-- Running items again: which may be taken, and the batch that takes them.

-- name: lock_lineage
-- One request at a time for each lineage: the first batch's row is the lock.
SELECT first.id, first.batch_type
FROM reliable_imports.import_batches AS named
JOIN reliable_imports.import_batches AS first ON first.id = named.first_batch_id
WHERE named.id = %(batch_id)s
FOR NO KEY UPDATE OF first

-- name: insert_reprocess_batch
INSERT INTO reliable_imports.import_batches (
    batch_type, source, idempotency_key, reprocess_of, first_batch_id, overwrite_newer, requested_by, note, metadata
)
SELECT
    named.batch_type, named.source, %(idempotency_key)s, named.id, named.first_batch_id,
    %(overwrite_newer)s, %(requested_by)s, %(note)s, named.metadata
FROM reliable_imports.import_batches AS named
WHERE named.id = %(batch_id)s
RETURNING id

-- name: unknown_reasons
SELECT wanted.reason
FROM pg_catalog.unnest(%(reasons)s::text[]) AS wanted (reason)
WHERE NOT EXISTS (
    SELECT
    FROM reliable_imports.import_batches AS batch
    JOIN reliable_imports.import_attempts AS failure ON failure.batch_id = batch.id
    WHERE batch.first_batch_id = %(first_batch_id)s
        AND failure.is_final
        AND failure.outcome = 'failed'
        AND failure.reasons @> ARRAY[wanted.reason]
)

-- name: close_cancelled_ranges
WITH held AS MATERIALIZED (
    SELECT ranges.batch_id, ranges.range_number
    FROM reliable_imports.import_batches AS batch
    JOIN reliable_imports.import_ranges AS ranges ON ranges.batch_id = batch.id
    WHERE batch.first_batch_id = %(first_batch_id)s
        AND batch.status = 'cancelled'
        AND ranges.is_open
    ORDER BY ranges.batch_id, ranges.range_number
    FOR UPDATE OF ranges
)
UPDATE reliable_imports.import_ranges AS ranges
SET is_open = false
FROM held
WHERE ranges.batch_id = held.batch_id
    AND ranges.range_number = held.range_number

-- name: close_cancelled_retries
-- A worker that is trying one of them again ends first; then it is gone from here. A claim that began before the batch
-- was cancelled finds them changed, and leaves them.
WITH held AS MATERIALIZED (
    SELECT retry.batch_id, retry.item_number
    FROM reliable_imports.import_batches AS batch
    JOIN reliable_imports.import_retries AS retry ON retry.batch_id = batch.id
    WHERE batch.first_batch_id = %(first_batch_id)s
        AND batch.status = 'cancelled'
    ORDER BY retry.batch_id, retry.item_number
    FOR UPDATE OF retry
)
UPDATE reliable_imports.import_retries AS retry
SET not_before = 'infinity'
FROM held
WHERE retry.batch_id = held.batch_id
    AND retry.item_number = held.item_number

-- name: take
-- Followed by what is taken.
INSERT INTO reliable_imports.import_items (
    batch_id, item_number, source_data, source_raw, read_problem, read_problem_kind, source_line, source_offset,
    repeats_batch_id, repeats_item_number, origin_batch_id, origin_item_number, earlier_attempts
)

-- name: declare
-- Likewise, where some of the items are read again on their way. What is chosen is the same from first page to last.
DECLARE chosen NO SCROLL CURSOR FOR

-- name: fetch
FETCH 200 FROM chosen

-- name: copy_repeats
COPY reliable_imports.import_items (
    batch_id, item_number, source_data, source_raw, read_problem, read_problem_kind, source_line, source_offset,
    repeats_batch_id, repeats_item_number, origin_batch_id, origin_item_number, earlier_attempts
) FROM STDIN

-- name: lineage_reading
-- How the source of the lineage was read, if items of it could not be.
SELECT first.source_reading
FROM reliable_imports.import_batches AS first
WHERE first.id = %(first_batch_id)s
    AND first.source_reading IS NOT NULL
    AND EXISTS (
        SELECT
        FROM reliable_imports.import_batches AS batch
        JOIN reliable_imports.import_attempts AS failure ON failure.batch_id = batch.id
        WHERE batch.first_batch_id = first.id
            AND failure.is_final
            AND failure.outcome = 'failed'
            AND failure.stage = 'read'
    )

-- name: repeats
-- What a reprocess batch keeps of the items that one of the next two queries chooses, in the order in which they came.
SELECT
    %(new_batch_id)s,
    row_number() OVER (
        ORDER BY
            coalesce(item.origin_batch_id, item.batch_id),
            coalesce(item.origin_item_number, item.item_number)
    ),
    item.source_data, item.source_raw, item.read_problem, item.read_problem_kind, item.source_line, item.source_offset,
    item.batch_id, item.item_number,
    coalesce(item.origin_batch_id, item.batch_id), coalesce(item.origin_item_number, item.item_number),
    item.earlier_attempts + chosen.attempts
FROM ({chosen}) AS chosen
JOIN reliable_imports.import_items AS item
    ON item.batch_id = chosen.batch_id
    AND item.item_number = chosen.item_number
WHERE coalesce(item.origin_item_number, item.item_number)
    BETWEEN coalesce(%(from_item)s::bigint, 0) AND coalesce(%(to_item)s::bigint, 9223372036854775807)

-- name: outstanding_items
-- Failed items of the lineage that no item repeats, and what a cancelled batch left undone. Those of a reprocess batch
-- that is still worked are left to it.
SELECT
    outstanding.batch_id,
    outstanding.item_number,
    CASE WHEN outstanding.reason IS NULL THEN 0 ELSE 1 END AS attempts
FROM reliable_imports.outstanding_failures AS outstanding
JOIN reliable_imports.import_batches AS failed_in ON failed_in.id = outstanding.batch_id
WHERE outstanding.first_batch_id = %(first_batch_id)s
    AND (failed_in.reprocess_of IS NULL OR failed_in.finished_at IS NOT NULL)
    AND (%(reasons)s::text[] IS NULL OR outstanding.reasons && %(reasons)s::text[])
    -- What people ignore is repeated when people ask for it.
    AND (%(which)s IN ('outstanding', 'failed') OR %(reasons)s::text[] IS NOT NULL OR NOT outstanding.is_ignored)
    AND CASE %(which)s
        WHEN 'outstanding' THEN true
        WHEN 'failed' THEN outstanding.reason IS NOT NULL
        WHEN 'retryable' THEN outstanding.retryable
        WHEN 'due' THEN outstanding.retry_at <= pg_catalog.clock_timestamp()
        WHEN 'permanent' THEN outstanding.retry_at IS NULL AND outstanding.reason IS NOT NULL
        WHEN 'resolved_references' THEN (outstanding.batch_id, outstanding.item_number) IN (
            SELECT resolved.batch_id, resolved.item_number
            FROM reliable_imports.resolved_references_v1(ARRAY[%(first_batch_id)s::bigint]) AS resolved
        )
    END
    AND (%(max_attempts)s::integer IS NULL OR outstanding.attempts < %(max_attempts)s)
    AND (outstanding.reasons IS NULL OR NOT outstanding.reasons && %(exclude_reasons)s::text[])

-- name: ended_items
-- The latest repeat of every item of the lineage that has an end: completed and skipped ones too.
SELECT item.batch_id, item.item_number, 1 AS attempts
FROM reliable_imports.import_batches AS batch
JOIN reliable_imports.import_items AS item ON item.batch_id = batch.id
JOIN reliable_imports.import_attempts AS ended
    ON ended.batch_id = item.batch_id
    AND ended.item_number = item.item_number
    AND ended.is_final
WHERE batch.first_batch_id = %(first_batch_id)s
    AND (batch.reprocess_of IS NULL OR batch.finished_at IS NOT NULL)
    AND item.erased_at IS NULL
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_items AS repeat
        WHERE repeat.repeats_batch_id = item.batch_id
            AND repeat.repeats_item_number = item.item_number
    )

-- name: find_open_reprocess
-- The oldest open reprocess batch of the lineage that holds what was asked for. One that a person has paused is for
-- whoever asks for all of it, not for those that repeat what may be repeated without a person.
SELECT open_batch.id
FROM reliable_imports.import_batches AS open_batch
WHERE open_batch.first_batch_id = %(first_batch_id)s
    AND open_batch.reprocess_of IS NOT NULL
    AND open_batch.finished_at IS NULL
    AND (
        open_batch.status <> 'paused'
        OR %(which)s IN ('outstanding', 'failed', 'all')
    )
    AND EXISTS (
        SELECT
        FROM reliable_imports.import_items AS item
        LEFT JOIN reliable_imports.import_attempts AS repeated
            ON repeated.batch_id = item.repeats_batch_id
            AND repeated.item_number = item.repeats_item_number
            AND repeated.is_final
        WHERE item.batch_id = open_batch.id
            AND (%(reasons)s::text[] IS NULL OR repeated.reasons && %(reasons)s::text[])
            AND CASE %(which)s
                WHEN 'retryable' THEN repeated.retryable
                WHEN 'permanent' THEN repeated.retry_after IS NULL
                WHEN 'resolved_references' THEN repeated.missing_key IS NOT NULL
                ELSE true
            END
            AND coalesce(item.origin_item_number, item.item_number)
                BETWEEN coalesce(%(from_item)s::bigint, 0) AND coalesce(%(to_item)s::bigint, 9223372036854775807)
    )
ORDER BY open_batch.id
LIMIT 1

-- name: find_last_of_lineage
SELECT max(id)
FROM reliable_imports.import_batches
WHERE first_batch_id = %(first_batch_id)s
    AND total_items > 0
