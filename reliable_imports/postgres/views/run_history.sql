CREATE OR REPLACE VIEW reliable_imports.run_history AS
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
        WHEN reliable_imports.run_is_live_v1(run.ended_at, run.heartbeat_at) THEN 'running'
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
