-- Which failures the batches repeat that repeat any, by cause; counted when they were closed, else as it is now.
CREATE OR REPLACE VIEW reliable_imports.repeat_counts AS
SELECT batch_id, repeats_batch_id, reason, items, only_items
FROM reliable_imports.import_repeat_counts
UNION ALL
SELECT batch.id, counted.repeats_batch_id, counted.reason, counted.items, counted.only_items
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL reliable_imports.repeat_counts_v1(batch.id) AS counted
WHERE NOT batch.is_counted
    AND batch.reprocess_of IS NOT NULL;
