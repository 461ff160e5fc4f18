-- Raises if the table was altered since a plan for it was made. A statement that writes to the table has locked it.
CREATE OR REPLACE FUNCTION reliable_imports.require_version_v1(table_name text, version text)
RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF reliable_imports.target_version_v1(table_name) IS DISTINCT FROM version THEN
        RAISE EXCEPTION 'table % was altered', table_name USING ERRCODE = 'RI002';
    END IF;
    RETURN true;
END
$$;
