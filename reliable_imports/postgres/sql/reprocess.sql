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
    batch_type, source, idempotency_key, reprocess_of, first_batch_id, overwrite_newer, is_held, corrected_from, requested_by, note,
    metadata
)
SELECT
    named.batch_type, named.source, %(idempotency_key)s, named.id, named.first_batch_id,
    %(overwrite_newer)s, %(is_held)s, %(corrected_from)s, %(requested_by)s, %(note)s, named.metadata
FROM reliable_imports.import_batches AS named
WHERE named.id = %(batch_id)s
RETURNING id

-- name: find_reasons
-- What failures of the lineage are for, of the reasons that begin so.
SELECT wanted.prefix, pg_catalog.array_agg(DISTINCT failed_for.reason) FILTER (WHERE failed_for.reason IS NOT NULL)
FROM pg_catalog.unnest(%(prefixes)s::text[]) AS wanted (prefix)
LEFT JOIN (
    SELECT DISTINCT cause.reason
    FROM reliable_imports.import_batches AS batch
    JOIN reliable_imports.import_attempts AS failure ON failure.batch_id = batch.id
    CROSS JOIN LATERAL pg_catalog.unnest(failure.reasons) AS cause (reason)
    WHERE batch.first_batch_id = %(first_batch_id)s
        AND failure.is_final
        AND failure.outcome = 'failed'
) AS failed_for ON pg_catalog.starts_with(failed_for.reason, wanted.prefix)
GROUP BY wanted.prefix

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
-- Puts what the next query gives into the batch. Nothing of an item's data is copied.
INSERT INTO reliable_imports.import_items (
    batch_id, item_number, repeats_batch_id, repeats_item_number, origin_batch_id, origin_item_number, repeats_attempts,
    data_batch_id, data_item_number
)
{repeats}

-- name: declare
-- Likewise, where some of the items are read again on their way: with the bytes of those that could not be read. What is
-- chosen is the same from first page to last.
DECLARE chosen NO SCROLL CURSOR FOR
SELECT
    repeat.*, held.read_problem, held.read_problem_kind, held.source_line, held.source_offset,
    CASE WHEN held.read_problem IS NOT NULL THEN held.source_raw END AS source_raw
FROM ({repeats}) AS repeat
JOIN reliable_imports.import_items AS held
    ON held.batch_id = repeat.data_batch_id
    AND held.item_number = repeat.data_item_number
ORDER BY repeat.new_number

-- name: declare_with_data
-- Likewise, where items get data of their own: with what they have now.
DECLARE chosen NO SCROLL CURSOR FOR
SELECT
    repeat.*, held.source_data::text AS source_data, held.source_raw, held.read_problem IS NULL AS is_read, held.source_line,
    held.source_offset
FROM ({repeats}) AS repeat
JOIN reliable_imports.import_items AS held
    ON held.batch_id = repeat.data_batch_id
    AND held.item_number = repeat.data_item_number
ORDER BY repeat.new_number

-- name: fetch
FETCH 200 FROM chosen

-- name: close
CLOSE chosen

-- name: copy_repeats
COPY reliable_imports.import_items (
    batch_id, item_number, repeats_batch_id, repeats_item_number, origin_batch_id, origin_item_number, repeats_attempts,
    data_batch_id, data_item_number, source_data, source_raw, read_problem, read_problem_kind, source_line, source_offset
) FROM STDIN

-- name: lineage_reading
-- How the source of the lineage was read, if items of it could not be.
SELECT first.source_reading
FROM reliable_imports.import_batches AS first
WHERE first.id = %(first_batch_id)s
    AND first.source_reading -> 'encoding' IS NOT NULL
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
-- What a reprocess batch keeps of the items that one of the next two queries chooses, in the order in which they came:
-- numbers, and where their data stands.
SELECT
    %(new_batch_id)s::bigint AS new_batch_id,
    %(after)s + row_number() OVER (
        ORDER BY
            coalesce(item.origin_batch_id, item.batch_id),
            coalesce(item.origin_item_number, item.item_number)
    ) AS new_number,
    item.batch_id AS repeats_batch_id,
    item.item_number AS repeats_item_number,
    coalesce(item.origin_batch_id, item.batch_id) AS origin_batch_id,
    coalesce(item.origin_item_number, item.item_number) AS origin_item_number,
    item.earlier_attempts + chosen.attempts AS repeats_attempts,
    coalesce(item.data_batch_id, item.batch_id) AS data_batch_id,
    coalesce(item.data_item_number, item.item_number) AS data_item_number
FROM ({chosen}) AS chosen
CROSS JOIN LATERAL (
    SELECT stored.*
    FROM reliable_imports.stored_items AS stored
    WHERE stored.batch_id = chosen.batch_id
        AND stored.item_number = chosen.item_number
    OFFSET 0
) AS item
WHERE coalesce(item.origin_item_number, item.item_number)
    BETWEEN coalesce(%(from_item)s::bigint, 0) AND coalesce(%(to_item)s::bigint, 9223372036854775807)
    -- A partition may have been dropped.
    AND EXISTS (
        SELECT FROM reliable_imports.import_items AS held
        WHERE held.batch_id = coalesce(item.data_batch_id, item.batch_id)
            AND held.item_number = coalesce(item.data_item_number, item.item_number)
        OFFSET 0
    )
ORDER BY new_number
LIMIT %(limit)s

-- name: canary_items
-- The first few for each reason, of those that another query chooses; an item counts for each that it has.
SELECT DISTINCT placed.batch_id, placed.item_number, placed.attempts
FROM (
    SELECT
        chosen.batch_id, chosen.item_number, chosen.attempts,
        row_number() OVER (
            PARTITION BY cause.reason
            ORDER BY
                coalesce(item.origin_batch_id, item.batch_id),
                coalesce(item.origin_item_number, item.item_number)
        ) AS place
    FROM ({chosen}) AS chosen
    LEFT JOIN LATERAL pg_catalog.unnest(chosen.reasons) AS cause (reason) ON true
    CROSS JOIN LATERAL (
        SELECT stored.batch_id, stored.item_number, stored.origin_batch_id, stored.origin_item_number
        FROM reliable_imports.import_items AS stored
        WHERE stored.batch_id = chosen.batch_id
            AND stored.item_number = chosen.item_number
        OFFSET 0
    ) AS item
    WHERE coalesce(item.origin_item_number, item.item_number)
        BETWEEN coalesce(%(from_item)s::bigint, 0) AND coalesce(%(to_item)s::bigint, 9223372036854775807)
) AS placed
WHERE placed.place <= %(canary)s

-- name: outstanding_items
-- Failed items of the lineage that no item repeats, and what a cancelled batch left undone. Those of a reprocess batch
-- that is still worked are left to it.
SELECT
    outstanding.batch_id,
    outstanding.item_number,
    CASE WHEN outstanding.reason IS NULL THEN 0 ELSE 1 END AS attempts,
    outstanding.reasons
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
    AND (%(max_attempts)s::bigint IS NULL OR outstanding.attempts < %(max_attempts)s)
    AND (%(since)s::timestamptz IS NULL OR outstanding.failed_at >= %(since)s)
    AND (
        %(changed_from)s::text IS NULL
        OR outstanding.reason IS NOT NULL
        AND EXISTS (
            SELECT
            FROM reliable_imports.import_attempts AS failure
            JOIN reliable_imports.import_runs AS run ON run.id = failure.run_id
            WHERE failure.batch_id = outstanding.batch_id
                AND failure.item_number = outstanding.item_number
                AND failure.is_final
                AND run.code_version IS DISTINCT FROM %(changed_from)s
        )
    )
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
    -- What a person holds back is not begun by anybody who asks for the same.
    AND open_batch.is_held = %(is_held)s
    AND (open_batch.is_canary OR NOT %(only_canary)s)
    AND (%(corrected_from)s::text IS NULL OR open_batch.corrected_from = %(corrected_from)s)
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
                WHEN 'resolved_references' THEN repeated.missing_key IS NOT NULL OR repeated.missing_fields IS NOT NULL
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

-- name: skip_run
-- That a person has decided about items, or newer ones have, is a run too: whoever looks who did what finds it there.
INSERT INTO reliable_imports.import_runs (
    batch_id, runner, mode, host, process_id, skipped, ended_at, outcome
)
SELECT id, %(runner)s, 'reprocess', %(host)s, %(process_id)s, total_items, pg_catalog.clock_timestamp(), 'finished'
FROM reliable_imports.import_batches
WHERE id = %(batch_id)s
RETURNING id

-- name: skip_items
-- All items of the batch, for one reason.
INSERT INTO reliable_imports.import_attempts (
    batch_id, item_number, attempt, run_id, outcome, is_final, skip_reason
)
SELECT item.batch_id, item.item_number, item.earlier_attempts + 1, %(run_id)s, 'skipped', true, %(skip_reason)s
FROM reliable_imports.stored_items AS item
WHERE item.batch_id = %(batch_id)s

-- name: skip_settled_items
-- Likewise, each because of the item that has settled what it repeats.
INSERT INTO reliable_imports.import_attempts (
    batch_id, item_number, attempt, run_id, outcome, is_final, skip_reason
)
SELECT
    item.batch_id, item.item_number, item.earlier_attempts + 1, %(run_id)s, 'skipped', true,
    pg_catalog.format('settled by item %%s of batch %%s', settled.by_item, settled.by_batch)
FROM reliable_imports.stored_items AS item
JOIN (
    SELECT
        pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id,
        pg_catalog.unnest(%(items)s::bigint[]) AS item_number,
        pg_catalog.unnest(%(by_batches)s::bigint[]) AS by_batch,
        pg_catalog.unnest(%(by_items)s::bigint[]) AS by_item
) AS settled
    ON settled.batch_id = item.repeats_batch_id
    AND settled.item_number = item.repeats_item_number
WHERE item.batch_id = %(batch_id)s

-- name: skip_ranges
-- Made done: there is nothing in them to claim.
INSERT INTO reliable_imports.import_ranges (batch_id, range_number, next_item, last_item, is_open, skipped)
SELECT id, 1, total_items + 1, total_items, false, total_items
FROM reliable_imports.import_batches
WHERE id = %(batch_id)s

-- name: skip_batch
UPDATE reliable_imports.import_batches
SET status = 'completed',
    completed_items = 0,
    failed_items = 0,
    skipped_items = total_items,
    started_at = pg_catalog.clock_timestamp(),
    finished_at = pg_catalog.clock_timestamp()
WHERE id = %(batch_id)s
    AND status = 'pending'

-- name: begin_canary
UPDATE reliable_imports.import_batches
SET canary = %(canary)s,
    is_canary = true
WHERE id = %(batch_id)s

-- name: are_any_left
-- Of those that another query chooses.
SELECT EXISTS (
    SELECT
    FROM ({chosen}) AS chosen
    CROSS JOIN LATERAL (
        SELECT stored.batch_id, stored.item_number, stored.origin_batch_id, stored.origin_item_number
        FROM reliable_imports.import_items AS stored
        WHERE stored.batch_id = chosen.batch_id
            AND stored.item_number = chosen.item_number
        OFFSET 0
    ) AS item
    WHERE coalesce(item.origin_item_number, item.item_number)
        BETWEEN coalesce(%(from_item)s::bigint, 0) AND coalesce(%(to_item)s::bigint, 9223372036854775807)
)

-- name: count_left
-- Likewise, how many for each reason.
SELECT cause.reason, count(*)
FROM ({chosen}) AS chosen
CROSS JOIN LATERAL pg_catalog.unnest(chosen.reasons) AS cause (reason)
CROSS JOIN LATERAL (
    SELECT stored.batch_id, stored.item_number, stored.origin_batch_id, stored.origin_item_number
    FROM reliable_imports.import_items AS stored
    WHERE stored.batch_id = chosen.batch_id
        AND stored.item_number = chosen.item_number
    OFFSET 0
) AS item
WHERE coalesce(item.origin_item_number, item.item_number)
    BETWEEN coalesce(%(from_item)s::bigint, 0) AND coalesce(%(to_item)s::bigint, 9223372036854775807)
GROUP BY cause.reason

-- name: find_canary
-- The first few have ended, and nobody has taken the rest yet; under the locks of the lineage and of the batch.
SELECT batch.canary, batch.total_items
FROM reliable_imports.import_batches AS batch
WHERE batch.id = %(batch_id)s
    AND batch.is_canary
    AND batch.status = 'processing'
    AND reliable_imports.nothing_is_open_v1(batch.id)

-- name: canary_outcomes
-- For each reason: how many were tried, and how many of those have failed for it again.
SELECT
    cause.reason,
    count(*),
    count(*) FILTER (WHERE ended.outcome = 'failed' AND cause.reason = ANY (ended.reasons))
FROM reliable_imports.import_items AS item
JOIN reliable_imports.import_attempts AS failure
    ON failure.batch_id = item.repeats_batch_id
    AND failure.item_number = item.repeats_item_number
    AND failure.is_final
CROSS JOIN LATERAL pg_catalog.unnest(failure.reasons) AS cause (reason)
JOIN reliable_imports.import_attempts AS ended
    ON ended.batch_id = item.batch_id
    AND ended.item_number = item.item_number
    AND ended.is_final
WHERE item.batch_id = %(batch_id)s
GROUP BY cause.reason
ORDER BY cause.reason

-- name: end_canary
UPDATE reliable_imports.import_batches
SET is_canary = false,
    total_items = %(total_items)s,
    warnings = warnings || %(warnings)s::text[]
WHERE id = %(batch_id)s
