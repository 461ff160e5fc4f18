-- Claim, write, record: each in one call, and what they rest on.

-- A run without an end whose heartbeat is older than this is taken for dead, by everybody who looks.
CREATE FUNCTION reliable_imports.run_is_live(ended_at timestamptz, heartbeat_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT ended_at IS NULL AND heartbeat_at > pg_catalog.clock_timestamp() - interval '2 minutes'
$$;

-- Whether the session that works for a run is still there. Behind a pooler it may outlive the run: then the heartbeat
-- tells in the end.
CREATE FUNCTION reliable_imports.run_has_session(run reliable_imports.import_runs) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT reliable_imports.run_is_live(NULL, run.heartbeat_at)
        AND EXISTS (
            SELECT FROM pg_catalog.pg_stat_activity AS session
            WHERE session.pid = run.backend_pid
                -- A role that may not see when sessions of others began takes them for the same.
                AND coalesce(session.backend_start = run.backend_start, true)
        )
$$;

-- The range is locked by this transaction and by nothing else: if the worker dies, it is free at once. Items never
-- change, so those that this worker has read already (up to have_until) are not read again.
--
-- A range is suspect if a run that has no end was about to work on it, or did, and is gone: one of its items may have
-- killed it. If such a run is still there, the range is shared: that run may be preparing the range's items, or be
-- between two chunks, or have died this moment. has_elder tells whether one of those is older than the run that claims,
-- and is_announced whether this run has announced the range itself.
--
-- The first row tells of the claim (transaction, range, where it stands, is_suspect, is_shared, has_elder, is_announced),
-- the others are the items; there are none for a range that is suspect or shared, unless it is to be taken anyway. A
-- function, so that its plans are made once in a session.
CREATE FUNCTION reliable_imports.claim_chunk(
    the_batch   bigint,
    the_run     bigint,
    from_range  integer,
    have_range  integer,
    have_until  bigint,
    max_items   integer,
    max_bytes   bigint,
    take_anyway boolean
)
RETURNS TABLE (
    claim               bigint[],
    item_number         bigint,
    source_data         text,
    source_raw          bytea,
    read_problem        text,
    read_problem_kind   text,
    source_line         bigint,
    source_offset       bigint,
    earlier_attempts    integer,
    origin_batch_id     bigint,
    origin_item_number  bigint,
    attempt             integer,
    duplicate_of        bigint,
    fails               boolean,
    tries_last          boolean
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    claimed         record;
    announced       record;
    from_item       bigint;
    last_item       bigint;
    has_duplicates  boolean;
BEGIN
    SELECT open_range.range_number, open_range.next_item, open_range.last_item
    INTO claimed
    FROM reliable_imports.import_ranges AS open_range
    WHERE open_range.batch_id = the_batch
        AND open_range.is_open
        AND open_range.range_number >= from_range
        AND EXISTS (
            SELECT FROM reliable_imports.import_batches AS batch
            WHERE batch.id = the_batch
                AND batch.status = 'processing'
        )
    ORDER BY open_range.range_number
    LIMIT 1
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    SELECT
        coalesce(pg_catalog.bool_or(NOT lives), false) OR EXISTS (
            SELECT FROM reliable_imports.import_suspects AS suspect
            WHERE suspect.batch_id = the_batch
                AND suspect.range_number = claimed.range_number
        ) AS is_suspect,
        coalesce(pg_catalog.bool_or(lives), false) AND claimed.range_number <> have_range AS is_shared,
        coalesce(pg_catalog.bool_or(lives AND id < the_run), false) AS has_elder,
        coalesce(pg_catalog.bool_or(id = the_run), false) AS is_announced
    INTO announced
    FROM (
        SELECT run.id, CASE WHEN run.id <> the_run THEN reliable_imports.run_has_session(run) END AS lives
        FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = the_batch
            AND run.range_number = claimed.range_number
            AND run.ended_at IS NULL
        OFFSET 0  -- looks for each session once
    ) AS run;
    RETURN QUERY
    SELECT
        ARRAY[
            pg_catalog.txid_current(),
            claimed.range_number,
            claimed.next_item,
            announced.is_suspect::integer,
            announced.is_shared::integer,
            announced.has_elder::integer,
            announced.is_announced::integer
        ],
        NULL::bigint, NULL::text, NULL::bytea, NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::integer,
        NULL::bigint, NULL::bigint, NULL::integer, NULL::bigint, NULL::boolean, false;
    IF NOT take_anyway AND (announced.is_suspect OR announced.is_shared) THEN
        RETURN;
    END IF;

    from_item := claimed.next_item;
    last_item := least(claimed.last_item, claimed.next_item + max_items - 1);
    IF claimed.range_number = have_range THEN
        from_item := greatest(claimed.next_item, have_until + 1);
        last_item := least(claimed.last_item, from_item + max_items - 1);
    END IF;
    -- Summed first, for a running sum costs as much as reading the items.
    IF (
        SELECT sum(coalesce(
            pg_catalog.pg_column_size(stored.source_data), pg_catalog.pg_column_size(stored.source_raw)
        ))
        FROM reliable_imports.import_items AS stored
        WHERE stored.batch_id = the_batch
            AND stored.item_number BETWEEN from_item AND last_item
    ) > max_bytes THEN
        SELECT max(sized.item_number)
        INTO last_item
        FROM (
            SELECT
                stored.item_number,
                sum(coalesce(
                    pg_catalog.pg_column_size(stored.source_data), pg_catalog.pg_column_size(stored.source_raw)
                )) OVER (
                    ORDER BY stored.item_number
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM reliable_imports.import_items AS stored
            WHERE stored.batch_id = the_batch
                AND stored.item_number BETWEEN from_item AND last_item
        ) AS sized
        WHERE coalesce(sized.bytes_before, 0) < max_bytes;
    END IF;

    has_duplicates := EXISTS (SELECT FROM reliable_imports.import_duplicates AS any_of WHERE any_of.batch_id = the_batch);
    RETURN QUERY
    SELECT
        NULL::bigint[],
        stored.item_number,
        stored.source_data::text,
        stored.source_raw,
        stored.read_problem,
        stored.read_problem_kind,
        stored.source_line,
        stored.source_offset,
        stored.earlier_attempts,
        stored.origin_batch_id,
        stored.origin_item_number,
        stored.earlier_attempts + 1,
        duplicate.duplicate_of,
        duplicate.fails,
        false
    FROM reliable_imports.import_items AS stored
    LEFT JOIN reliable_imports.import_duplicates AS duplicate
        ON has_duplicates
        AND duplicate.batch_id = the_batch
        AND duplicate.item_number = stored.item_number
    WHERE stored.batch_id = the_batch
        AND stored.item_number BETWEEN from_item AND last_item
    ORDER BY stored.item_number;
END
$$;

-- Whose fault an error is, as far as its SQLSTATE tells: 'item', 'transaction' (two of them met) or 'infrastructure'
-- (the server, the network or the disk). The module faults.py holds the same table for what is sorted in the client.
CREATE FUNCTION reliable_imports.fault_of(of_sqlstate text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN of_sqlstate IN ('40001', '40P01', '55P03') THEN 'transaction'
        WHEN of_sqlstate IN ('57P01', '57P02', '57P03', '57P04', '57P05', '25P03', '25P04') THEN 'infrastructure'
        WHEN pg_catalog.substr(of_sqlstate, 1, 2) IN ('08', '53', '58', 'XX') THEN 'infrastructure'
        ELSE 'item'
    END
$$;

-- Repeats what completed items have sent, after their savepoint was rolled back because of another item. Each statement
-- must touch as many rows as the first time, for that is what its item was told.
CREATE FUNCTION reliable_imports.repeat_statements(statements text[], counts bigint[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    touched  bigint;
BEGIN
    FOR number IN 1 .. pg_catalog.cardinality(statements) LOOP
        EXECUTE statements[number];
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> counts[number] THEN
            RAISE EXCEPTION 'a repeated statement touched % rows, and % before', touched, counts[number]
                USING ERRCODE = 'RI001';
        END IF;
    END LOOP;
END
$$;

-- Writes down what a chunk did, in the chunk's own transaction: attempts, logs, reasons, retries, the range's progress,
-- the run's heartbeat. Every count must be what the chunk says, else all of it is undone.
CREATE FUNCTION reliable_imports.record_chunk(
    chunk_batch     bigint,
    chunk_run       bigint,
    transaction_id  bigint,
    chunk_range     integer,
    first_item      bigint,    -- where the range stood
    new_next_item   bigint,    -- where it stands now
    retried         bigint[],  -- instead: items whose range has moved on without them
    completed_n     integer,
    failed_n        integer,
    skipped_n       integer,
    -- Of each completed item: number, attempt, and its result as JSON.
    numbers         bigint[],
    tries           integer[],
    results         text[],
    skips           json,
    failures        json,
    reasons         json,
    retries         json,
    logs            json,
    -- The rows that completed items have written, in the order in which they did.
    key_items       bigint[],
    row_keys        bigint[]
)
RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    stored      integer;
    first_keys  bigint[] := record_chunk.row_keys;
BEGIN
    IF pg_catalog.txid_current() <> transaction_id THEN
        RAISE EXCEPTION 'the transaction of the chunk was ended by one of its items' USING ERRCODE = 'RI001';
    END IF;

    IF record_chunk.reasons IS NOT NULL THEN
        INSERT INTO reliable_imports.import_failure_reasons (
            fingerprint, batch_type, stage, error_type, sqlstate, constraint_name, field, heading
        )
        SELECT new.fingerprint, new.batch_type, new.stage, new.error_type, new.sqlstate, new.constraint_name, new.field, new.heading
        FROM pg_catalog.json_populate_recordset(NULL::reliable_imports.import_failure_reasons, record_chunk.reasons) AS new
        ORDER BY new.fingerprint
        ON CONFLICT (fingerprint) DO UPDATE SET last_seen = pg_catalog.clock_timestamp();
    END IF;

    IF key_items <> numbers THEN
        -- Most often each item has written one row, and nothing is to be put in order.
        first_keys := ARRAY(
            SELECT first_key.row_key
            FROM pg_catalog.unnest(numbers) WITH ORDINALITY AS completed (item_number, place)
            LEFT JOIN (
                SELECT DISTINCT ON (item_number) item_number, row_key
                FROM ROWS FROM (
                    pg_catalog.unnest(key_items), pg_catalog.unnest(record_chunk.row_keys)
                ) WITH ORDINALITY AS written (item_number, row_key, place)
                WHERE row_key IS NOT NULL
                ORDER BY item_number, place
            ) AS first_key ON first_key.item_number = completed.item_number
            ORDER BY completed.place
        );
    END IF;
    INSERT INTO reliable_imports.import_attempts (
        batch_id, item_number, attempt, run_id, outcome, is_final, row_key, result
    )
    SELECT
        chunk_batch, completed.item_number, completed.attempt, chunk_run, 'completed', true, completed.row_key,
        completed.result::json
    FROM (
        SELECT
            pg_catalog.unnest(numbers) AS item_number,
            pg_catalog.unnest(tries) AS attempt,
            pg_catalog.unnest(first_keys) AS row_key,
            pg_catalog.unnest(results) AS result
    ) AS completed;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored <> completed_n THEN
        RAISE EXCEPTION '% completed items sent, % stored', completed_n, stored USING ERRCODE = 'RI001';
    END IF;
    IF pg_catalog.cardinality(key_items) > completed_n THEN
        INSERT INTO reliable_imports.import_row_keys (row_key, batch_id, item_number)
        SELECT DISTINCT numbered.row_key, chunk_batch, numbered.item_number
        FROM (
            SELECT
                written.item_number,
                written.row_key,
                row_number() OVER (PARTITION BY written.item_number ORDER BY written.place) AS number
            FROM ROWS FROM (
                pg_catalog.unnest(key_items), pg_catalog.unnest(record_chunk.row_keys)
            ) WITH ORDINALITY AS written (item_number, row_key, place)
            WHERE written.row_key IS NOT NULL
        ) AS numbered
        WHERE numbered.number > 1;
    END IF;

    stored := 0;
    IF record_chunk.skips IS NOT NULL THEN
        INSERT INTO reliable_imports.import_attempts (
            batch_id, item_number, attempt, run_id, outcome, is_final, skip_reason
        )
        SELECT
            chunk_batch, skip.item_number, skip.attempt, chunk_run, 'skipped', true, skip.skip_reason
        FROM pg_catalog.json_to_recordset(record_chunk.skips) AS skip (
            item_number bigint, attempt integer, skip_reason text
        );
        GET DIAGNOSTICS stored = ROW_COUNT;
    END IF;
    IF stored <> skipped_n THEN
        RAISE EXCEPTION '% skipped items sent, % stored', skipped_n, stored USING ERRCODE = 'RI001';
    END IF;

    IF record_chunk.failures IS NOT NULL THEN
        INSERT INTO reliable_imports.import_attempts (
            batch_id, item_number, attempt, run_id, outcome, is_final, stage, error_type, sqlstate,
            constraint_name, field, message, detail, missing_key, traceback, reason, retryable, retry_after
        )
        SELECT
            chunk_batch, failure.item_number, failure.attempt, chunk_run, 'failed', failure.is_final,
            failure.stage, failure.error_type, failure.sqlstate, failure.constraint_name,
            failure.field, failure.message, failure.detail, failure.missing_key, failure.traceback, failure.reason,
            failure.retryable, failure.retry_after
        FROM pg_catalog.json_populate_recordset(NULL::reliable_imports.import_attempts, record_chunk.failures) AS failure;
        GET DIAGNOSTICS stored = ROW_COUNT;
        IF stored <> pg_catalog.json_array_length(record_chunk.failures) THEN
            RAISE EXCEPTION 'failures were sent that were not stored' USING ERRCODE = 'RI001';
        END IF;
    END IF;

    IF record_chunk.logs IS NOT NULL THEN
        INSERT INTO reliable_imports.import_logs (batch_id, item_number, run_id, level, message, details)
        SELECT chunk_batch, line.item_number, chunk_run, line.level, line.message, line.details
        FROM pg_catalog.json_to_recordset(record_chunk.logs) AS line (
            item_number bigint, level text, message text, details jsonb
        );
    END IF;

    IF retried IS NOT NULL THEN
        -- Items whose range has moved on; what became of them is counted apart, in range 0.
        DELETE FROM reliable_imports.import_retries AS retry
        WHERE retry.batch_id = chunk_batch
            AND retry.item_number = ANY (retried);
        GET DIAGNOSTICS stored = ROW_COUNT;
        IF stored <> pg_catalog.cardinality(retried) THEN
            RAISE EXCEPTION 'retried items were taken by somebody else' USING ERRCODE = 'RI001';
        END IF;
        INSERT INTO reliable_imports.import_ranges AS apart (
            batch_id, range_number, next_item, last_item, is_open, completed, failed, skipped
        )
        VALUES (chunk_batch, 0, 1, 0, false, completed_n, failed_n, skipped_n)
        ON CONFLICT (batch_id, range_number) DO UPDATE
        SET completed = apart.completed + excluded.completed,
            failed = apart.failed + excluded.failed,
            skipped = apart.skipped + excluded.skipped;
    ELSE
        -- The guard names the item where this chunk began: of two workers, one would move no row.
        UPDATE reliable_imports.import_ranges AS claimed
        SET next_item = new_next_item,
            is_open = new_next_item <= claimed.last_item,
            completed = claimed.completed + completed_n,
            failed = claimed.failed + failed_n,
            skipped = claimed.skipped + skipped_n
        WHERE claimed.batch_id = chunk_batch
            AND claimed.range_number = chunk_range
            AND claimed.is_open
            AND claimed.next_item = record_chunk.first_item;
        GET DIAGNOSTICS stored = ROW_COUNT;
        IF stored <> 1 THEN
            RAISE EXCEPTION 'range % of batch % moved under a lock', chunk_range, chunk_batch USING ERRCODE = 'RI001';
        END IF;
    END IF;

    IF record_chunk.retries IS NOT NULL THEN
        INSERT INTO reliable_imports.import_retries (batch_id, item_number, next_attempt, not_before, completed_before)
        SELECT
            chunk_batch,
            retry.item_number,
            retry.next_attempt,
            pg_catalog.clock_timestamp() + retry.pause,
            CASE
                WHEN retry.waits_for_others THEN (
                    -- Before this chunk: what it has completed itself may be what the item waits for.
                    SELECT sum(counted.completed) - completed_n
                    FROM reliable_imports.import_ranges AS counted
                    WHERE counted.batch_id = chunk_batch
                )
            END
        FROM pg_catalog.json_to_recordset(record_chunk.retries) AS retry (
            item_number bigint, next_attempt integer, pause interval, waits_for_others boolean
        );
    END IF;

    -- The run lives, and goes on in this range or in the next open one; or with more items that are tried again.
    UPDATE reliable_imports.import_runs
    SET heartbeat_at = pg_catalog.clock_timestamp(),
        range_number = CASE
            WHEN retried IS NOT NULL THEN 0
            ELSE (
                SELECT min(open_range.range_number)
                FROM reliable_imports.import_ranges AS open_range
                WHERE open_range.batch_id = chunk_batch
                    AND open_range.is_open
                    AND open_range.range_number >= chunk_range
            )
        END,
        completed = completed + completed_n,
        failed = failed + failed_n,
        skipped = skipped + skipped_n
    WHERE id = chunk_run;
END
$$;
