CREATE OR REPLACE FUNCTION reliable_imports.dagster_run_status_v1(wanted text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found text;
BEGIN
    -- Dagster's storage may be elsewhere, and may come later; a view could not name what is not there.
    -- One question after the other: to ask for the table takes a right on the schema.
    IF pg_catalog.to_regnamespace('dagster') IS NULL THEN
        RETURN NULL;
    ELSIF NOT pg_catalog.has_schema_privilege('dagster', 'USAGE') THEN
        RETURN NULL;
    ELSIF pg_catalog.to_regclass('dagster.runs') IS NULL THEN
        RETURN NULL;
    ELSIF NOT pg_catalog.has_table_privilege('dagster.runs', 'SELECT') THEN
        RETURN NULL;
    END IF;
    EXECUTE 'SELECT status FROM dagster.runs WHERE run_id = $1' INTO found USING wanted;
    RETURN found;
END
$$;
