-- The items of a batch that may be tried again now, with the place of each: they are tried in the order of their places.
--
-- Those that wait for others come when nothing else of the batch is left. They come from the last to the first, then from
-- the first to the last, and so on: a chain in which each row refers to the next is done in one round then, and not in as
-- many as it has rows. round counts these; NULL for an item that waits for nobody.
CREATE OR REPLACE FUNCTION reliable_imports.due_retries_v1(the_batch bigint)
RETURNS TABLE (
    item_number  integer,
    round        integer,
    place        double precision[]
)
LANGUAGE sql STABLE AS $$
    SELECT
        retry.item_number,
        waiting.round,
        CASE
            WHEN waiting.round IS NULL THEN ARRAY[0, extract(epoch FROM retry.not_before), retry.item_number]
            WHEN pg_catalog.mod(waiting.round, 2) = 0 THEN ARRAY[1, waiting.round, -retry.item_number]
            ELSE ARRAY[1, waiting.round, retry.item_number]
        END::double precision[]
    FROM reliable_imports.import_batches AS batch
    JOIN reliable_imports.import_retries AS retry ON retry.batch_id = batch.id
    CROSS JOIN LATERAL (
        -- Not joined: just after an import its items would be taken for a few, and all be read, though no item waits.
        SELECT CASE
            WHEN retry.completed_before IS NOT NULL THEN retry.next_attempt - (
                SELECT item.earlier_attempts
                FROM reliable_imports.stored_items AS item
                WHERE item.batch_id = retry.batch_id
                    AND item.item_number = retry.item_number
            )
        END AS round
        OFFSET 0  -- looks for each item once
    ) AS waiting
    WHERE batch.id = the_batch
        AND batch.status = 'processing'
        AND retry.not_before <= pg_catalog.clock_timestamp()
        AND (
            retry.completed_before IS NULL
            OR (
                -- Looked at once, and not for each item.
                SELECT NOT EXISTS (
                    SELECT FROM reliable_imports.import_ranges AS open_range
                    WHERE open_range.batch_id = the_batch
                        AND open_range.is_open
                )
                AND NOT EXISTS (
                    SELECT FROM reliable_imports.import_retries AS other
                    WHERE other.batch_id = the_batch
                        AND other.completed_before IS NULL
                )
            )
        )
$$;
