-- Runs the declared writes of a chunk, one isolated entry after the other, and tells which failed and why.
--
-- What is not an entry's own fault (connection, transaction state, lock, resources, operator, I/O, internal) is raised
-- again: booked as a failure of the entry, a full disk would fail every item of a batch.
CREATE FUNCTION reliable_imports.apply_writes(entries text[], settle text)
RETURNS TABLE (
    entry_index        integer,
    failed_sqlstate    text,
    failed_message     text,
    failed_detail      text,
    failed_table       text,
    failed_column      text,
    failed_constraint  text
)
LANGUAGE plpgsql AS $$
BEGIN
    FOR position IN 1 .. coalesce(pg_catalog.array_length(entries, 1), 0) LOOP
        BEGIN
            EXECUTE entries[position];
            -- Deferred constraints are checked here, so that they hit the entry and not the chunk's COMMIT.
            IF settle IS NOT NULL THEN
                EXECUTE settle;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS
                failed_sqlstate = RETURNED_SQLSTATE,
                failed_message = MESSAGE_TEXT,
                failed_detail = PG_EXCEPTION_DETAIL,
                failed_table = TABLE_NAME,
                failed_column = COLUMN_NAME,
                failed_constraint = CONSTRAINT_NAME;
            IF pg_catalog.substr(failed_sqlstate, 1, 2) IN ('08', '25', '40', '53', '55', '57', '58', 'XX') THEN
                RAISE;
            END IF;
            entry_index := position - 1;
            RETURN NEXT;
        END;
    END LOOP;
END
$$;
