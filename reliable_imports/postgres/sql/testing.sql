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
