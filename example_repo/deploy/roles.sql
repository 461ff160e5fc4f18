-- The roles, and who may enter the database. Run by whoever may make roles; safe to repeat.
-- Passwords are set apart, so that none stands in a file.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['imports_owner', 'imports_worker', 'imports_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I LOGIN', name);
        END IF;
        EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', pg_catalog.current_database(), name);
    END LOOP;
    -- Everybody may connect and make temporary tables unless somebody says no.
    EXECUTE pg_catalog.format('REVOKE ALL ON DATABASE %I FROM PUBLIC', pg_catalog.current_database());
    -- Makes the schemas reliable_imports, example and dagster, and owns them.
    EXECUTE pg_catalog.format('GRANT CREATE ON DATABASE %I TO imports_owner', pg_catalog.current_database());
END
$$;

-- Until PostgreSQL 14 everybody could make tables here.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
