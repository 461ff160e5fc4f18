CREATE OR REPLACE VIEW reliable_imports.batch_summaries AS
SELECT
    batch.id AS batch_id,
    batch.batch_type,
    batch.status,
    batch.source,
    batch.reprocess_of,
    batch.first_batch_id,
    batch.requested_by,
    batch.note,
    batch.total_items,
    coalesce(batch.completed_items, counted.completed, 0)::bigint AS completed_items,
    coalesce(batch.failed_items, counted.failed, 0)::bigint AS failed_items,
    coalesce(batch.skipped_items, counted.skipped, 0)::bigint AS skipped_items,
    (
        batch.total_items
        - coalesce(batch.completed_items, counted.completed, 0)
        - coalesce(batch.failed_items, counted.failed, 0)
        - coalesce(batch.skipped_items, counted.skipped, 0)
    )::bigint AS open_items,
    batch.created_at,
    batch.started_at,
    batch.finished_at,
    batch.pause_reason,
    batch.warnings,
    batch.erased_items
FROM reliable_imports.import_batches AS batch
LEFT JOIN LATERAL (
    SELECT
        sum(counts.completed) AS completed,
        sum(counts.failed) AS failed,
        sum(counts.skipped) AS skipped
    FROM reliable_imports.import_ranges AS counts
    WHERE counts.batch_id = batch.id
        AND batch.completed_items IS NULL
) AS counted ON true;
