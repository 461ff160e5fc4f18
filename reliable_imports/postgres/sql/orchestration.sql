-- What an orchestrator asks, so that it can start runs where they are wanted.

-- name: unfinished_batch
SELECT max(id)
FROM reliable_imports.import_batches
WHERE batch_type = %(batch_type)s
    AND metadata ->> 'partition' = %(partition)s
    AND reprocess_of IS NULL
    AND status IN ('pending', 'processing', 'paused')

-- name: find_deliveries
SELECT id AS batch_id, idempotency_key
FROM reliable_imports.import_batches
WHERE batch_type = %(batch_type)s
    AND idempotency_key = ANY (%(idempotency_keys)s::text[])
UNION
SELECT batch_id, idempotency_key
FROM reliable_imports.import_unchanged_deliveries
WHERE batch_type = %(batch_type)s
    AND idempotency_key = ANY (%(idempotency_keys)s::text[])

-- name: waiting_batches
-- Accepted, and nobody has begun to work them. Reprocess batches are found with their lineages.
SELECT id AS batch_id, batch_type, first_batch_id, metadata, NULL::text AS dagster_run_id, 0::bigint AS generation
FROM reliable_imports.import_batches
WHERE status = 'pending'
    AND reprocess_of IS NULL
    AND created_at < pg_catalog.clock_timestamp() - %(age)s
ORDER BY id
LIMIT %(limit)s

-- name: abandoned_batches
-- The last run was lost: it did not end, and its heartbeat is old.
SELECT begun.batch_id, begun.batch_type, begun.first_batch_id, begun.metadata, begun.dagster_run_id, begun.generation
FROM reliable_imports.begun_batches AS begun
WHERE begun.ended_at IS NULL
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = begun.batch_id
            AND run.ended_at IS NULL
            AND run.heartbeat_at > pg_catalog.clock_timestamp() - %(age)s
    )
ORDER BY begun.batch_id
LIMIT %(limit)s

-- name: interrupted_batches
-- The last run was Dagster's and said that it had to stop. The newest first: those that a person has stopped stay, and
-- must not hide the others.
SELECT begun.batch_id, begun.batch_type, begun.first_batch_id, begun.metadata, begun.dagster_run_id, begun.generation
FROM reliable_imports.begun_batches AS begun
WHERE begun.outcome = 'interrupted'
    AND begun.dagster_run_id IS NOT NULL
    AND begun.ended_at < pg_catalog.clock_timestamp() - %(age)s
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = begun.batch_id
            AND reliable_imports.run_is_live_v1(run.ended_at, run.heartbeat_at)
    )
ORDER BY begun.ended_at DESC
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

-- name: lineage_activity
-- Which of these lineages somebody works now, and which of these Dagster runs have worked a batch, or still do.
SELECT
    batch.first_batch_id,
    run.dagster_run_id,
    pg_catalog.bool_or(reliable_imports.run_is_live_v1(run.ended_at, run.heartbeat_at)) AS is_live
FROM reliable_imports.import_runs AS run
JOIN reliable_imports.import_batches AS batch ON batch.id = run.batch_id
WHERE run.id IN (
    SELECT of_dagster.id
    FROM reliable_imports.import_runs AS of_dagster
    WHERE of_dagster.dagster_run_id = ANY (%(dagster_run_ids)s::text[])
    UNION
    SELECT open_run.id
    FROM reliable_imports.import_batches AS of_lineage
    JOIN reliable_imports.import_runs AS open_run ON open_run.batch_id = of_lineage.id
    WHERE of_lineage.first_batch_id = ANY (%(lineages)s::bigint[])
        AND open_run.ended_at IS NULL
)
GROUP BY batch.first_batch_id, run.dagster_run_id

-- name: resolved_references
-- The next lineages with outstanding failures of foreign keys, each with how many of those fail for want of a row that is
-- there now. Which reasons are of foreign keys is known without looking at a failure; then of each batch and reason only
-- the first failure counts. Looked at are so many lineages, and so many failures, and no more.
WITH broken AS MATERIALIZED (
    SELECT known.fingerprint, known.batch_type
    FROM reliable_imports.import_failure_reasons AS known
    WHERE known.batch_type = ANY (%(batch_types)s::text[])
        AND known.sqlstate = '23503'
), candidate AS (
    SELECT
        batch.first_batch_id,
        batch.batch_type,
        sum(coalesce(batch.failed_items, batch.total_items)) AS failures
    FROM reliable_imports.import_batches AS batch
    WHERE batch.first_batch_id > %(after)s
        AND batch.failed_items IS DISTINCT FROM 0
        AND EXISTS (
            SELECT
            FROM broken
            CROSS JOIN LATERAL (
                SELECT
                FROM reliable_imports.outstanding_failures AS outstanding
                WHERE outstanding.batch_id = batch.id
                    AND outstanding.reason = broken.fingerprint
                    AND NOT outstanding.is_ignored
                LIMIT 1
            ) AS first_failure
            WHERE broken.batch_type = batch.batch_type
        )
    GROUP BY batch.first_batch_id, batch.batch_type
    ORDER BY batch.first_batch_id
    LIMIT %(max_lineages)s
), page AS MATERIALIZED (
    SELECT counted.first_batch_id, counted.batch_type
    FROM (
        SELECT
            candidate.first_batch_id,
            candidate.batch_type,
            sum(candidate.failures) OVER (ORDER BY candidate.first_batch_id) - candidate.failures AS failures_before
        FROM candidate
    ) AS counted
    WHERE counted.failures_before < %(max_failures)s
), resolved AS (
    SELECT found.first_batch_id, count(*) AS items
    FROM reliable_imports.resolved_references_v1((SELECT array_agg(page.first_batch_id) FROM page)) AS found
    GROUP BY found.first_batch_id
)
SELECT
    page.first_batch_id,
    page.batch_type,
    coalesce(resolved.items, 0) AS items,
    reliable_imports.lineage_generation_v1(page.first_batch_id) AS generation
FROM page
LEFT JOIN resolved ON resolved.first_batch_id = page.first_batch_id
ORDER BY page.first_batch_id

-- name: permanent_failures
-- The next lineages in which something failed, each with the type of its newest batch that has outstanding failures that no
-- back-off will cure; without one if there is none. If code versions are given, of batches that were worked with another
-- code than their type has now. Looked at are so many lineages, and so many failures, and no more: of a lineage, only the first
-- that is found counts.
WITH candidate AS (
    SELECT
        batch.first_batch_id,
        sum(coalesce(batch.failed_items, batch.total_items)) AS failures
    FROM reliable_imports.import_batches AS batch
    WHERE batch.first_batch_id > %(after)s
        AND batch.batch_type = ANY (%(batch_types)s::text[])
        AND batch.failed_items IS DISTINCT FROM 0
    GROUP BY batch.first_batch_id
    ORDER BY batch.first_batch_id
    LIMIT %(max_lineages)s
), page AS (
    SELECT
        first_batch_id,
        sum(failures) OVER (ORDER BY first_batch_id) - failures AS failures_before
    FROM candidate
)
SELECT
    page.first_batch_id,
    newest.batch_type,
    CASE WHEN newest.batch_type IS NULL THEN 0 ELSE 1 END AS items,
    CASE WHEN newest.batch_type IS NULL THEN 0 ELSE reliable_imports.lineage_generation_v1(page.first_batch_id) END AS generation
FROM page
LEFT JOIN LATERAL (
    SELECT
        batch.batch_type,
        batch.finished_at
    FROM reliable_imports.import_batches AS batch
    WHERE batch.first_batch_id = page.first_batch_id
        AND (
            %(code_versions)s::jsonb IS NULL
            OR EXISTS (
                SELECT FROM reliable_imports.import_runs AS run
                WHERE run.batch_id = batch.id
                    AND run.failed > 0
                    AND run.code_version <> %(code_versions)s::jsonb ->> batch.batch_type
            )
        )
        AND EXISTS (
            SELECT
            FROM reliable_imports.outstanding_failures AS outstanding
            WHERE outstanding.batch_id = batch.id
                AND outstanding.retry_at IS NULL
                AND outstanding.reason IS NOT NULL
                AND NOT outstanding.is_ignored
                AND NOT outstanding.reasons && %(exclude_reasons)s::text[]
                AND outstanding.attempts < %(max_attempts)s
                AND outstanding.failed_at + %(backoff)s * pg_catalog.power(2, least(outstanding.attempts - 1, 20))
                    <= pg_catalog.clock_timestamp()
        )
    ORDER BY batch.id DESC
    LIMIT 1
) AS newest ON newest.finished_at IS NOT NULL
WHERE page.failures_before < %(max_failures)s
ORDER BY page.first_batch_id

-- name: claim_report
-- Of several workers of one run that find the batch ended, one tells of it.
UPDATE reliable_imports.import_batches
SET metadata = metadata || pg_catalog.jsonb_build_object('reported_by', %(dagster_run_id)s::text)
WHERE id = %(batch_id)s
    AND finished_at IS NOT NULL
    AND metadata ->> 'reported_by' IS DISTINCT FROM %(dagster_run_id)s
RETURNING id

-- name: lineages_due
-- Lineages with retryable failures whose back-off is over, or with a reprocess batch that nobody works on.
WITH due AS (
    SELECT outstanding.first_batch_id, count(*) AS items
    FROM reliable_imports.outstanding_failures AS outstanding
    JOIN reliable_imports.import_batches AS failed_in ON failed_in.id = outstanding.batch_id
    WHERE outstanding.retry_at <= pg_catalog.clock_timestamp()
        AND NOT outstanding.is_ignored
        AND NOT outstanding.reasons && %(exclude_reasons)s::text[]
        AND (failed_in.reprocess_of IS NULL OR failed_in.finished_at IS NOT NULL)
    GROUP BY outstanding.first_batch_id
), stalled AS (
    SELECT open_batch.first_batch_id, min(open_batch.id) AS batch_id
    FROM reliable_imports.import_batches AS open_batch
    WHERE open_batch.status IN ('pending', 'processing')
        AND open_batch.reprocess_of IS NOT NULL
        AND NOT open_batch.is_held
        AND open_batch.created_at < pg_catalog.clock_timestamp() - interval '2 minutes'
        AND NOT EXISTS (
            SELECT FROM reliable_imports.import_runs AS run
            WHERE run.batch_id = open_batch.id
                AND reliable_imports.run_is_live_v1(run.ended_at, run.heartbeat_at)
        )
    GROUP BY open_batch.first_batch_id
)
SELECT
    first.id AS first_batch_id,
    first.batch_type,
    coalesce(due.items, 0) AS due_items,
    stalled.batch_id AS stalled_batch_id,
    reliable_imports.lineage_generation_v1(first.id) AS generation
FROM due
FULL JOIN stalled ON stalled.first_batch_id = due.first_batch_id
JOIN reliable_imports.import_batches AS first ON first.id = coalesce(due.first_batch_id, stalled.first_batch_id)
ORDER BY first.id
LIMIT %(limit)s

-- name: failing_lineages
SELECT DISTINCT first_batch_id
FROM reliable_imports.outstanding_failures
WHERE reason IS NOT NULL
    AND (%(batch_type)s::text IS NULL OR batch_type = %(batch_type)s)
    AND (NOT %(retryable_only)s OR retryable)
ORDER BY first_batch_id

-- name: count_waiting
SELECT batch_type, count(*)
FROM reliable_imports.outstanding_failures
WHERE reason IS NOT NULL
    AND NOT is_ignored
    AND NOT retryable
    AND batch_type = ANY (%(batch_types)s::text[])
GROUP BY batch_type
ORDER BY batch_type
