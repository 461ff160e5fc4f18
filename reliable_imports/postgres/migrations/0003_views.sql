-- What people read.

CREATE VIEW reliable_imports.import_batch_items AS
SELECT
    item.batch_id,
    item.item_number,
    CASE
        WHEN latest.is_final THEN latest.outcome
        WHEN EXISTS (
            SELECT FROM reliable_imports.import_runs AS run
            JOIN reliable_imports.import_ranges AS held
                ON held.batch_id = run.batch_id
                AND held.range_number = run.range_number
            WHERE run.batch_id = item.batch_id
                AND reliable_imports.run_is_live(run.ended_at, run.heartbeat_at)
                AND item.item_number BETWEEN held.next_item AND held.last_item
        ) THEN 'processing'
        ELSE 'pending'
    END AS status,
    item.source_data,
    item.source_raw,
    item.source_line,
    item.source_offset,
    coalesce(latest.attempt, item.earlier_attempts) AS attempts,
    latest.result,
    latest.result ->> 'target_table' AS target_table,
    latest.result ->> 'target_id' AS target_id,
    latest.skip_reason,
    latest.stage,
    latest.error_type,
    latest.sqlstate,
    latest.constraint_name,
    latest.field,
    latest.message AS error_message,
    latest.detail AS error_detail,
    latest.traceback,
    latest.reason,
    latest.retryable,
    latest.finished_at + latest.retry_after AS retry_at,
    latest.run_id,
    latest.finished_at,
    item.repeats_batch_id,
    item.repeats_item_number,
    item.erased_at
FROM reliable_imports.import_items AS item
LEFT JOIN LATERAL (
    SELECT attempt.*
    FROM reliable_imports.import_attempts AS attempt
    WHERE attempt.batch_id = item.batch_id
        AND attempt.item_number = item.item_number
    ORDER BY attempt.attempt DESC
    LIMIT 1
) AS latest ON true;

CREATE VIEW reliable_imports.batch_summaries AS
SELECT
    batch.id AS batch_id,
    batch.batch_type,
    batch.status,
    batch.source,
    batch.reprocess_of,
    batch.first_batch_id,
    batch.requested_by,
    batch.note,
    batch.total_items,
    coalesce(batch.completed_items, counted.completed, 0)::bigint AS completed_items,
    coalesce(batch.failed_items, counted.failed, 0)::bigint AS failed_items,
    coalesce(batch.skipped_items, counted.skipped, 0)::bigint AS skipped_items,
    (
        batch.total_items
        - coalesce(batch.completed_items, counted.completed, 0)
        - coalesce(batch.failed_items, counted.failed, 0)
        - coalesce(batch.skipped_items, counted.skipped, 0)
    )::bigint AS open_items,
    batch.created_at,
    batch.started_at,
    batch.finished_at,
    batch.pause_reason,
    batch.warnings,
    batch.erased_items
FROM reliable_imports.import_batches AS batch
LEFT JOIN LATERAL (
    SELECT
        sum(counts.completed) AS completed,
        sum(counts.failed) AS failed,
        sum(counts.skipped) AS skipped
    FROM reliable_imports.import_ranges AS counts
    WHERE counts.batch_id = batch.id
        AND batch.completed_items IS NULL
) AS counted ON true;

CREATE VIEW reliable_imports.failed_items AS
SELECT
    failure.batch_id,
    failure.item_number,
    batch.batch_type,
    failure.reason,
    failure.stage,
    failure.error_type,
    failure.sqlstate,
    failure.constraint_name,
    failure.field,
    failure.message AS error_message,
    failure.detail AS error_detail,
    failure.attempt AS attempts,
    failure.retryable,
    failure.finished_at + failure.retry_after AS retry_at,
    failure.finished_at AS failed_at,
    item.source_line,
    item.source_offset,
    item.source_data,
    item.source_raw,
    item.erased_at
FROM reliable_imports.import_attempts AS failure
JOIN reliable_imports.import_batches AS batch ON batch.id = failure.batch_id
JOIN reliable_imports.import_items AS item
    ON item.batch_id = failure.batch_id
    AND item.item_number = failure.item_number
WHERE failure.is_final
    AND failure.outcome = 'failed';

-- A title is that of the sample: other failures for the reason, here or elsewhere, may say it of another value.
CREATE VIEW reliable_imports.failure_reason_counts AS
SELECT
    counted.batch_id,
    counted.reason,
    known.heading || ': ' || coalesce(sample.detail, sample.message) AS title,
    sample.stage,
    sample.error_type,
    sample.sqlstate,
    sample.constraint_name,
    sample.field,
    known.note,
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
LEFT JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = counted.reason;

-- Failed items that no later item repeats, across the whole line of a batch; and what a cancelled batch left undone,
-- which has no reason. What was erased cannot be repeated, and waits for nobody.
CREATE VIEW reliable_imports.outstanding_failures AS
SELECT
    batch.first_batch_id,
    batch.batch_type,
    failure.batch_id,
    failure.item_number,
    failure.reason,
    failure.attempt AS attempts,
    failure.retryable,
    failure.finished_at + failure.retry_after AS retry_at,
    failure.finished_at AS failed_at,
    failure.constraint_name,
    failure.missing_key
FROM reliable_imports.import_attempts AS failure
JOIN reliable_imports.import_batches AS batch ON batch.id = failure.batch_id
WHERE failure.is_final
    AND failure.outcome = 'failed'
    AND failure.erased_at IS NULL
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_items AS repeat
        WHERE repeat.repeats_batch_id = failure.batch_id
            AND repeat.repeats_item_number = failure.item_number
    )
UNION ALL
SELECT
    batch.first_batch_id,
    batch.batch_type,
    item.batch_id,
    item.item_number,
    NULL::text AS reason,
    item.earlier_attempts AS attempts,
    false AS retryable,
    NULL::timestamptz AS retry_at,
    batch.finished_at AS failed_at,
    NULL::text AS constraint_name,
    NULL::text AS missing_key
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    SELECT undone.first_item, undone.last_item
    FROM (
        SELECT next_item AS first_item, last_item
        FROM reliable_imports.import_ranges
        WHERE batch_id = batch.id
        UNION ALL
        SELECT item_number, item_number
        FROM reliable_imports.import_retries
        WHERE batch_id = batch.id
    ) AS undone
    WHERE undone.first_item <= undone.last_item
) AS undone
JOIN reliable_imports.import_items AS item
    ON item.batch_id = batch.id
    AND item.item_number BETWEEN undone.first_item AND undone.last_item
WHERE batch.status = 'cancelled'
    AND item.erased_at IS NULL
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_items AS repeat
        WHERE repeat.repeats_batch_id = item.batch_id
            AND repeat.repeats_item_number = item.item_number
    );

CREATE VIEW reliable_imports.run_history AS
SELECT
    run.id AS run_id,
    run.batch_id,
    batch.batch_type,
    run.runner,
    run.dagster_run_id,
    run.mode,
    run.code_version,
    CASE
        WHEN run.ended_at IS NOT NULL THEN run.outcome
        WHEN reliable_imports.run_is_live(run.ended_at, run.heartbeat_at) THEN 'running'
        ELSE 'lost'
    END AS state,
    run.completed,
    run.failed,
    run.skipped,
    run.started_at,
    run.heartbeat_at,
    run.ended_at,
    extract(epoch FROM coalesce(run.ended_at, run.heartbeat_at) - run.started_at)::double precision AS seconds,
    run.host,
    run.process_id,
    run.error
FROM reliable_imports.import_runs AS run
JOIN reliable_imports.import_batches AS batch ON batch.id = run.batch_id;

CREATE VIEW reliable_imports.hourly_throughput AS
SELECT
    date_trunc('hour', attempt.finished_at) AS hour,
    batch.batch_type,
    count(*) FILTER (WHERE attempt.outcome = 'completed') AS completed,
    count(*) FILTER (WHERE attempt.outcome = 'failed') AS failed,
    count(*) FILTER (WHERE attempt.outcome = 'skipped') AS skipped
FROM reliable_imports.import_attempts AS attempt
JOIN reliable_imports.import_batches AS batch ON batch.id = attempt.batch_id
WHERE attempt.is_final
GROUP BY 1, 2;

-- Batches that were begun and that nobody works on any more.
CREATE VIEW reliable_imports.stalled_batches AS
SELECT
    summary.batch_id,
    summary.batch_type,
    summary.first_batch_id,
    summary.reprocess_of,
    summary.open_items,
    (
        SELECT max(run.heartbeat_at)
        FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = summary.batch_id
    ) AS last_heartbeat_at
FROM reliable_imports.batch_summaries AS summary
WHERE summary.status = 'processing'
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = summary.batch_id
            AND reliable_imports.run_is_live(run.ended_at, run.heartbeat_at)
    );

-- received = pending + processing + completed + failed + skipped, counted from the items themselves.
CREATE VIEW reliable_imports.reconciliation AS
SELECT
    batch.id AS batch_id,
    batch.total_items AS received,
    counted.stored,
    counted.pending,
    counted.processing,
    counted.completed,
    counted.failed,
    counted.skipped,
    batch.total_items = counted.stored
        AND batch.total_items
        = counted.pending + counted.processing + counted.completed + counted.failed + counted.skipped
        AND coalesce(batch.completed_items, counted.completed) = counted.completed
        AND coalesce(batch.failed_items, counted.failed) = counted.failed
        AND coalesce(batch.skipped_items, counted.skipped) = counted.skipped AS balanced
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    SELECT
        count(*) AS stored,
        count(*) FILTER (WHERE item.status = 'pending') AS pending,
        count(*) FILTER (WHERE item.status = 'processing') AS processing,
        count(*) FILTER (WHERE item.status = 'completed') AS completed,
        count(*) FILTER (WHERE item.status = 'failed') AS failed,
        count(*) FILTER (WHERE item.status = 'skipped') AS skipped
    FROM reliable_imports.import_batch_items AS item
    WHERE item.batch_id = batch.id
) AS counted;
