-- All items of the batch have an outcome: no range is open, and no item waits for another try. Whoever acts on it holds the
-- batch's lock, and asks in a statement of its own, whose snapshot sees what the other workers have committed.
CREATE OR REPLACE FUNCTION reliable_imports.nothing_is_open_v1(the_batch bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (
        SELECT FROM reliable_imports.import_ranges AS open_range
        WHERE open_range.batch_id = the_batch
            AND open_range.is_open
    )
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_retries AS retry
        WHERE retry.batch_id = the_batch
    )
$$;
