-- Whether the session that works for a run is still there. Behind a pooler it may outlive the run: then the heartbeat
-- tells in the end.
CREATE OR REPLACE FUNCTION reliable_imports.run_has_session_v1(run reliable_imports.import_runs) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT reliable_imports.run_is_live_v1(NULL, run.heartbeat_at)
        AND EXISTS (
            SELECT FROM pg_catalog.pg_stat_activity AS session
            WHERE session.pid = run.backend_pid
                -- A role that may not see when sessions of others began takes them for the same.
                AND coalesce(session.backend_start = run.backend_start, true)
        )
$$;
