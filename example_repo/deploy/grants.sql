-- What the worker and the reader may do: all of it, after every migration. Run by the owner; safe to repeat.

REVOKE ALL ON ALL TABLES IN SCHEMA reliable_imports, example, dagster FROM imports_worker, imports_reader;

-- The worker creates batches, processes them, and tells how they stand. It cannot change what was recorded.
GRANT USAGE ON SCHEMA reliable_imports TO imports_worker;
GRANT SELECT ON ALL TABLES IN SCHEMA reliable_imports TO imports_worker;
GRANT INSERT ON
    reliable_imports.import_batches,
    reliable_imports.import_items,
    reliable_imports.import_unchanged_deliveries,
    reliable_imports.import_attempts,
    reliable_imports.import_row_keys,
    reliable_imports.import_ranges,
    reliable_imports.import_retries,
    reliable_imports.import_suspects,
    reliable_imports.import_duplicates,
    reliable_imports.import_runs,
    reliable_imports.import_logs,
    reliable_imports.import_failure_reasons,
    reliable_imports.import_failure_counts,
    reliable_imports.import_repeat_counts,
    reliable_imports.import_reason_notes
TO imports_worker;
GRANT UPDATE ON
    reliable_imports.import_batches,
    reliable_imports.import_ranges,
    reliable_imports.import_runs
TO imports_worker;
GRANT UPDATE (last_seen, title, continues) ON reliable_imports.import_failure_reasons TO imports_worker;
-- An item that is tried again is locked by its row (FOR UPDATE, which asks for UPDATE of some column), and the row
-- goes when the item has ended.
GRANT UPDATE (not_before), DELETE ON reliable_imports.import_retries TO imports_worker;
-- Where an item killed a worker, until it is known which.
GRANT UPDATE (deaths, how), DELETE ON reliable_imports.import_suspects TO imports_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA reliable_imports TO imports_worker;

-- The targets: rows are written and read, never deleted.
GRANT USAGE ON SCHEMA example TO imports_worker;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA example TO imports_worker;

-- Dagster's storage, which its processes also clean up; its tables are the owner's all the same.
GRANT USAGE ON SCHEMA dagster TO imports_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dagster TO imports_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA dagster TO imports_worker;

-- The reader sees the views, and not the tables below them. Without rights on dagster.runs, the column dagster_status
-- of the view dagster_runs is empty.
GRANT USAGE ON SCHEMA reliable_imports TO imports_reader;
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT viewname FROM pg_catalog.pg_views WHERE schemaname = 'reliable_imports' LOOP
        EXECUTE pg_catalog.format('GRANT SELECT ON reliable_imports.%I TO imports_reader', name);
    END LOOP;
END
$$;
