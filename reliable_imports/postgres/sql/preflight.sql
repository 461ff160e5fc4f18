-- What is asked before an import. Nothing here changes anything.

-- name: server
-- `pg_catalog` in full, for a role may have a search_path of its own.
SELECT
    pg_catalog.current_database(),
    pg_catalog.current_setting('server_version'),
    pg_catalog.current_setting('server_version_num')::integer,
    pg_catalog.pg_encoding_to_char(database.encoding),
    pg_catalog.pg_is_in_recovery() OR pg_catalog.current_setting('default_transaction_read_only')::boolean,
    EXTRACT(EPOCH FROM pg_catalog.clock_timestamp())::double precision,
    pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
FROM pg_catalog.pg_database AS database
WHERE database.datname = pg_catalog.current_database()

-- name: rights_on_schema
-- What the role lacks of what a run needs on the tables of the schema.
SELECT tables.relname, needed.privilege
FROM pg_catalog.pg_class AS tables
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS needed (privilege)
WHERE tables.relnamespace = pg_catalog.to_regnamespace('reliable_imports')
    AND tables.relkind IN ('r', 'p')
    AND tables.relname LIKE 'import\_%%'
    AND NOT pg_catalog.has_table_privilege(tables.oid, needed.privilege)
ORDER BY tables.relname, needed.privilege

-- name: stalled_batches
SELECT batch_id, batch_type, open_items
FROM reliable_imports.stalled_batches
WHERE %(batch_type)s::text IS NULL OR batch_type = %(batch_type)s
ORDER BY batch_id

-- name: paused_batches
SELECT id, batch_type
FROM reliable_imports.import_batches
WHERE status = 'paused'
    AND (%(batch_type)s::text IS NULL OR batch_type = %(batch_type)s)
ORDER BY id

-- name: rights_on_table
-- What the role lacks of what a run needs on a target.
SELECT needed.privilege
FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS needed (privilege)
WHERE NOT pg_catalog.has_any_column_privilege(pg_catalog.to_regclass(%(table)s)::pg_catalog.oid, needed.privilege)

-- name: has_dagster
SELECT
    pg_catalog.to_regclass('dagster.instigators') IS NOT NULL,
    pg_catalog.to_regclass('dagster.daemon_heartbeats') IS NOT NULL

-- name: stopped_sensors
-- Sensors that somebody has switched off; what was never switched is not in the table.
SELECT instigator_body
FROM dagster.instigators
WHERE instigator_type = 'SENSOR'
    AND status = 'STOPPED'

-- name: daemon_silence
-- Seconds since the sensor daemon was last heard of; none if it never was.
SELECT EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() AT TIME ZONE 'UTC' - max(timestamp))::double precision
FROM dagster.daemon_heartbeats
WHERE daemon_type = 'SENSOR'
