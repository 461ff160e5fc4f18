-- Writes rows of one kind by one statement, which leaves out those that will likely be refused. These stand in a setting
-- afterwards, for `write_left_rows`; another setting tells what that would tell if none was left. If the server refuses the
-- statement, nothing is written and nothing left, and the setting tells why: SQLSTATE, table, column and constraint.
--
-- Rows of repeated items are guarded: if an item that was delivered later has written one of them, that is such a refusal.
--
-- A function, so that the server keeps no error in its log that is expected. What is not a row's own fault is raised
-- again.
CREATE OR REPLACE FUNCTION reliable_imports.write_as_one_v1(
    statement       text,
    columns         text[],  -- the texts of each column, joined
    -- By row; NULL if no item is repeated.
    origin_batches  bigint[],
    origin_items    integer[],
    told            text,
    rows_left       text
)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    left_out           text;
    places             integer[];  -- of rows that are guarded
    row_keys           bigint[];
    failed_sqlstate    text;
    failed_table       text;
    failed_column      text;
    failed_constraint  text;
BEGIN
    EXECUTE statement INTO left_out, places, row_keys USING columns, origin_batches, origin_items;
    IF row_keys IS NOT NULL THEN
        -- The rows are locked now, or newly there: whatever another run has written before is committed.
        PERFORM FROM reliable_imports.newer_rows_v1(places, row_keys, origin_batches, origin_items);
        IF FOUND THEN
            RAISE EXCEPTION 'a later item has written one of the rows' USING ERRCODE = 'RI004';
        END IF;
    END IF;
    PERFORM pg_catalog.set_config(told, '[true, 1, [], []]', true);
    PERFORM pg_catalog.set_config(rows_left, coalesce(left_out, ''), true);
EXCEPTION WHEN OTHERS THEN
    IF reliable_imports.fault_of_v1(SQLSTATE) <> 'item' THEN
        RAISE;
    END IF;
    GET STACKED DIAGNOSTICS
        failed_sqlstate = RETURNED_SQLSTATE,
        failed_table = TABLE_NAME,
        failed_column = COLUMN_NAME,
        failed_constraint = CONSTRAINT_NAME;
    PERFORM pg_catalog.set_config(
        told,
        pg_catalog.json_build_object(
            'refused', ARRAY[failed_sqlstate, failed_table, failed_column, failed_constraint]
        )::text,
        true
    );
    PERFORM pg_catalog.set_config(rows_left, '', true);
END
$$;
