-- Writes rows of one kind as one statement, which leaves out those that will likely be refused. If the server refuses the
-- statement, or there is none, all rows are left. Rows that are left stand in a setting afterwards, for `write_left_rows`;
-- another setting tells what it would tell if none is left, and is empty if the statement was not taken.
--
-- Rows of repeated items are guarded: if an item that was delivered later has written one of them, the statement is undone,
-- and all rows are left.
--
-- A function, so that the server reads the texts once, and keeps no error in its log that is expected. What is not a
-- row's own fault is raised again.
CREATE OR REPLACE FUNCTION reliable_imports.write_as_one_v1(
    statement       text,
    all_rows        text,    -- a query of all rows as one text
    columns         text[],  -- the texts of each column, joined
    -- By row, for the statement and the query; NULL if no item is repeated.
    origin_batches  bigint[],
    origin_items    integer[],
    told            text,
    rows_left       text
)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    left_out  text;
    places    integer[];  -- of rows that are guarded
    row_keys  bigint[];
BEGIN
    IF statement IS NOT NULL THEN
        BEGIN
            EXECUTE statement INTO left_out, places, row_keys USING columns, origin_batches, origin_items;
            IF row_keys IS NOT NULL THEN
                -- The rows are locked now, or newly there: whatever another run has written before is committed.
                PERFORM FROM reliable_imports.newer_rows_v1(places, row_keys, origin_batches, origin_items);
                IF FOUND THEN
                    RAISE 'a later item has written one of the rows';
                END IF;
            END IF;
            PERFORM pg_catalog.set_config(told, '[true, 1, [], []]', true);
            PERFORM pg_catalog.set_config(rows_left, coalesce(left_out, ''), true);
            RETURN;
        EXCEPTION WHEN OTHERS THEN
            IF reliable_imports.fault_of_v1(SQLSTATE) <> 'item' THEN
                RAISE;
            END IF;
        END;
    END IF;
    EXECUTE all_rows INTO left_out USING columns, origin_batches, origin_items;
    PERFORM pg_catalog.set_config(told, '', true);
    PERFORM pg_catalog.set_config(rows_left, left_out, true);
END
$$;
