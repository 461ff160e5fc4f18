-- Repeats what completed items have sent, after their savepoint was rolled back because of another item. Each statement
-- must touch as many rows as the first time, for that is what its item was told.
CREATE OR REPLACE FUNCTION reliable_imports.repeat_statements_v1(statements text[], counts bigint[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    touched  bigint;
BEGIN
    FOR number IN 1 .. pg_catalog.cardinality(statements) LOOP
        EXECUTE statements[number];
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> counts[number] THEN
            RAISE EXCEPTION 'a repeated statement touched % rows, and % before', touched, counts[number]
                USING ERRCODE = 'RI001';
        END IF;
    END LOOP;
END
$$;
