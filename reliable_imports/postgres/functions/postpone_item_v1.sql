-- Lets a range go on without the item that comes next in it, which is tried when the others are done.
CREATE OR REPLACE FUNCTION reliable_imports.postpone_item_v1(the_batch bigint, the_range integer, the_item bigint)
RETURNS void
LANGUAGE sql AS $$
    WITH moved AS (
        UPDATE reliable_imports.import_ranges
        SET next_item = next_item + 1,
            is_open = next_item < last_item
        WHERE batch_id = the_batch
            AND range_number = the_range
            AND is_open
            AND next_item = the_item
        RETURNING batch_id
    )
    INSERT INTO reliable_imports.import_retries (batch_id, item_number, next_attempt, not_before)
    SELECT item.batch_id, item.item_number, item.earlier_attempts + 1, pg_catalog.clock_timestamp()
    FROM moved
    JOIN reliable_imports.stored_items AS item
        ON item.batch_id = moved.batch_id
        AND item.item_number = the_item
$$;
