-- What a run does to its batch.

-- name: start_batch
UPDATE reliable_imports.import_batches
SET status = 'processing',
    started_at = pg_catalog.clock_timestamp()
WHERE id = %(batch_id)s
    AND status = 'pending'

-- name: start_run
-- A run that is not the first to work its batch resumes it. range_number is where it is going to begin.
INSERT INTO reliable_imports.import_runs (batch_id, runner, dagster_run_id, mode, host, process_id, range_number)
SELECT
    batch.id,
    %(runner)s,
    %(dagster_run_id)s,
    CASE
        WHEN EXISTS (SELECT FROM reliable_imports.import_runs AS earlier WHERE earlier.batch_id = batch.id) THEN 'resume'
        WHEN batch.reprocess_of IS NOT NULL THEN 'reprocess'
        ELSE 'import'
    END,
    %(host)s,
    %(process_id)s,
    (
        SELECT min(open_range.range_number)
        FROM reliable_imports.import_ranges AS open_range
        WHERE open_range.batch_id = batch.id
            AND open_range.is_open
    )
FROM reliable_imports.import_batches AS batch
WHERE batch.id = %(batch_id)s
RETURNING id, mode

-- name: end_run
UPDATE reliable_imports.import_runs
SET ended_at = pg_catalog.clock_timestamp(),
    heartbeat_at = pg_catalog.clock_timestamp(),
    range_number = NULL,
    outcome = %(outcome)s,
    error = %(error)s
WHERE id = %(run_id)s
    AND ended_at IS NULL

-- name: claim_chunk
-- The range is locked by this transaction and by nothing else: if the worker dies, it is free at once.
WITH claimed AS (
    SELECT open_range.batch_id, open_range.range_number, open_range.next_item, open_range.last_item
    FROM reliable_imports.import_ranges AS open_range
    WHERE open_range.batch_id = %(batch_id)s
        AND open_range.is_open
        AND open_range.range_number >= %(from_range)s
    ORDER BY open_range.range_number
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
SELECT
    claimed.range_number,
    claimed.next_item,
    claimed.last_item,
    item.item_number,
    item.source_data::text,
    item.source_raw,
    item.read_problem,
    item.read_problem_kind,
    item.source_line,
    item.source_offset,
    item.earlier_attempts,
    item.origin_batch_id,
    item.origin_item_number
FROM claimed
CROSS JOIN LATERAL (
    SELECT stored.*
    FROM reliable_imports.import_items AS stored
    WHERE stored.batch_id = claimed.batch_id
        AND stored.item_number >= claimed.next_item
        AND stored.item_number <= claimed.last_item
    ORDER BY stored.item_number
    LIMIT %(limit)s
) AS item
ORDER BY item.item_number

-- name: apply_writes
SELECT
    entry_index, failed_sqlstate, failed_message, failed_detail, failed_table, failed_column, failed_constraint
FROM reliable_imports.apply_writes(%(entries)s::text[], %(settle)s::text)

-- name: copy_attempts
COPY reliable_imports.import_attempts (
    batch_id, item_number, attempt, run_id, outcome, is_final, natural_key, result, skip_reason,
    stage, error_type, sqlstate, constraint_name, field, message, detail, traceback, reason, retryable, retry_after
) FROM STDIN

-- name: copy_logs
COPY reliable_imports.import_logs (batch_id, item_number, run_id, level, message, details) FROM STDIN

-- name: insert_log
INSERT INTO reliable_imports.import_logs (batch_id, item_number, run_id, level, message, details)
VALUES (%(batch_id)s, NULL, %(run_id)s, %(level)s, %(message)s, %(details)s)

-- name: know_reasons
INSERT INTO reliable_imports.import_failure_reasons (
    fingerprint, batch_type, stage, error_type, sqlstate, constraint_name, field, title
)
SELECT
    fingerprint, %(batch_type)s, stage, error_type, sqlstate, constraint_name, field, title
FROM pg_catalog.jsonb_to_recordset(%(reasons)s) AS reason (
    fingerprint text, stage text, error_type text, sqlstate text, constraint_name text, field text, title text
)
ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE SET last_seen = pg_catalog.clock_timestamp()

-- name: advance_range
-- The guard names the item where this chunk began: of two workers, one would move no row.
UPDATE reliable_imports.import_ranges
SET next_item = %(next_item)s,
    is_open = %(next_item)s <= last_item,
    completed = completed + %(completed)s,
    failed = failed + %(failed)s,
    skipped = skipped + %(skipped)s
WHERE batch_id = %(batch_id)s
    AND range_number = %(range_number)s
    AND is_open
    AND next_item = %(first_item)s

-- name: beat
-- Says that the run lives, and where it goes on: in this range, or in the next open one.
UPDATE reliable_imports.import_runs
SET heartbeat_at = pg_catalog.clock_timestamp(),
    range_number = (
        SELECT min(open_range.range_number)
        FROM reliable_imports.import_ranges AS open_range
        WHERE open_range.batch_id = %(batch_id)s
            AND open_range.is_open
            AND open_range.range_number >= %(range_number)s
    ),
    completed = completed + %(completed)s,
    failed = failed + %(failed)s,
    skipped = skipped + %(skipped)s
WHERE id = %(run_id)s

-- name: find_newer
-- Has an item that was delivered later completed the same key?
SELECT newer.batch_id, newer.item_number
FROM reliable_imports.import_attempts AS newer
JOIN reliable_imports.import_batches AS batch ON batch.id = newer.batch_id
JOIN reliable_imports.import_items AS item
    ON item.batch_id = newer.batch_id
    AND item.item_number = newer.item_number
WHERE newer.natural_key = %(natural_key)s
    AND newer.outcome = 'completed'
    AND batch.batch_type = %(batch_type)s
    AND (coalesce(item.origin_batch_id, item.batch_id), coalesce(item.origin_item_number, item.item_number))
        > (%(origin_batch_id)s, %(origin_item_number)s)
ORDER BY newer.batch_id DESC, newer.item_number DESC
LIMIT 1

-- name: has_deferrable_constraints
SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferrable)

-- name: lock_batch
SELECT status
FROM reliable_imports.import_batches
WHERE id = %(batch_id)s
FOR NO KEY UPDATE

-- name: close_batch
-- Only under lock_batch, and as a statement of its own: its snapshot then sees what the other workers committed.
UPDATE reliable_imports.import_batches AS batch
SET status = CASE
        WHEN counted.failed = 0 THEN 'completed'
        WHEN counted.completed = 0 THEN 'failed'
        ELSE 'completed_with_failures'
    END,
    completed_items = counted.completed,
    failed_items = counted.failed,
    skipped_items = counted.skipped,
    finished_at = pg_catalog.clock_timestamp()
FROM (
    SELECT
        coalesce(sum(completed), 0) AS completed,
        coalesce(sum(failed), 0) AS failed,
        coalesce(sum(skipped), 0) AS skipped
    FROM reliable_imports.import_ranges
    WHERE batch_id = %(batch_id)s
) AS counted
WHERE batch.id = %(batch_id)s
    AND batch.status = 'processing'
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_ranges AS open_range
        WHERE open_range.batch_id = batch.id
            AND open_range.is_open
    )
RETURNING batch.status, batch.total_items
