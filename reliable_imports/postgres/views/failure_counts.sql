-- How often which cause was met in each batch: as it was counted when the batch was closed, else as it is now.
CREATE OR REPLACE VIEW reliable_imports.failure_counts AS
SELECT
    counted.batch_id, batch.batch_type, batch.first_batch_id, batch.reprocess_of, counted.reason, counted.items,
    counted.only_items, counted.erased_items, counted.retryable_items, counted.first_seen, counted.last_seen, counted.code_versions,
    counted.common_values
FROM reliable_imports.import_failure_counts AS counted
JOIN reliable_imports.import_batches AS batch ON batch.id = counted.batch_id
UNION ALL
SELECT
    batch.id, batch.batch_type, batch.first_batch_id, batch.reprocess_of, counted.reason, counted.items,
    counted.only_items, counted.erased_items, counted.retryable_items, counted.first_seen, counted.last_seen, counted.code_versions,
    counted.common_values
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL reliable_imports.failure_counts_v1(batch.id) AS counted
WHERE NOT batch.is_counted
    AND batch.status <> 'pending';
