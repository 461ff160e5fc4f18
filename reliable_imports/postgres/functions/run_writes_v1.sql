-- Several, in order, for one item; whatever the server refuses is the item's to hear.
CREATE OR REPLACE FUNCTION reliable_imports.run_writes_v1(statements text[], return_keys boolean[])
RETURNS TABLE (verdict text, row_key bigint)
LANGUAGE sql AS $$
    SELECT done.verdict, done.row_key
    FROM ROWS FROM (pg_catalog.unnest(statements), pg_catalog.unnest(return_keys)) WITH ORDINALITY AS write (statement, returns_key, place)
    CROSS JOIN LATERAL reliable_imports.run_write_v1(write.statement, write.returns_key) AS done
    ORDER BY write.place
$$;
