-- Batches with what Dagster says of their runs, where Dagster's storage is in this database, in the schema `dagster`.

CREATE FUNCTION reliable_imports.dagster_run_status(wanted text) RETURNS text
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

CREATE VIEW reliable_imports.dagster_runs AS
SELECT
    run.dagster_run_id,
    reliable_imports.dagster_run_status(run.dagster_run_id) AS dagster_status,
    run.batch_id,
    batch.batch_type,
    batch.status AS batch_status,
    run.mode,
    run.code_version,
    run.completed,
    run.failed,
    run.skipped,
    run.started_at,
    run.heartbeat_at,
    run.ended_at,
    run.outcome
FROM reliable_imports.import_runs AS run
JOIN reliable_imports.import_batches AS batch ON batch.id = run.batch_id
WHERE run.runner = 'dagster';

-- Batches that were begun and have not ended, with the last run of each. The generation grows with every run.
CREATE VIEW reliable_imports.begun_batches AS
SELECT
    batch.id AS batch_id,
    batch.batch_type,
    batch.first_batch_id,
    batch.metadata,
    last_run.dagster_run_id,
    last_run.ended_at,
    last_run.outcome,
    (SELECT count(*) FROM reliable_imports.import_runs AS run WHERE run.batch_id = batch.id) AS generation
FROM reliable_imports.import_batches AS batch
CROSS JOIN LATERAL (
    SELECT run.dagster_run_id, run.ended_at, run.outcome
    FROM reliable_imports.import_runs AS run
    WHERE run.batch_id = batch.id
    ORDER BY run.id DESC
    LIMIT 1
) AS last_run
WHERE batch.status = 'processing';

-- Grows with every reprocess batch and every ended or lost run of a line.
CREATE FUNCTION reliable_imports.lineage_generation(line bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT (
        SELECT count(*)
        FROM reliable_imports.import_batches AS batch
        WHERE batch.first_batch_id = line
            AND batch.reprocess_of IS NOT NULL
    ) + (
        SELECT count(*)
        FROM reliable_imports.import_batches AS batch
        JOIN reliable_imports.import_runs AS run ON run.batch_id = batch.id
        WHERE batch.first_batch_id = line
            AND NOT reliable_imports.run_is_live(run.ended_at, run.heartbeat_at)
    )
$$;

-- Which of these keys the table that a foreign key refers to holds now. What cannot be asked for is as if it were not
-- there: a table that this role may not read, a key of several columns with the separator in one of its values.
CREATE FUNCTION reliable_imports.present_keys(reference oid, keys text[]) RETURNS SETOF text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    parent   text;
    matches  text;
    width    integer;
BEGIN
    SELECT
        min(pg_catalog.format('%I.%I', space.nspname, class.relname)),
        pg_catalog.string_agg(
            pg_catalog.format(
                'parent.%I = wanted.parts[%s]::%s',
                theirs.attname, position.number, pg_catalog.format_type(ours.atttypid, NULL)
            ),
            ' AND '
        ),
        count(*)
    INTO parent, matches, width
    FROM pg_catalog.pg_constraint AS con
    JOIN pg_catalog.pg_class AS class ON class.oid = con.confrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    CROSS JOIN LATERAL pg_catalog.generate_subscripts(con.conkey, 1) AS position (number)
    JOIN pg_catalog.pg_attribute AS ours ON ours.attrelid = con.conrelid AND ours.attnum = con.conkey[position.number]
    JOIN pg_catalog.pg_attribute AS theirs
        ON theirs.attrelid = con.confrelid
        AND theirs.attnum = con.confkey[position.number]
    WHERE con.oid = reference
        AND pg_catalog.has_schema_privilege(space.oid, 'USAGE')
        AND pg_catalog.has_table_privilege(class.oid, 'SELECT');
    IF parent IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE pg_catalog.format(
        'SELECT wanted.key
        FROM (
            SELECT key, CASE WHEN %1$s = 1 THEN ARRAY[key] ELSE pg_catalog.string_to_array(key, '', '') END AS parts
            FROM pg_catalog.unnest($1) AS key
        ) AS wanted
        WHERE pg_catalog.cardinality(wanted.parts) = %1$s
            AND EXISTS (SELECT FROM %2$s AS parent WHERE %3$s)',
        width, parent, matches
    ) USING keys;
EXCEPTION
    WHEN data_exception THEN  -- the columns have other types than when the items failed
        RETURN;
END
$$;

-- Outstanding failures of these lines for want of a row that is there now. The first of an item may be repeated at once;
-- after that it rests for a minute, doubled with every try. Those of a reprocess batch that is still worked are left to it.
CREATE FUNCTION reliable_imports.resolved_references(lines bigint[])
RETURNS TABLE (first_batch_id bigint, batch_id bigint, item_number bigint)
LANGUAGE sql STABLE AS $$
    WITH missing AS MATERIALIZED (
        SELECT
            outstanding.first_batch_id, outstanding.batch_id, outstanding.item_number, outstanding.constraint_name,
            outstanding.missing_key
        FROM reliable_imports.outstanding_failures AS outstanding
        JOIN reliable_imports.import_batches AS failed_in ON failed_in.id = outstanding.batch_id
        WHERE outstanding.first_batch_id = ANY (lines)
            AND outstanding.missing_key IS NOT NULL
            AND (failed_in.reprocess_of IS NULL OR failed_in.finished_at IS NOT NULL)
            AND (
                outstanding.attempts = 1
                OR outstanding.failed_at + interval '1 minute' * pg_catalog.power(2, least(outstanding.attempts - 2, 10))
                <= pg_catalog.clock_timestamp()
            )
    ), present AS MATERIALIZED (
        SELECT DISTINCT wanted.constraint_name, found.key
        FROM (
            SELECT missing.constraint_name, pg_catalog.array_agg(DISTINCT missing.missing_key) AS keys
            FROM missing
            GROUP BY missing.constraint_name
        ) AS wanted
        JOIN pg_catalog.pg_constraint AS con
            ON con.conname = wanted.constraint_name
            AND con.contype = 'f'
            AND con.conparentid = 0
        CROSS JOIN LATERAL reliable_imports.present_keys(con.oid, wanted.keys) AS found (key)
    )
    SELECT missing.first_batch_id, missing.batch_id, missing.item_number
    FROM missing
    JOIN present
        ON present.constraint_name = missing.constraint_name
        AND present.key = missing.missing_key
$$;
