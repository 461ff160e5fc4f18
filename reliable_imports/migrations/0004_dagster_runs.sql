-- Batches with what Dagster says of their runs, where Dagster's storage is in this database, in the schema `dagster`.

CREATE FUNCTION reliable_imports.dagster_run_status(wanted text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found text;
BEGIN
    -- Dagster's storage may be elsewhere, and may come later; a view could not name what is not there.
    -- One question after the other: to ask for the table takes a right on the schema.
    IF pg_catalog.to_regnamespace('dagster') IS NULL THEN
        RETURN NULL;
    ELSIF NOT pg_catalog.has_schema_privilege('dagster', 'USAGE') THEN
        RETURN NULL;
    ELSIF pg_catalog.to_regclass('dagster.runs') IS NULL THEN
        RETURN NULL;
    ELSIF NOT pg_catalog.has_table_privilege('dagster.runs', 'SELECT') THEN
        RETURN NULL;
    END IF;
    EXECUTE 'SELECT status FROM dagster.runs WHERE run_id = $1' INTO found USING wanted;
    RETURN found;
END
$$;

CREATE VIEW reliable_imports.dagster_runs AS
SELECT
    run.dagster_run_id,
    reliable_imports.dagster_run_status(run.dagster_run_id) AS dagster_status,
    run.batch_id,
    batch.batch_type,
    batch.status AS batch_status,
    run.mode,
    run.completed,
    run.failed,
    run.skipped,
    run.started_at,
    run.heartbeat_at,
    run.ended_at,
    run.outcome
FROM reliable_imports.import_runs AS run
JOIN reliable_imports.import_batches AS batch ON batch.id = run.batch_id
WHERE run.runner = 'dagster';

-- Batches that were begun and have not ended, with the last run of each. The generation grows with every run.
CREATE VIEW reliable_imports.begun_batches AS
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
