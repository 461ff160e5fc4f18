-- The failures of one batch for one cause, and what became of them.
CREATE OR REPLACE VIEW reliable_imports.failure_groups AS
SELECT
    failed.batch_id, failed.batch_type, failed.first_batch_id, failed.reprocess_of, failed.reason, failed.items,
    failed.only_items, failed.erased_items, failed.retryable_items, failed.first_seen, failed.last_seen, failed.code_versions,
    failed.common_values,
    (failed.items - failed.erased_items - coalesce(repeated.items, 0))::bigint AS outstanding,
    greatest(0, failed.only_items - failed.erased_items - coalesce(repeated.only_items, 0))::bigint AS outstanding_only,
    -- Of those that are repeated: in a batch that has not ended.
    coalesce(repeated.waiting, 0)::bigint AS waiting,
    -- When the last of them had been repeated.
    CASE WHEN failed.items = repeated.items + failed.erased_items THEN repeated.ended_at ELSE 'infinity' END AS repeated_at
FROM reliable_imports.failure_counts AS failed
LEFT JOIN (
    SELECT
        repeats.repeats_batch_id AS batch_id,
        repeats.reason,
        sum(repeats.items) AS items,
        sum(repeats.only_items) AS only_items,
        sum(repeats.items) FILTER (WHERE batch.finished_at IS NULL) AS waiting,
        max(coalesce(batch.finished_at, 'infinity')) AS ended_at
    FROM reliable_imports.repeat_counts AS repeats
    JOIN reliable_imports.import_batches AS batch ON batch.id = repeats.batch_id
    GROUP BY repeats.repeats_batch_id, repeats.reason
) AS repeated
    ON repeated.batch_id = failed.batch_id
    AND repeated.reason = failed.reason;
