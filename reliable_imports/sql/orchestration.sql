-- What an orchestrator asks, so that it can start runs where they are wanted.

-- name: unfinished_batch
SELECT max(id)
FROM reliable_imports.import_batches
WHERE batch_type = %(batch_type)s
    AND metadata ->> 'partition' = %(partition)s
    AND reprocess_of IS NULL
    AND status IN ('pending', 'processing', 'paused')

-- name: waiting_batches
-- Accepted, and nobody has begun to work them. Reprocess batches are found with their lines.
SELECT id AS batch_id, batch_type, first_batch_id, metadata, NULL::text AS dagster_run_id, 0::bigint AS generation
FROM reliable_imports.import_batches
WHERE status = 'pending'
    AND reprocess_of IS NULL
    AND created_at < pg_catalog.clock_timestamp() - %(age)s
ORDER BY id
LIMIT %(limit)s

-- name: abandoned_batches
-- Begun, and the last run of them was lost: it did not end, and its heartbeat is old. One that a person has stopped has
-- an end, and is left alone. The generation grows with every run.
SELECT
    batch.id AS batch_id,
    batch.batch_type,
    batch.first_batch_id,
    batch.metadata,
    last_run.dagster_run_id,
    (SELECT count(*) FROM reliable_imports.import_runs AS run WHERE run.batch_id = batch.id) AS generation
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    SELECT run.dagster_run_id, run.ended_at
    FROM reliable_imports.import_runs AS run
    WHERE run.batch_id = batch.id
    ORDER BY run.id DESC
    LIMIT 1
) AS last_run
WHERE batch.status = 'processing'
    AND last_run.ended_at IS NULL
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = batch.id
            AND run.ended_at IS NULL
            AND run.heartbeat_at > pg_catalog.clock_timestamp() - %(age)s
    )
ORDER BY batch.id
LIMIT %(limit)s

-- name: release_run
-- The orchestrator knows that the process is gone; its items need not wait for the heartbeat to grow old.
UPDATE reliable_imports.import_runs
SET ended_at = pg_catalog.clock_timestamp(),
    range_number = NULL,
    outcome = 'interrupted',
    error = %(error)s
WHERE dagster_run_id = %(dagster_run_id)s
    AND ended_at IS NULL
RETURNING batch_id

-- name: finished_elsewhere
-- Batches that ended without any run of Dagster's, in the order in which they ended. The newest few seconds are left
-- for the next time: one that ended earlier may still be about to commit.
SELECT batch.id AS batch_id, batch.finished_at
FROM reliable_imports.import_batches AS batch
WHERE batch.finished_at < pg_catalog.clock_timestamp() - %(age)s
    AND (%(after)s::timestamptz IS NULL OR (batch.finished_at, batch.id) > (%(after)s, %(after_id)s))
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = batch.id
            AND run.runner = 'dagster'
    )
ORDER BY batch.finished_at, batch.id
LIMIT %(limit)s

-- name: missing_references
-- Lines of a batch type with outstanding failures of foreign keys, to one table or to any.
SELECT
    outstanding.first_batch_id,
    array_agg(DISTINCT outstanding.reason ORDER BY outstanding.reason) AS reasons,
    count(*) AS items
FROM reliable_imports.outstanding_failures AS outstanding
JOIN reliable_imports.import_attempts AS failure
    ON failure.batch_id = outstanding.batch_id
    AND failure.item_number = outstanding.item_number
    AND failure.is_final
WHERE outstanding.batch_type = %(batch_type)s
    AND failure.sqlstate = '23503'
    AND failure.finished_at < %(before)s
    AND (
        %(table)s::text IS NULL
        OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS reference
            WHERE reference.conname = failure.constraint_name
                AND reference.contype = 'f'
                AND reference.confrelid = pg_catalog.to_regclass(%(table)s)
        )
    )
GROUP BY outstanding.first_batch_id
ORDER BY outstanding.first_batch_id
LIMIT %(limit)s

-- name: permanent_failures
-- Lines with outstanding failures that no back-off will cure, and who worked the newest batch with one of them.
SELECT
    failing.first_batch_id,
    batch.batch_type,
    failing.items,
    failing.attempts,
    failing.batch_id,
    (
        SELECT run.dagster_run_id
        FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = failing.batch_id
        ORDER BY run.id DESC
        LIMIT 1
    ) AS dagster_run_id
FROM (
    SELECT
        outstanding.first_batch_id,
        max(outstanding.batch_id) AS batch_id,
        count(*) AS items,
        min(outstanding.attempts) AS attempts
    FROM reliable_imports.outstanding_failures AS outstanding
    WHERE outstanding.retry_at IS NULL
        AND outstanding.reason IS NOT NULL
        AND NOT outstanding.reason = ANY (%(exclude_reasons)s::text[])
        AND outstanding.attempts < %(max_attempts)s
        AND outstanding.failed_at + %(backoff)s * pg_catalog.power(2, least(outstanding.attempts - 1, 20))
            <= pg_catalog.clock_timestamp()
        AND outstanding.batch_type = ANY (%(batch_types)s::text[])
        AND outstanding.first_batch_id > %(after)s
    GROUP BY outstanding.first_batch_id
) AS failing
JOIN reliable_imports.import_batches AS batch ON batch.id = failing.batch_id
WHERE batch.finished_at IS NOT NULL
ORDER BY failing.first_batch_id
LIMIT %(limit)s

-- name: claim_report
-- Of several workers of one run that find the batch ended, one tells of it.
UPDATE reliable_imports.import_batches
SET metadata = metadata || pg_catalog.jsonb_build_object('reported_by', %(dagster_run_id)s::text)
WHERE id = %(batch_id)s
    AND finished_at IS NOT NULL
    AND metadata ->> 'reported_by' IS DISTINCT FROM %(dagster_run_id)s
RETURNING id
