-- Outstanding failures of these lineages for want of a row that is there now. The first of an item may be repeated at once;
-- after that it rests for a minute, doubled with every try. Those of a reprocess batch that is still worked are left to it.
CREATE OR REPLACE FUNCTION reliable_imports.resolved_references_v1(lineages bigint[])
RETURNS TABLE (first_batch_id integer, batch_id integer, item_number integer)
LANGUAGE sql STABLE AS $$
    WITH missing AS MATERIALIZED (
        SELECT
            outstanding.first_batch_id, outstanding.batch_id, outstanding.item_number, outstanding.constraint_name,
            coalesce(
                outstanding.missing_key,
                -- What is sensitive stands in the item alone.
                (
                    SELECT pg_catalog.string_agg(item.source_data ->> held.field, ', ' ORDER BY held.place)
                    FROM reliable_imports.stored_items AS item
                    CROSS JOIN pg_catalog.unnest(outstanding.missing_fields) WITH ORDINALITY AS held (field, place)
                    WHERE item.batch_id = outstanding.batch_id
                        AND item.item_number = outstanding.item_number
                        AND item.source_data IS NOT NULL
                )
            ) AS missing_key
        FROM reliable_imports.outstanding_failures AS outstanding
        JOIN reliable_imports.import_batches AS failed_in ON failed_in.id = outstanding.batch_id
        WHERE outstanding.first_batch_id = ANY (lineages)
            AND (outstanding.missing_key IS NOT NULL OR outstanding.missing_fields IS NOT NULL)
            AND (failed_in.reprocess_of IS NULL OR failed_in.finished_at IS NOT NULL)
            AND (
                outstanding.attempts = 1
                OR outstanding.failed_at + interval '1 minute' * pg_catalog.power(2, least(outstanding.attempts - 2, 10))
                <= pg_catalog.clock_timestamp()
            )
    ), present AS MATERIALIZED (
        SELECT DISTINCT wanted.constraint_name, found.key
        FROM (
            SELECT missing.constraint_name, pg_catalog.array_agg(DISTINCT missing.missing_key) AS keys
            FROM missing
            GROUP BY missing.constraint_name
        ) AS wanted
        JOIN pg_catalog.pg_constraint AS con
            ON con.conname = wanted.constraint_name
            AND con.contype = 'f'
            AND con.conparentid = 0
        CROSS JOIN LATERAL reliable_imports.present_keys_v1(con.oid, wanted.keys) AS found (key)
    )
    SELECT missing.first_batch_id, missing.batch_id, missing.item_number
    FROM missing
    JOIN present
        ON present.constraint_name = missing.constraint_name
        AND present.key = missing.missing_key
$$;
