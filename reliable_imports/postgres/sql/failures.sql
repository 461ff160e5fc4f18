-- Why items failed: causes over one batch, all batches of a type, or all there are.

-- name: summarize
-- One row for each cause that was met in what was asked for. A cause is back if, after all of its failures had been
-- repeated, it was met again under code that had not failed before.
WITH named AS (
    SELECT batch_type, first_batch_id
    FROM reliable_imports.import_batches
    WHERE id = %(batch_id)s
), groups AS MATERIALIZED (
    SELECT
        found.*,
        %(batch_id)s::bigint IS NULL OR found.batch_id = %(batch_id)s AS is_asked_for,
        %(batch_id)s::bigint IS NULL OR found.first_batch_id = (SELECT first_batch_id FROM named) AS is_of_lineage
    FROM reliable_imports.failure_groups AS found
    WHERE (%(batch_type)s::text IS NULL OR found.batch_type = %(batch_type)s)
        AND (%(batch_id)s::bigint IS NULL OR found.batch_type = (SELECT batch_type FROM named))
        AND (%(reason)s::text IS NULL OR found.reason = %(reason)s)
), marked AS (
    SELECT
        reason, batch_id, first_seen, code_versions,
        coalesce(
            max(repeated_at) OVER (
                PARTITION BY reason
                ORDER BY first_seen, batch_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) < first_seen,
            false
        ) AS begins_again
    FROM groups
), numbered AS (
    SELECT
        reason, code_versions,
        sum(begins_again::integer) OVER (PARTITION BY reason ORDER BY first_seen, batch_id) AS episode
    FROM marked
), returned AS (
    SELECT reason
    FROM (
        SELECT numbered.reason, min(numbered.episode) AS episode
        FROM numbered
        CROSS JOIN LATERAL pg_catalog.unnest(numbered.code_versions) AS by (code_version)
        GROUP BY numbered.reason, by.code_version
    ) AS version
    GROUP BY reason
    HAVING max(episode) = (SELECT max(each.episode) FROM numbered AS each WHERE each.reason = version.reason)
        AND max(episode) > 0
), valued AS (
    SELECT
        groups.reason, told.value, sum(told.items)::bigint AS items,
        row_number() OVER (PARTITION BY groups.reason ORDER BY sum(told.items) DESC, told.value) AS rank
    FROM groups
    CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(groups.common_values) AS told (value text, items bigint)
    WHERE groups.is_asked_for
        -- What was repeated is in the batch that repeats it: else each of its values would count twice.
        AND (
            groups.outstanding > 0
            OR groups.reason NOT IN (SELECT open.reason FROM groups AS open WHERE open.is_asked_for AND open.outstanding > 0)
        )
    GROUP BY groups.reason, told.value
), common AS (
    SELECT
        reason,
        pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', value, 'items', items) ORDER BY rank) AS common_values
    FROM valued
    WHERE rank <= %(values)s
    GROUP BY reason
), summed AS (
    SELECT
        reason,
        max(batch_type) AS batch_type,
        (sum(items) FILTER (WHERE is_asked_for))::bigint AS items,
        (sum(only_items) FILTER (WHERE is_asked_for))::bigint AS only,
        (sum(retryable_items) FILTER (WHERE is_asked_for))::bigint AS retryable_items,
        (sum(outstanding) FILTER (WHERE is_of_lineage))::bigint AS outstanding,
        (sum(outstanding_only) FILTER (WHERE is_of_lineage))::bigint AS outstanding_only,
        (sum(waiting) FILTER (WHERE is_of_lineage))::bigint AS waiting,
        count(*) FILTER (WHERE is_asked_for) AS batches,
        max(batch_id) FILTER (WHERE is_asked_for) AS last_batch_id,
        min(batch_id) AS met_first_in,
        min(first_seen) FILTER (WHERE is_asked_for) AS first_seen,
        max(last_seen) FILTER (WHERE is_asked_for) AS last_seen
    FROM groups
    GROUP BY reason
    HAVING bool_or(is_asked_for)
), before AS (
    SELECT names.reason, min(known.first_seen) AS first_seen
    FROM reliable_imports.reason_names AS names
    JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = names.name
    WHERE names.name <> names.reason
    GROUP BY names.reason
)
SELECT
    summed.reason,
    known.title,
    CASE
        WHEN summed.outstanding = 0 AND summed.waiting = 0 THEN 'closed'
        WHEN ignored.reason IS NOT NULL AND NOT ignored.has_surged THEN 'ignored'
        WHEN returned.reason IS NOT NULL THEN 'back'
        ELSE 'open'
    END AS state,
    summed.batch_type,
    known.field,
    known.rule,
    summed.items, summed.only, summed.outstanding, summed.outstanding_only, summed.waiting, summed.retryable_items,
    summed.batches, summed.last_batch_id, summed.met_first_in,
    CASE WHEN %(batch_id)s::bigint IS NULL THEN least(before.first_seen, summed.first_seen) ELSE summed.first_seen END
        AS first_seen,
    summed.last_seen,
    coalesce(common.common_values, '[]') AS "values",
    word.note,
    ignored.why AS ignored_why, ignored.until AS ignored_until, ignored.has_surged,
    known.continues
FROM summed
JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = summed.reason
LEFT JOIN common ON common.reason = summed.reason
LEFT JOIN returned ON returned.reason = summed.reason
LEFT JOIN reliable_imports.ignored_reasons AS ignored ON ignored.reason = summed.reason
LEFT JOIN reliable_imports.reason_notes AS word ON word.reason = summed.reason
LEFT JOIN before ON before.reason = summed.reason
ORDER BY summed.outstanding DESC, summed.items DESC, summed.reason

-- name: find_reason
-- By its id, or by what that begins with; of the batches that were asked for.
SELECT known.fingerprint
FROM reliable_imports.import_failure_reasons AS known
WHERE pg_catalog.starts_with(known.fingerprint, %(prefix)s)
    AND (%(batch_type)s::text IS NULL OR known.batch_type = %(batch_type)s)
    AND (
        %(batch_id)s::bigint IS NULL
        OR EXISTS (
            SELECT
            FROM reliable_imports.import_batches AS named
            JOIN reliable_imports.import_batches AS batch ON batch.first_batch_id = named.first_batch_id
            JOIN reliable_imports.import_attempts AS failure ON failure.batch_id = batch.id
            WHERE named.id = %(batch_id)s
                AND failure.is_final
                AND failure.outcome = 'failed'
                AND failure.reasons @> ARRAY[known.fingerprint]
        )
    )
ORDER BY known.fingerprint = %(prefix)s DESC, known.fingerprint
LIMIT 6

-- name: samples_of_reason
-- Failed items of a cause in one batch, those that are outstanding first, with what they hold in the field at fault.
SELECT
    failure.batch_id, failure.item_number, item.source_line, failure.attempt AS attempts, failure.stage,
    failure.error_type, failure.message AS error_message, failure.reasons, failure.retryable,
    failure.finished_at + failure.retry_after AS retry_at, failure.finished_at AS failed_at, failure.traceback,
    fault.field,
    CASE WHEN held.is_masked AND fault.value IS NULL THEN '***' ELSE coalesce(fault.value, held.value) END AS value,
    fault.value IS NULL AND coalesce(held.is_empty, false) AS is_empty,
    item.source_data::text AS source_data, item.source_raw, failure.is_outstanding
FROM (
    SELECT
        failed.*,
        NOT EXISTS (
            SELECT FROM reliable_imports.import_items AS repeat
            WHERE repeat.repeats_batch_id = failed.batch_id
                AND repeat.repeats_item_number = failed.item_number
        ) AS is_outstanding
    FROM reliable_imports.import_attempts AS failed
    WHERE failed.batch_id = %(batch_id)s
        AND failed.is_final
        AND failed.outcome = 'failed'
        AND failed.reasons @> ARRAY[%(reason)s]
    ORDER BY failed.erased_at IS NOT NULL, is_outstanding DESC, failed.item_number
    LIMIT %(limit)s
) AS failure
JOIN reliable_imports.stored_items AS item
    ON item.batch_id = failure.batch_id
    AND item.item_number = failure.item_number
LEFT JOIN LATERAL (
    SELECT told.field, told.value
    FROM pg_catalog.jsonb_to_recordset(failure.faults) AS told (reason text, field text, value text)
    WHERE told.reason = %(reason)s
    LIMIT 1
) AS fault ON true
CROSS JOIN LATERAL reliable_imports.field_of_item_v1(
    item.source_data, fault.field, failure.sqlstate, %(sensitive)s::text[]
) AS held
ORDER BY failure.erased_at IS NOT NULL, failure.is_outstanding DESC, failure.item_number

-- name: groups_of_reason
-- The batches in which it was met, the newest first.
SELECT
    found.batch_id, batch.status, batch.source, batch.reprocess_of, found.items, found.outstanding, found.first_seen
FROM reliable_imports.failure_groups AS found
JOIN reliable_imports.import_batches AS batch ON batch.id = found.batch_id
WHERE found.reason = %(reason)s
    AND (%(batch_type)s::text IS NULL OR found.batch_type = %(batch_type)s)
    AND (%(batch_id)s::bigint IS NULL OR found.batch_id = %(batch_id)s)
ORDER BY found.batch_id DESC

-- name: due
-- When the next one may be tried again, of those that no person needs to look after.
SELECT min(failure.finished_at + failure.retry_after) AS due
FROM reliable_imports.import_attempts AS failure
WHERE failure.batch_id = ANY (%(batches)s)
    AND failure.is_final
    AND failure.retry_after IS NOT NULL
    AND failure.reasons @> ARRAY[%(reason)s]
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_items AS repeat
        WHERE repeat.repeats_batch_id = failure.batch_id
            AND repeat.repeats_item_number = failure.item_number
    )

-- name: actions
-- What people did about it, oldest first: what they said, and the batches that repeated items of it.
SELECT word.made_at AS at, word.made_by AS by, word.kind, word.text, word.until, NULL::bigint AS batch_id, NULL::bigint AS items,
    NULL::bigint AS failed_again
FROM reliable_imports.import_reason_notes AS word
JOIN reliable_imports.reason_names AS names ON names.name = word.reason
WHERE names.reason = %(reason)s
UNION ALL
SELECT batch.created_at, batch.requested_by, 'repeat', batch.note, NULL, batch.id, sum(repeats.items)::bigint,
    coalesce(max(again.items), 0)
FROM reliable_imports.repeat_counts AS repeats
JOIN reliable_imports.import_batches AS batch ON batch.id = repeats.batch_id
LEFT JOIN reliable_imports.failure_counts AS again
    ON again.batch_id = repeats.batch_id
    AND again.reason = repeats.reason
WHERE repeats.reason = %(reason)s
GROUP BY batch.id
ORDER BY 1, 6

-- name: add_note
INSERT INTO reliable_imports.import_reason_notes (reason, kind, text, until, made_by)
VALUES (%(reason)s, %(kind)s, %(text)s, %(until)s, %(made_by)s)

-- name: sensitive_fields_of_batches
SELECT DISTINCT name.field
FROM reliable_imports.import_batches AS shown
JOIN reliable_imports.import_batches AS of_lineage ON of_lineage.first_batch_id = shown.first_batch_id
JOIN reliable_imports.import_runs AS run ON run.batch_id = of_lineage.id
CROSS JOIN LATERAL pg_catalog.unnest(run.sensitive) AS name (field)
WHERE shown.id = ANY (%(batches)s)
