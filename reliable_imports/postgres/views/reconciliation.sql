-- received = pending + processing + completed + failed + skipped, counted from the items themselves.
CREATE OR REPLACE VIEW reliable_imports.reconciliation AS
SELECT
    batch.id AS batch_id,
    batch.total_items AS received,
    counted.stored,
    counted.pending,
    counted.processing,
    counted.completed,
    counted.failed,
    counted.skipped,
    batch.total_items = counted.stored
        AND batch.total_items
        = counted.pending + counted.processing + counted.completed + counted.failed + counted.skipped
        AND coalesce(batch.completed_items, counted.completed) = counted.completed
        AND coalesce(batch.failed_items, counted.failed) = counted.failed
        AND coalesce(batch.skipped_items, counted.skipped) = counted.skipped AS balanced
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    SELECT
        count(*) AS stored,
        count(*) FILTER (WHERE item.status = 'pending') AS pending,
        count(*) FILTER (WHERE item.status = 'processing') AS processing,
        count(*) FILTER (WHERE item.status = 'completed') AS completed,
        count(*) FILTER (WHERE item.status = 'failed') AS failed,
        count(*) FILTER (WHERE item.status = 'skipped') AS skipped
    FROM reliable_imports.import_batch_items AS item
    WHERE item.batch_id = batch.id
) AS counted;
