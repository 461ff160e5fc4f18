-- What a page for people says of a batch, or of all batches of a type.

-- name: reasons
-- Why items of a batch failed, with what the sample's failure says; of one that failed for several reasons, what the title
-- of this one does.
WITH counted AS (
    SELECT
        cause.reason,
        count(*) AS items,
        min(failure.finished_at) AS first_seen,
        max(failure.finished_at) AS last_seen,
        -- One that was erased tells nothing, and one with no other reason the most.
        (min(ARRAY[
            (failure.erased_at IS NOT NULL)::integer, pg_catalog.cardinality(failure.reasons), failure.item_number
        ]))[3] AS sample_item_number
    FROM reliable_imports.import_attempts AS failure
    CROSS JOIN LATERAL pg_catalog.unnest(failure.reasons) AS cause (reason)
    WHERE failure.batch_id = %(batch_id)s
        AND failure.is_final
        AND failure.outcome = 'failed'
    GROUP BY cause.reason
)
SELECT
    counted.reason, %(batch_id)s::bigint AS batch_id,
    known.title,
    sample.stage, sample.error_type, sample.constraint_name,
    CASE WHEN is_alone.it THEN sample.field ELSE known.field END AS field,
    word.note, counted.items, 1 AS batches, counted.first_seen, counted.last_seen,
    CASE
        WHEN is_alone.it OR sample.erased_at IS NOT NULL THEN sample.message
        ELSE pg_catalog.regexp_replace(known.title, '^[A-Za-z]+: ', '')
    END AS message,
    CASE WHEN is_alone.it THEN sample.detail END AS detail
FROM counted
JOIN reliable_imports.import_attempts AS sample
    ON sample.batch_id = %(batch_id)s
    AND sample.item_number = counted.sample_item_number
    AND sample.is_final
CROSS JOIN LATERAL (SELECT pg_catalog.cardinality(sample.reasons) = 1 AS it) AS is_alone
LEFT JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = counted.reason
LEFT JOIN reliable_imports.reason_notes AS word ON word.reason = counted.reason
ORDER BY counted.items DESC, counted.reason

-- name: open_reasons
-- Likewise of what is outstanding in all batches of a type; the sample is of the newest.
WITH counted AS (
    SELECT
        cause.reason,
        count(*) AS items,
        count(DISTINCT outstanding.batch_id) AS batches,
        min(outstanding.failed_at) AS first_seen,
        max(outstanding.failed_at) AS last_seen,
        max(ARRAY[outstanding.batch_id, outstanding.item_number]) AS newest
    FROM reliable_imports.outstanding_failures AS outstanding
    CROSS JOIN LATERAL pg_catalog.unnest(outstanding.reasons) AS cause (reason)
    WHERE outstanding.batch_type = %(batch_type)s
    GROUP BY cause.reason
)
SELECT
    counted.reason, counted.newest[1] AS batch_id,
    known.title,
    sample.stage, sample.error_type, sample.constraint_name,
    CASE WHEN is_alone.it THEN sample.field ELSE known.field END AS field,
    word.note, counted.items, counted.batches, counted.first_seen, counted.last_seen,
    CASE WHEN is_alone.it THEN sample.message ELSE pg_catalog.regexp_replace(known.title, '^[A-Za-z]+: ', '') END AS message,
    CASE WHEN is_alone.it THEN sample.detail END AS detail
FROM counted
JOIN reliable_imports.import_attempts AS sample
    ON sample.batch_id = counted.newest[1]
    AND sample.item_number = counted.newest[2]
    AND sample.is_final
CROSS JOIN LATERAL (SELECT pg_catalog.cardinality(sample.reasons) = 1 AS it) AS is_alone
LEFT JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = counted.reason
LEFT JOIN reliable_imports.reason_notes AS word ON word.reason = counted.reason
ORDER BY counted.items DESC, counted.reason

-- name: fates
-- What became of the failures of a batch, by reason, and of all of them: the last of all that repeat an item says it.
WITH RECURSIVE repeats AS (
    SELECT reasons, batch_id, item_number
    FROM reliable_imports.import_attempts
    WHERE batch_id = %(batch_id)s
        AND is_final
        AND outcome = 'failed'
    UNION ALL
    SELECT repeats.reasons, repeat.batch_id, repeat.item_number
    FROM repeats
    JOIN reliable_imports.import_items AS repeat
        ON repeat.repeats_batch_id = repeats.batch_id
        AND repeat.repeats_item_number = repeats.item_number
)
SELECT
    cause.reason,
    count(*) FILTER (WHERE ended.outcome = 'completed') AS repaired,
    count(*) FILTER (WHERE ended.outcome = 'skipped') AS skipped,
    count(*) FILTER (WHERE ended.outcome = 'failed' AND ended.erased_at IS NULL) AS outstanding,
    count(*) FILTER (WHERE ended.outcome = 'failed' AND ended.erased_at IS NOT NULL) AS erased,
    count(*) FILTER (WHERE ended.outcome IS NULL) AS waiting
FROM repeats
CROSS JOIN LATERAL pg_catalog.unnest(repeats.reasons || NULL::text) AS cause (reason)
LEFT JOIN reliable_imports.import_attempts AS ended
    ON ended.batch_id = repeats.batch_id
    AND ended.item_number = repeats.item_number
    AND ended.is_final
WHERE NOT EXISTS (
    SELECT FROM reliable_imports.import_items AS repeat
    WHERE repeat.repeats_batch_id = repeats.batch_id
        AND repeat.repeats_item_number = repeats.item_number
)
GROUP BY cause.reason

-- name: samples
SELECT item.item_number, item.source_line, item.source_data::text, item.source_raw
FROM (
    SELECT batch_id, item_number
    FROM reliable_imports.import_attempts
    WHERE batch_id = %(batch_id)s
        AND reasons @> ARRAY[%(reason)s]
        AND is_final
        AND outcome = 'failed'
        AND erased_at IS NULL
    ORDER BY item_number
    LIMIT %(limit)s
) AS failure
JOIN reliable_imports.stored_items AS item
    ON item.batch_id = failure.batch_id
    AND item.item_number = failure.item_number
ORDER BY failure.item_number

-- name: sensitive_of_type
-- What any run of the type called so: the processor that is known here may be another version.
SELECT DISTINCT name.field
FROM reliable_imports.import_runs AS run
JOIN reliable_imports.import_batches AS batch ON batch.id = run.batch_id
CROSS JOIN LATERAL pg_catalog.unnest(run.sensitive) AS name (field)
WHERE batch.batch_type = %(batch_type)s

-- name: commonest_values
-- Of the first so many items of a reason, for it may have a million.
WITH failed AS (
    SELECT batch_id, item_number
    FROM reliable_imports.import_attempts
    WHERE batch_id = %(batch_id)s
        AND reasons @> ARRAY[%(reason)s]
        AND is_final
        AND outcome = 'failed'
        AND erased_at IS NULL
    ORDER BY item_number
    LIMIT %(looked_at)s
)
SELECT coalesce(item.source_data ->> %(field)s, '') AS value, count(*) AS items
FROM failed
JOIN reliable_imports.import_batch_items AS item
    ON item.batch_id = failed.batch_id
    AND item.item_number = failed.item_number
WHERE pg_catalog.json_typeof(item.source_data) = 'object'
GROUP BY value
ORDER BY items DESC, value
LIMIT %(limit)s

-- name: skips
SELECT skip_reason, count(*) AS items
FROM reliable_imports.import_attempts
WHERE batch_id = %(batch_id)s
    AND is_final
    AND outcome = 'skipped'
GROUP BY skip_reason
ORDER BY items DESC, skip_reason
LIMIT %(limit)s

-- name: lineage
SELECT
    summary.batch_id, summary.status, summary.reprocess_of, summary.requested_by, summary.note, summary.total_items,
    summary.completed_items, summary.failed_items, summary.skipped_items, summary.open_items, summary.created_at,
    summary.finished_at, batch.corrected_from
FROM reliable_imports.batch_summaries AS summary
JOIN reliable_imports.import_batches AS batch ON batch.id = summary.batch_id
WHERE summary.first_batch_id = %(first_batch_id)s
ORDER BY summary.batch_id

-- name: slowest
-- Items are committed together, so the time of one is not known, but that of neighbours is: from one commit of a run to
-- its next.
WITH timed AS (
    SELECT
        attempt.run_id,
        attempt.item_number,
        attempt.finished_at,
        attempt.finished_at - coalesce(
            lag(attempt.finished_at) OVER (PARTITION BY attempt.run_id ORDER BY attempt.finished_at, attempt.item_number),
            run.started_at
        ) AS since
    FROM reliable_imports.import_attempts AS attempt
    JOIN reliable_imports.import_runs AS run ON run.id = attempt.run_id
    WHERE attempt.batch_id = %(batch_id)s
), chunk AS (
    SELECT
        run_id,
        item_number,
        since,
        count(*) FILTER (WHERE since > interval '20 milliseconds') OVER (
            PARTITION BY run_id ORDER BY finished_at, item_number
        ) AS number
    FROM timed
)
SELECT
    min(item_number) AS first_item,
    max(item_number) AS last_item,
    count(*) AS items,
    extract(epoch FROM max(since))::double precision AS seconds
FROM chunk
WHERE number > 0
GROUP BY run_id, number
HAVING max(since) > interval '100 milliseconds'
ORDER BY max(since) / count(*) DESC
LIMIT %(limit)s

-- name: totals_of_type
SELECT
    count(*) AS batches,
    count(*) FILTER (WHERE finished_at IS NULL) AS open_batches,
    coalesce(sum(total_items), 0)::bigint AS total_items,
    coalesce(sum(completed_items), 0)::bigint AS completed_items,
    coalesce(sum(failed_items), 0)::bigint AS failed_items,
    coalesce(sum(skipped_items), 0)::bigint AS skipped_items,
    coalesce(sum(open_items), 0)::bigint AS open_items,
    min(created_at) AS first_at
FROM reliable_imports.batch_summaries
WHERE batch_type = %(batch_type)s
    AND reprocess_of IS NULL

-- name: outstanding_of_type
SELECT count(*)
FROM reliable_imports.outstanding_failures
WHERE batch_type = %(batch_type)s
