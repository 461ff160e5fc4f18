CREATE OR REPLACE VIEW reliable_imports.failed_items AS
SELECT
    failure.batch_id,
    failure.item_number,
    batch.batch_type,
    failure.reason,
    failure.stage,
    failure.error_type,
    failure.sqlstate,
    failure.constraint_name,
    failure.field,
    failure.message AS error_message,
    failure.detail AS error_detail,
    failure.attempt AS attempts,
    failure.retryable,
    failure.finished_at + failure.retry_after AS retry_at,
    failure.finished_at AS failed_at,
    item.source_line,
    item.source_offset,
    item.source_data,
    item.source_raw,
    item.erased_at
FROM reliable_imports.import_attempts AS failure
JOIN reliable_imports.import_batches AS batch ON batch.id = failure.batch_id
JOIN reliable_imports.stored_items AS item
    ON item.batch_id = failure.batch_id
    AND item.item_number = failure.item_number
WHERE failure.is_final
    AND failure.outcome = 'failed';
