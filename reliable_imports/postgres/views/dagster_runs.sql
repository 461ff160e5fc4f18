CREATE OR REPLACE VIEW reliable_imports.dagster_runs AS
SELECT
    run.dagster_run_id,
    reliable_imports.dagster_run_status_v1(run.dagster_run_id) AS dagster_status,
    run.batch_id,
    batch.batch_type,
    batch.status AS batch_status,
    run.mode,
    run.code_version,
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
