-- How often which cause was met in each batch, with the commonest values of the field at fault: as it was counted when the
-- batch was closed, else as it is now.
CREATE OR REPLACE VIEW reliable_imports.failure_counts AS
SELECT
    counted.batch_id, batch.batch_type, batch.first_batch_id, batch.reprocess_of, counted.reason, counted.items,
    counted.only_items, counted.erased_items, counted.retryable_items, counted.first_seen, counted.last_seen,
    counted.code_versions, counted.common_values
FROM reliable_imports.import_failure_counts AS counted
JOIN reliable_imports.import_batches AS batch ON batch.id = counted.batch_id
UNION ALL
SELECT
    batch.id, batch.batch_type, batch.first_batch_id, batch.reprocess_of, now.reason, now.items, now.only_items,
    now.erased_items, now.retryable_items, now.first_seen, now.last_seen, now.code_versions, now.common_values
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    WITH failed AS MATERIALIZED (
        SELECT
            failure.item_number, failure.reasons, failure.faults, failure.sqlstate, failure.retryable,
            failure.finished_at, failure.code_version,
            failure.erased_at IS NOT NULL AND NOT EXISTS (
                SELECT FROM reliable_imports.import_items AS repeat
                WHERE repeat.repeats_batch_id = failure.batch_id
                    AND repeat.repeats_item_number = failure.item_number
            ) AS is_erased
        FROM reliable_imports.import_attempts AS failure
        WHERE failure.batch_id = batch.id
            AND failure.is_final
            AND failure.outcome = 'failed'
    ), masked AS (
        -- What those who worked its lineage called sensitive.
        SELECT coalesce(pg_catalog.array_agg(DISTINCT name.field), '{}') AS fields
        FROM reliable_imports.import_batches AS of_lineage
        JOIN reliable_imports.import_runs AS run ON run.batch_id = of_lineage.id
        CROSS JOIN LATERAL pg_catalog.unnest(run.sensitive) AS name (field)
        WHERE of_lineage.first_batch_id = batch.first_batch_id
    ), counted AS (
        SELECT
            cause.reason,
            count(*) AS items,
            count(*) FILTER (WHERE pg_catalog.cardinality(failed.reasons) = 1) AS only_items,
            count(*) FILTER (WHERE failed.is_erased) AS erased_items,
            count(*) FILTER (WHERE failed.retryable) AS retryable_items,
            min(failed.finished_at) AS first_seen,
            max(failed.finished_at) AS last_seen,
            coalesce(
                pg_catalog.array_agg(DISTINCT failed.code_version) FILTER (WHERE failed.code_version IS NOT NULL), '{}'
            ) AS code_versions
        FROM failed
        CROSS JOIN LATERAL pg_catalog.unnest(failed.reasons) AS cause (reason)
        GROUP BY cause.reason
    ), faulty AS MATERIALIZED (
        SELECT failed.item_number, failed.sqlstate, fault.reason, fault.field, fault.value
        FROM failed
        CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(failed.faults) AS fault (reason text, field text, value text)
    ), told AS (
        SELECT faulty.reason, faulty.value
        FROM faulty
        WHERE faulty.value IS NOT NULL
        UNION ALL
        -- Of a fault without a value the item knows whether there is none, or it may not be told.
        SELECT
            faulty.reason,
            CASE WHEN NOT held.is_empty THEN CASE WHEN held.is_masked THEN '***' ELSE held.value END END
        FROM faulty
        CROSS JOIN LATERAL (
            SELECT stored.source_data
            FROM reliable_imports.stored_items AS stored
            WHERE stored.batch_id = batch.id
                AND stored.item_number = faulty.item_number
            OFFSET 0  -- looked for by its key, whatever statistics say
        ) AS item
        CROSS JOIN masked
        CROSS JOIN LATERAL reliable_imports.field_of_item_v1(
            item.source_data, faulty.field, faulty.sqlstate, masked.fields
        ) AS held
        WHERE faulty.value IS NULL
            AND faulty.field IS NOT NULL
            AND (held.is_empty OR held.is_masked OR held.value IS NOT NULL)
    ), valued AS (
        SELECT
            told.reason, told.value, count(*) AS items,
            row_number() OVER (PARTITION BY told.reason ORDER BY count(*) DESC, told.value) AS rank
        FROM told
        GROUP BY told.reason, told.value
    ), common AS (
        SELECT
            valued.reason,
            pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_object('value', valued.value, 'items', valued.items) ORDER BY valued.rank
            ) AS common_values
        FROM valued
        WHERE valued.rank <= 20
        GROUP BY valued.reason
    )
    SELECT
        counted.reason, counted.items, counted.only_items, counted.erased_items, counted.retryable_items,
        counted.first_seen, counted.last_seen, counted.code_versions, coalesce(common.common_values, '[]') AS common_values
    FROM counted
    LEFT JOIN common ON common.reason = counted.reason
) AS now
WHERE NOT batch.is_counted
    AND batch.status <> 'pending';
