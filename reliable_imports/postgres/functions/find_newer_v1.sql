-- Has an item that was delivered later written the row of this key? Who wrote it does not matter.
CREATE OR REPLACE FUNCTION reliable_imports.find_newer_v1(
    the_key bigint, origin_batch bigint, origin_item bigint, OUT newer_batch integer, OUT newer_item integer
)
LANGUAGE sql VOLATILE AS $$  -- volatile: it has to see what was committed while its statement waited for a row
    SELECT writer.batch_id, writer.item_number
    FROM (
        SELECT attempt.batch_id, attempt.item_number
        FROM reliable_imports.import_attempts AS attempt
        WHERE attempt.row_key = the_key
        UNION ALL
        SELECT other.batch_id, other.item_number
        FROM reliable_imports.import_row_keys AS other
        WHERE other.row_key = the_key
    ) AS writer
    CROSS JOIN LATERAL (
        SELECT written.batch_id, written.item_number, written.origin_batch_id, written.origin_item_number
        FROM reliable_imports.import_items AS written
        WHERE written.batch_id = writer.batch_id
            AND written.item_number = writer.item_number
        OFFSET 0  -- looked for by its key, whatever statistics say
    ) AS item
    WHERE (coalesce(item.origin_batch_id, item.batch_id), coalesce(item.origin_item_number, item.item_number))
        > (origin_batch, origin_item)
    ORDER BY writer.batch_id DESC, writer.item_number DESC
    LIMIT 1
$$;
