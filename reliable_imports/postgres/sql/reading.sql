-- What people ask.

-- name: batch
SELECT
    id, batch_type, status, source, source_sha256, source_bytes, idempotency_key, reprocess_of, first_batch_id,
    overwrite_newer, is_held, is_canary, corrected_from, requested_by, note, metadata, warnings, total_items, created_at, started_at, finished_at
FROM reliable_imports.import_batches
WHERE id = %(batch_id)s

-- name: format_of_source
-- Of the file that a batch's lineage began with, where texts are cells or rows can be read again.
SELECT first.source_reading ->> 'format'
FROM reliable_imports.import_batches AS batch
JOIN reliable_imports.import_batches AS first ON first.id = batch.first_batch_id
WHERE batch.id = %(batch_id)s

-- name: summaries
SELECT
    batch_id, batch_type, status, source, total_items, completed_items, failed_items, skipped_items, open_items,
    reprocess_of, first_batch_id, created_at, started_at, finished_at, pause_reason, warnings,
    erased_items,
    extract(
        epoch FROM coalesce(finished_at, pg_catalog.clock_timestamp()) - started_at
    )::double precision AS seconds
FROM reliable_imports.batch_summaries
WHERE (%(batch_id)s::bigint IS NULL OR batch_id = %(batch_id)s)
    AND (%(batch_type)s::text IS NULL OR batch_type = %(batch_type)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY batch_id DESC
LIMIT %(limit)s

-- name: failure_reasons
SELECT
    counted.reason, counted.title, counted.stage, counted.error_type, counted.items, counted.retryable_items,
    counted.sample_item_number,
    item.source_data::text AS sample_source_data,
    item.source_raw AS sample_source_raw,
    item.source_line AS sample_line,
    counted.first_seen, counted.last_seen
FROM reliable_imports.failure_reason_counts AS counted
JOIN reliable_imports.stored_items AS item
    ON item.batch_id = counted.batch_id
    AND item.item_number = counted.sample_item_number
WHERE counted.batch_id = %(batch_id)s
ORDER BY counted.items DESC, counted.reason

-- name: items
SELECT
    batch_id, item_number, status,
    source_data::text AS source_data, source_raw,
    source_line, attempts, result, skip_reason, stage, error_type, error_message, reason, retryable, finished_at,
    erased_at
FROM reliable_imports.import_batch_items
WHERE batch_id = %(batch_id)s
    AND item_number > %(after)s
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(reason)s::text IS NULL OR reason = %(reason)s)
ORDER BY item_number
LIMIT %(limit)s

-- name: outstanding
SELECT count(*), count(*) FILTER (WHERE is_ignored) AS ignored
FROM reliable_imports.outstanding_failures
WHERE first_batch_id = (SELECT first_batch_id FROM reliable_imports.import_batches WHERE id = %(batch_id)s)

-- name: outstanding_reasons
-- What is outstanding across the lineage, by the batch that it failed in. What a cancelled batch left undone has no reason.
WITH counted AS (
    SELECT batch_id, reason, count(*) AS items, min(item_number) AS sample_item_number
    FROM reliable_imports.outstanding_failures
    WHERE first_batch_id = (SELECT first_batch_id FROM reliable_imports.import_batches WHERE id = %(batch_id)s)
    GROUP BY batch_id, reason
)
SELECT
    counted.batch_id, counted.reason,
    known.title,
    sample.stage, counted.items, counted.sample_item_number,
    item.source_data::text AS sample_source_data,
    item.source_raw AS sample_source_raw
FROM counted
JOIN reliable_imports.stored_items AS item
    ON item.batch_id = counted.batch_id
    AND item.item_number = counted.sample_item_number
LEFT JOIN reliable_imports.import_attempts AS sample
    ON sample.batch_id = counted.batch_id
    AND sample.item_number = counted.sample_item_number
    AND sample.is_final
LEFT JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = counted.reason
ORDER BY counted.items DESC, counted.batch_id, counted.reason

-- name: sensitive_fields
-- What those who worked the lineage of a batch called so.
SELECT DISTINCT name.field
FROM reliable_imports.import_batches AS of_lineage
JOIN reliable_imports.import_runs AS run ON run.batch_id = of_lineage.id
CROSS JOIN LATERAL pg_catalog.unnest(run.sensitive) AS name (field)
WHERE of_lineage.first_batch_id = (SELECT first_batch_id FROM reliable_imports.import_batches WHERE id = %(batch_id)s)

-- name: open_lineages
-- Lineages in which something is outstanding, or an open reprocess batch is to be worked.
SELECT DISTINCT first_batch_id
FROM reliable_imports.outstanding_failures
WHERE batch_type = %(batch_type)s
UNION
SELECT first_batch_id
FROM reliable_imports.import_batches
WHERE batch_type = %(batch_type)s
    AND reprocess_of IS NOT NULL
    AND finished_at IS NULL
    AND NOT is_held
ORDER BY first_batch_id

-- name: held_batches
SELECT id
FROM reliable_imports.import_batches
WHERE first_batch_id = (SELECT first_batch_id FROM reliable_imports.import_batches WHERE id = %(batch_id)s)
    AND finished_at IS NULL
    AND is_held
ORDER BY id

-- name: repeated_items
SELECT repeats_batch_id, count(*)
FROM reliable_imports.import_items
WHERE batch_id = %(batch_id)s
    AND repeats_batch_id IS NOT NULL
GROUP BY repeats_batch_id
ORDER BY repeats_batch_id

-- name: logs
-- The last ones, in the order in which they were written.
SELECT *
FROM (
    SELECT id, batch_id, item_number, run_id, level, message, details, logged_at
    FROM reliable_imports.import_logs
    WHERE batch_id = %(batch_id)s
        AND (%(item_number)s::bigint IS NULL OR item_number = %(item_number)s)
        AND (%(levels)s::text[] IS NULL OR level = ANY (%(levels)s::text[]))
    ORDER BY id DESC
    LIMIT %(limit)s
) AS latest
ORDER BY id

-- name: runs
SELECT
    run_id, batch_id, runner, dagster_run_id, mode, code_version, state, completed, failed, skipped, started_at, ended_at,
    seconds, error
FROM reliable_imports.run_history
WHERE (%(batch_id)s::bigint IS NULL OR batch_id = %(batch_id)s)
    AND (%(dagster_run_id)s::text IS NULL OR dagster_run_id = %(dagster_run_id)s)
    AND (%(batch_type)s::text IS NULL OR batch_type = %(batch_type)s)
    AND (
        %(lineage)s::bigint IS NULL
        OR batch_id IN (SELECT id FROM reliable_imports.import_batches WHERE first_batch_id = %(lineage)s)
    )
ORDER BY run_id
