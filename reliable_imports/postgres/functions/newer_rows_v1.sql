-- Of several rows, the places of those that an item has written which was delivered later. Who wrote them does not matter.
CREATE OR REPLACE FUNCTION reliable_imports.newer_rows_v1(
    places          integer[],
    row_keys        bigint[],
    origin_batches  bigint[],   -- by place, as the next; NULL: nothing is newer
    origin_items    integer[]
)
RETURNS SETOF integer
LANGUAGE plpgsql VOLATILE  -- it has to see what was committed while its statement waited for a row
-- What was written a moment ago has no statistics, and is read whole then.
SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT own.place
    FROM ROWS FROM (pg_catalog.unnest(places), pg_catalog.unnest(row_keys)) AS own (place, row_key)
    CROSS JOIN LATERAL (
        SELECT attempt.batch_id, attempt.item_number
        FROM reliable_imports.import_attempts AS attempt
        WHERE attempt.row_key = own.row_key
        UNION ALL
        SELECT other.batch_id, other.item_number
        FROM reliable_imports.import_row_keys AS other
        WHERE other.row_key = own.row_key
        OFFSET 0
    ) AS writer
    CROSS JOIN LATERAL (
        SELECT written.batch_id, written.item_number, written.origin_batch_id, written.origin_item_number
        FROM reliable_imports.import_items AS written
        WHERE written.batch_id = writer.batch_id
            AND written.item_number = writer.item_number
        OFFSET 0  -- looked for by its key, whatever statistics say; so is what stands before
    ) AS item
    WHERE (coalesce(item.origin_batch_id, item.batch_id), coalesce(item.origin_item_number, item.item_number))
        > (origin_batches[own.place], origin_items[own.place]);
END
$$;
