-- Failed items as a file, and what becomes of them when it comes back.

-- name: read_only
-- Read twice, and the same both times.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY

-- name: types
-- Of what is outstanding.
SELECT DISTINCT outstanding.batch_type
FROM reliable_imports.outstanding_failures AS outstanding
WHERE outstanding.reason IS NOT NULL
    AND (%(first_batch_id)s::bigint IS NULL OR outstanding.first_batch_id = %(first_batch_id)s)
    AND (%(batch_type)s::text IS NULL OR outstanding.batch_type = %(batch_type)s)
    AND (%(reasons)s::text[] IS NULL OR outstanding.reasons && %(reasons)s::text[])
ORDER BY outstanding.batch_type

-- name: count_undone
-- Items that a cancelled batch left undone: outstanding as well, but nothing is wrong with them yet.
SELECT count(*)
FROM reliable_imports.outstanding_failures AS outstanding
WHERE outstanding.reason IS NULL
    AND outstanding.batch_type = %(batch_type)s
    AND (%(first_batch_id)s::bigint IS NULL OR outstanding.first_batch_id = %(first_batch_id)s)
    AND %(reasons)s::text[] IS NULL

-- name: declare_failed
DECLARE failed NO SCROLL CURSOR FOR

-- name: fetch_failed
FETCH 500 FROM failed

-- name: close_failed
CLOSE failed

-- name: failed_items
-- Failed items that no item repeats, each with what was wrong.
SELECT
    outstanding.batch_id,
    outstanding.item_number,
    outstanding.first_batch_id,
    item.source_line,
    item.source_data::text AS source_data,
    item.source_raw,
    item.read_problem IS NOT NULL AS is_unread,
    failure.faults,
    ARRAY(
        SELECT known.title
        FROM pg_catalog.unnest(failure.reasons) WITH ORDINALITY AS cause (reason, place)
        JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = cause.reason
        ORDER BY cause.place
    ) AS titles
FROM reliable_imports.outstanding_failures AS outstanding
CROSS JOIN LATERAL (
    SELECT stored.*
    FROM reliable_imports.stored_items AS stored
    WHERE stored.batch_id = outstanding.batch_id
        AND stored.item_number = outstanding.item_number
    OFFSET 0
) AS item
CROSS JOIN LATERAL (
    SELECT ended.reasons, ended.faults
    FROM reliable_imports.import_attempts AS ended
    WHERE ended.batch_id = outstanding.batch_id
        AND ended.item_number = outstanding.item_number
        AND ended.is_final
    OFFSET 0
) AS failure
WHERE outstanding.reason IS NOT NULL
    AND outstanding.batch_type = %(batch_type)s
    AND (%(first_batch_id)s::bigint IS NULL OR outstanding.first_batch_id = %(first_batch_id)s)
    AND (%(reasons)s::text[] IS NULL OR outstanding.reasons && %(reasons)s::text[])
ORDER BY outstanding.batch_id, outstanding.item_number

-- name: named_items
-- Items by their numbers: what was wrong with them, whether they were repeated meanwhile, and by what.
SELECT
    wanted.batch_id,
    wanted.item_number,
    batch.batch_type,
    batch.first_batch_id,
    item.source_line,
    item.source_data::text AS source_data,
    item.source_raw,
    item.read_problem IS NOT NULL AS is_unread,
    item.erased_at IS NOT NULL AS is_erased,
    item.batch_id IS NOT NULL AS is_known,
    failure.outcome,
    batch.reprocess_of IS NULL OR batch.finished_at IS NOT NULL AS is_free,
    failure.faults,
    ARRAY(
        SELECT known.title
        FROM pg_catalog.unnest(failure.reasons) WITH ORDINALITY AS cause (reason, place)
        JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = cause.reason
        ORDER BY cause.place
    ) AS titles,
    repeat.batch_id AS repeated_by_batch,
    repeat.item_number AS repeated_by_item,
    repeat.source_data::text AS repeated_data,
    repeat.source_raw AS repeated_raw,
    repeated_in.corrected_from IS NOT NULL AS is_corrected,
    repeated_in.finished_at IS NULL AS is_under_way,
    repeated_in.is_held,
    newest.batch_id AS newest_batch,
    newest.item_number AS newest_item,
    newest_in.status = 'cancelled' AS is_cancelled,
    ended.outcome AS newest_outcome
FROM (
    SELECT
        pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id,
        pg_catalog.unnest(%(items)s::bigint[]) AS item_number
) AS wanted
LEFT JOIN LATERAL (
    SELECT stored.*
    FROM reliable_imports.stored_items AS stored
    WHERE stored.batch_id = wanted.batch_id
        AND stored.item_number = wanted.item_number
    OFFSET 0
) AS item ON true
LEFT JOIN reliable_imports.import_batches AS batch ON batch.id = wanted.batch_id
LEFT JOIN LATERAL (
    SELECT attempt.*
    FROM reliable_imports.import_attempts AS attempt
    WHERE attempt.batch_id = wanted.batch_id
        AND attempt.item_number = wanted.item_number
        AND attempt.is_final
    OFFSET 0
) AS failure ON true
LEFT JOIN LATERAL (
    SELECT stored.*
    FROM reliable_imports.stored_items AS stored
    WHERE stored.repeats_batch_id = wanted.batch_id
        AND stored.repeats_item_number = wanted.item_number
    OFFSET 0
) AS repeat ON true
LEFT JOIN reliable_imports.import_batches AS repeated_in ON repeated_in.id = repeat.batch_id
-- What repeats an item may have been repeated itself.
LEFT JOIN LATERAL (
    WITH RECURSIVE chain AS (
        SELECT repeat.batch_id, repeat.item_number, 1 AS place
        WHERE repeat.batch_id IS NOT NULL
        UNION ALL
        SELECT later.batch_id, later.item_number, chain.place + 1
        FROM chain
        JOIN reliable_imports.import_items AS later
            ON later.repeats_batch_id = chain.batch_id
            AND later.repeats_item_number = chain.item_number
    )
    SELECT chain.batch_id, chain.item_number
    FROM chain
    ORDER BY chain.place DESC
    LIMIT 1
) AS newest ON true
LEFT JOIN reliable_imports.import_batches AS newest_in ON newest_in.id = newest.batch_id
LEFT JOIN LATERAL (
    SELECT attempt.outcome
    FROM reliable_imports.import_attempts AS attempt
    WHERE attempt.batch_id = newest.batch_id
        AND attempt.item_number = newest.item_number
        AND attempt.is_final
    OFFSET 0
) AS ended ON true

-- name: corrected_data
-- Of the items of a batch of corrections that the server can look into.
SELECT item_number, source_data::text
FROM reliable_imports.import_items
WHERE batch_id = %(batch_id)s
    AND source_data IS NOT NULL
ORDER BY item_number

-- name: header
-- Of the file that a lineage began with.
SELECT first.source_reading -> 'header'
FROM reliable_imports.import_batches AS first
WHERE first.id = %(first_batch_id)s

-- name: fields_of_items
-- Which names are those of fields of other items; the first items of a batch tell.
SELECT DISTINCT wanted.name
FROM pg_catalog.unnest(%(names)s::text[]) AS wanted (name)
JOIN reliable_imports.import_items AS item
    ON item.batch_id = ANY (%(batches)s::bigint[])
    AND item.item_number <= 1000
WHERE item.source_data IS NOT NULL
    AND CASE
        WHEN pg_catalog.json_typeof(item.source_data) = 'object' THEN item.source_data -> wanted.name IS NOT NULL
        ELSE false
    END

-- name: sensitive_fields_of_type
-- As the processors of the type have called them.
SELECT DISTINCT name.field
FROM reliable_imports.import_batches AS batch
JOIN reliable_imports.import_runs AS run ON run.batch_id = batch.id
CROSS JOIN LATERAL pg_catalog.unnest(run.sensitive) AS name (field)
WHERE batch.batch_type = %(batch_type)s

-- name: corrected_items
-- Of those that another query chooses, the ones that have a correction.
SELECT chosen.*
FROM ({chosen}) AS chosen
JOIN (
    SELECT
        pg_catalog.unnest(%(corrected_batches)s::bigint[]) AS batch_id,
        pg_catalog.unnest(%(corrected_items)s::bigint[]) AS item_number
) AS corrected
    ON corrected.batch_id = chosen.batch_id
    AND corrected.item_number = chosen.item_number
