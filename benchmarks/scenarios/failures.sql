-- Copies a finished batch with its items, attempts and counts, so often.
WITH copied AS (
    INSERT INTO reliable_imports.import_batches (
        batch_type, status, first_batch_id, total_items, completed_items, failed_items, skipped_items, is_counted,
        created_at, started_at, finished_at
    )
    SELECT
        batch_type, status, first_batch_id, total_items, completed_items, failed_items, skipped_items, is_counted,
        created_at + number * interval '1 hour', started_at + number * interval '1 hour',
        finished_at + number * interval '1 hour'
    FROM reliable_imports.import_batches
    CROSS JOIN generate_series(1, %(copies)s) AS number
    WHERE id = %(batch_id)s
    RETURNING id
), items AS (
    INSERT INTO reliable_imports.import_items (batch_id, item_number, source_data)
    SELECT copied.id, item_number, source_data
    FROM copied
    CROSS JOIN reliable_imports.import_items
    WHERE batch_id = %(batch_id)s
), attempts AS (
    INSERT INTO reliable_imports.import_attempts (
        batch_id, item_number, attempt, run_id, outcome, is_final, finished_at, stage, error_type, field, message,
        traceback, reason, reasons, faults, code_version, retryable
    )
    SELECT
        copied.id, item_number, attempt, run_id, outcome, is_final, finished_at, stage, error_type, field, message,
        traceback, reason, reasons, faults, code_version, retryable
    FROM copied
    CROSS JOIN reliable_imports.import_attempts
    WHERE batch_id = %(batch_id)s
)
INSERT INTO reliable_imports.import_failure_counts
SELECT
    copied.id, reason, items, only_items, erased_items, retryable_items, first_seen, last_seen, code_versions,
    common_values
FROM copied
CROSS JOIN reliable_imports.import_failure_counts
WHERE batch_id = %(batch_id)s;
UPDATE reliable_imports.import_batches
SET first_batch_id = id
WHERE first_batch_id = %(batch_id)s;
