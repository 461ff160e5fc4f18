-- Runs one write and says what became of it: 'written', with the key of the row as it is stored if the statement
-- returns that; 'moved', if a trigger has given the row another key; what may_update has found; or 'left out', by a trigger or a rule.
CREATE OR REPLACE FUNCTION reliable_imports.run_write_v1(
    statement text, returns_key boolean, OUT verdict text, OUT row_key bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    touched   bigint;
    as_given  boolean;
BEGIN
    PERFORM pg_catalog.set_config('reliable_imports.met', '', true);
    IF returns_key THEN
        EXECUTE statement INTO row_key, as_given;
    ELSE
        EXECUTE statement;
    END IF;
    GET DIAGNOSTICS touched = ROW_COUNT;
    verdict := CASE
        WHEN touched > 0 AND NOT as_given THEN 'moved'
        WHEN touched > 0 THEN 'written'
        ELSE coalesce(nullif(pg_catalog.current_setting('reliable_imports.met', true), ''), 'left out')
    END;
END
$$;
