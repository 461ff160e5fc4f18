-- Batches that were begun and that nobody works on any more.
CREATE OR REPLACE VIEW reliable_imports.stalled_batches AS
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
            AND reliable_imports.run_is_live_v1(run.ended_at, run.heartbeat_at)
    );
