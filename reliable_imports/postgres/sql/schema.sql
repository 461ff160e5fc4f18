-- Bringing the schema up to date, and telling how far it is.

-- name: applied
-- Everything that was applied and is still there, with the release that it says it needs or came from.
SELECT migration.number, migration.name, NULL AS checksum, migration.needs_release AS release
FROM reliable_imports.migrations AS migration
UNION ALL
SELECT NULL, definition.name, definition.checksum, definition.release
FROM reliable_imports.definitions AS definition
WHERE EXISTS (
        SELECT FROM pg_catalog.pg_proc AS function
        WHERE function.proname = definition.name
            AND function.pronamespace = 'reliable_imports'::pg_catalog.regnamespace
    )
    OR EXISTS (
        SELECT FROM pg_catalog.pg_class AS class
        WHERE class.relname = definition.name
            AND class.relnamespace = 'reliable_imports'::pg_catalog.regnamespace
            AND class.relkind = 'v'
    )

-- name: encoding
SELECT pg_catalog.current_database(), pg_catalog.current_setting('server_encoding')

-- name: take_turn
-- A change of a table that is in use is given up after two seconds, so that nobody queues behind it for longer.
SET LOCAL lock_timeout = '2s';
SELECT pg_catalog.pg_try_advisory_xact_lock(%(lock)s)

-- name: make_bookkeeping
CREATE SCHEMA IF NOT EXISTS reliable_imports;
CREATE TABLE IF NOT EXISTS reliable_imports.migrations (
    number         integer PRIMARY KEY,
    name           text NOT NULL,
    -- The oldest release of the program that can work with the tables as they are from here on.
    needs_release  text,
    applied_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
-- Functions and views: the text that made them, and the release of the program that brought it.
CREATE TABLE IF NOT EXISTS reliable_imports.definitions (
    name        name PRIMARY KEY,
    checksum    text NOT NULL,
    release     text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
)

-- name: note_migration
INSERT INTO reliable_imports.migrations (number, name, needs_release)
VALUES (%(number)s, %(name)s, %(needs_release)s)

-- name: note_definition
INSERT INTO reliable_imports.definitions (name, checksum, release)
VALUES (%(name)s, %(checksum)s, %(release)s)
ON CONFLICT (name) DO UPDATE
SET checksum = excluded.checksum,
    release = excluded.release,
    applied_at = CASE
        WHEN definitions.checksum = excluded.checksum THEN definitions.applied_at
        ELSE excluded.applied_at
    END

-- name: rights_on_views
-- Whose the views are and what others may do with them, as statements that make it so again.
SELECT view.relname, view.oid::bigint, said.column_name, said.statement
FROM pg_catalog.pg_class AS view
CROSS JOIN LATERAL (
    SELECT
        0 AS place,
        NULL::name AS column_name,
        pg_catalog.format(
            'ALTER VIEW reliable_imports.%I OWNER TO %I', view.relname, pg_catalog.pg_get_userbyid(view.relowner)
        ) AS statement
    UNION ALL
    SELECT
        1,
        granted.column_name,
        pg_catalog.format(
            'GRANT %s%s ON reliable_imports.%I TO %s%s',
            granted.privilege,
            ' (' || pg_catalog.quote_ident(granted.column_name) || ')',
            view.relname,
            CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(granted.grantee)) END,
            CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' END
        )
    FROM (
        SELECT NULL::name AS column_name, whole.privilege_type AS privilege, whole.grantee, whole.is_grantable
        FROM pg_catalog.aclexplode(view.relacl) AS whole
        UNION ALL
        SELECT of_column.attname, part.privilege_type, part.grantee, part.is_grantable
        FROM pg_catalog.pg_attribute AS of_column
        CROSS JOIN LATERAL pg_catalog.aclexplode(of_column.attacl) AS part
        WHERE of_column.attrelid = view.oid
            AND of_column.attnum > 0
    ) AS granted
) AS said
WHERE view.relnamespace = 'reliable_imports'::pg_catalog.regnamespace
    AND view.relkind = 'v'
ORDER BY view.relname, said.place

-- name: columns_of_views
SELECT view.relname, view.oid::bigint, pg_catalog.array_agg(of_column.attname::text)
FROM pg_catalog.pg_class AS view
JOIN pg_catalog.pg_attribute AS of_column
    ON of_column.attrelid = view.oid
    AND of_column.attnum > 0
WHERE view.relnamespace = 'reliable_imports'::pg_catalog.regnamespace
    AND view.relkind = 'v'
GROUP BY view.oid

-- name: drop_views
-- Those of these that are there, whatever order they stand on each other in.
DO $$
DECLARE
    found text;
BEGIN
    SELECT pg_catalog.string_agg(view.oid::pg_catalog.regclass::text, ', ')
    INTO found
    FROM pg_catalog.pg_class AS view
    WHERE view.relnamespace = 'reliable_imports'::pg_catalog.regnamespace
        AND view.relkind = 'v'
        AND view.relname = ANY (%(names)s::name[]);
    IF found IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || found;
    END IF;
END
$$

-- name: drop_functions
DO $$
DECLARE
    found text;
BEGIN
    SELECT pg_catalog.string_agg(function.oid::pg_catalog.regprocedure::text, ', ')
    INTO found
    FROM pg_catalog.pg_proc AS function
    WHERE function.pronamespace = 'reliable_imports'::pg_catalog.regnamespace
        AND function.proname = ANY (%(names)s::name[]);
    IF found IS NOT NULL THEN
        EXECUTE 'DROP FUNCTION ' || found;
    END IF;
END
$$

-- name: forget_definitions
DELETE FROM reliable_imports.definitions
WHERE name = ANY (%(names)s::name[])
