-- A run without an end whose heartbeat is older than this is taken for dead, by everybody who looks.
CREATE OR REPLACE FUNCTION reliable_imports.run_is_live_v1(ended_at timestamptz, heartbeat_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT ended_at IS NULL AND heartbeat_at > pg_catalog.clock_timestamp() - interval '2 minutes'
$$;
