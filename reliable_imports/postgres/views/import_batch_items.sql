CREATE OR REPLACE VIEW reliable_imports.import_batch_items AS
SELECT
    item.batch_id,
    item.item_number,
    CASE
        WHEN latest.is_final THEN latest.outcome::text
        WHEN EXISTS (
            SELECT FROM reliable_imports.import_runs AS run
            JOIN reliable_imports.import_ranges AS held
                ON held.batch_id = run.batch_id
                AND held.range_number = run.range_number
            WHERE run.batch_id = item.batch_id
                AND reliable_imports.run_is_live_v1(run.ended_at, run.heartbeat_at)
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
FROM reliable_imports.stored_items AS item
LEFT JOIN LATERAL (
    SELECT attempt.*
    FROM reliable_imports.import_attempts AS attempt
    WHERE attempt.batch_id = item.batch_id
        AND attempt.item_number = item.item_number
    ORDER BY attempt.attempt DESC
    LIMIT 1
) AS latest ON true;
