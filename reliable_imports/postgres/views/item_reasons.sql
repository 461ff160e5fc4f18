-- Each cause of each failed item; an item with several has as many rows.
CREATE OR REPLACE VIEW reliable_imports.item_reasons AS
SELECT failure.batch_id, failure.item_number, cause.reason
FROM reliable_imports.import_attempts AS failure
CROSS JOIN LATERAL pg_catalog.unnest(failure.reasons) AS cause (reason)
WHERE failure.is_final
    AND failure.outcome = 'failed';
