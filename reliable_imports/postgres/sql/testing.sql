-- name: create_database
-- Databases of tests, which are thrown away.
CREATE DATABASE {name} TEMPLATE {template}

-- name: end_sessions
-- `DROP DATABASE ... WITH (FORCE)` came with PostgreSQL 13; the server waits for sessions that are about to end.
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = {text}

-- name: drop_database
DROP DATABASE IF EXISTS {name}

-- name: log_in_quickly
-- A password of thousands of rounds costs as much as all else of a connection, and tests make many. The setting came
-- with PostgreSQL 16.
SELECT pg_catalog.set_config(name, '1', true)
FROM pg_catalog.pg_settings
WHERE name = 'scram_iterations';
ALTER ROLE CURRENT_USER PASSWORD %(password)s
