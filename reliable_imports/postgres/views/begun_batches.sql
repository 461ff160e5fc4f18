-- Batches that were begun and have not ended, with the last run of each. The generation grows with every run.
CREATE OR REPLACE VIEW reliable_imports.begun_batches AS
SELECT
    batch.id AS batch_id,
    batch.batch_type,
    batch.first_batch_id,
    batch.metadata,
    last_run.dagster_run_id,
    last_run.ended_at,
    last_run.outcome,
    (SELECT count(*) FROM reliable_imports.import_runs AS run WHERE run.batch_id = batch.id) AS generation
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    SELECT run.dagster_run_id, run.ended_at, run.outcome
    FROM reliable_imports.import_runs AS run
    WHERE run.batch_id = batch.id
    ORDER BY run.id DESC
    LIMIT 1
) AS last_run
WHERE batch.status = 'processing';
