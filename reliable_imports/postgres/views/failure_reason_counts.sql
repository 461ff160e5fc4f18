-- Items by the first of their causes; the view item_reasons has all of them.
CREATE OR REPLACE VIEW reliable_imports.failure_reason_counts AS
SELECT
    counted.batch_id,
    counted.reason,
    known.title,
    sample.stage,
    sample.error_type,
    sample.sqlstate,
    sample.constraint_name,
    sample.field,
    word.note,
    counted.items,
    counted.retryable_items,
    counted.sample_item_number,
    counted.first_seen,
    counted.last_seen
FROM (
    SELECT
        batch_id,
        reason,
        count(*) AS items,
        count(*) FILTER (WHERE retryable) AS retryable_items,
        -- One that was erased tells nothing.
        coalesce(min(item_number) FILTER (WHERE erased_at IS NULL), min(item_number)) AS sample_item_number,
        min(finished_at) AS first_seen,
        max(finished_at) AS last_seen
    FROM reliable_imports.import_attempts
    WHERE is_final
        AND outcome = 'failed'
    GROUP BY batch_id, reason
) AS counted
JOIN reliable_imports.import_attempts AS sample
    ON sample.batch_id = counted.batch_id
    AND sample.item_number = counted.sample_item_number
    AND sample.is_final
LEFT JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = counted.reason
LEFT JOIN reliable_imports.reason_notes AS word ON word.reason = counted.reason;
