CREATE OR REPLACE VIEW reliable_imports.hourly_throughput AS
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
