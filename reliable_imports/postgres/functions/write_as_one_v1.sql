-- Writes rows of one kind as one statement, which leaves out those that will likely be refused. If the server refuses the
-- statement, or there is none, all rows are left. Rows that are left stand in a setting afterwards, for `write_left_rows`;
-- another setting tells what it would tell if none is left, and is empty if the statement was not taken.
--
-- A function, so that the server reads the texts once, and keeps no error in its log that is expected. What is not a
-- row's own fault is raised again.
CREATE OR REPLACE FUNCTION reliable_imports.write_as_one_v1(
    statement  text,
    all_rows   text,    -- a query of all rows as one text
    columns    text[],  -- the texts of each column, joined
    told       text,
    rows_left  text
)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    left_out  text;
BEGIN
    IF statement IS NOT NULL THEN
        BEGIN
            EXECUTE statement INTO left_out USING columns;
            PERFORM pg_catalog.set_config(told, '[true, 1, []]', true);
            PERFORM pg_catalog.set_config(rows_left, coalesce(left_out, ''), true);
            RETURN;
        EXCEPTION WHEN OTHERS THEN
            IF reliable_imports.fault_of_v1(SQLSTATE) <> 'item' THEN
                RAISE;
            END IF;
        END;
    END IF;
    EXECUTE all_rows INTO left_out USING columns;
    PERFORM pg_catalog.set_config(told, '', true);
    PERFORM pg_catalog.set_config(rows_left, left_out, true);
END
$$;
