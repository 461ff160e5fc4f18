-- Writes down what a chunk did, in the chunk's own transaction: attempts, logs, reasons, retries, the range's progress,
-- the run's heartbeat. Every count must be what the chunk says, else all of it is undone.
CREATE OR REPLACE FUNCTION reliable_imports.record_chunk_v1(
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
    left_out        bigint[],  -- those of them that have not completed after all
    skips           json,
    -- Of each failure: the number of its kind, and what it does not share with others of that kind.
    failures        json,
    failure_kinds   json,
    reasons         json,
    retries         json,
    logs            json,
    -- The rows that completed items have written, in the order in which they did.
    key_items       bigint[],
    row_keys        bigint[]
)
RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    stored      integer;
    first_keys  bigint[] := record_chunk_v1.row_keys;
BEGIN
    IF pg_catalog.txid_current() <> transaction_id THEN
        RAISE EXCEPTION 'the transaction of the chunk was ended by one of its items' USING ERRCODE = 'RI001';
    END IF;

    IF left_out IS NOT NULL THEN
        SELECT
            pg_catalog.array_agg(expected.item_number),
            pg_catalog.array_agg(expected.attempt),
            pg_catalog.array_agg(expected.result)
        INTO numbers, tries, results
        FROM ROWS FROM (
            pg_catalog.unnest(numbers), pg_catalog.unnest(tries), pg_catalog.unnest(results)
        ) AS expected (item_number, attempt, result)
        WHERE expected.item_number NOT IN (SELECT pg_catalog.unnest(left_out));
    END IF;

    IF record_chunk_v1.reasons IS NOT NULL THEN
        INSERT INTO reliable_imports.import_failure_reasons (
            fingerprint, version, batch_type, stage, error_type, sqlstate, constraint_name, field, rule, title
        )
        SELECT
            new.fingerprint, new.version, new.batch_type, new.stage, new.error_type, new.sqlstate, new.constraint_name,
            new.field, new.rule, new.title
        FROM pg_catalog.json_populate_recordset(NULL::reliable_imports.import_failure_reasons, record_chunk_v1.reasons) AS new
        ORDER BY new.fingerprint
        ON CONFLICT (fingerprint) DO UPDATE SET last_seen = pg_catalog.clock_timestamp(), title = EXCLUDED.title;
    END IF;

    -- Most often each item has written one row, and nothing is to be put in order.
    IF key_items <> numbers THEN
        first_keys := ARRAY(
            SELECT first_key.row_key
            FROM pg_catalog.unnest(numbers) WITH ORDINALITY AS completed (item_number, place)
            LEFT JOIN (
                SELECT DISTINCT ON (item_number) item_number, row_key
                FROM ROWS FROM (
                    pg_catalog.unnest(key_items), pg_catalog.unnest(record_chunk_v1.row_keys)
                ) WITH ORDINALITY AS written (item_number, row_key, place)
                WHERE row_key IS NOT NULL
                ORDER BY item_number, place
            ) AS first_key ON first_key.item_number = completed.item_number
            ORDER BY completed.place
        );
        INSERT INTO reliable_imports.import_row_keys (row_key, batch_id, item_number)
        SELECT DISTINCT numbered.row_key, chunk_batch, numbered.item_number
        FROM (
            SELECT
                written.item_number,
                written.row_key,
                row_number() OVER (PARTITION BY written.item_number ORDER BY written.place) AS number
            FROM ROWS FROM (
                pg_catalog.unnest(key_items), pg_catalog.unnest(record_chunk_v1.row_keys)
            ) WITH ORDINALITY AS written (item_number, row_key, place)
            WHERE written.row_key IS NOT NULL
        ) AS numbered
        WHERE numbered.number > 1;
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

    stored := 0;
    IF record_chunk_v1.skips IS NOT NULL THEN
        INSERT INTO reliable_imports.import_attempts (
            batch_id, item_number, attempt, run_id, outcome, is_final, skip_reason
        )
        SELECT
            chunk_batch, skip.item_number, skip.attempt, chunk_run, 'skipped', true, skip.skip_reason
        FROM pg_catalog.json_to_recordset(record_chunk_v1.skips) AS skip (
            item_number bigint, attempt integer, skip_reason text
        );
        GET DIAGNOSTICS stored = ROW_COUNT;
    END IF;
    IF stored <> skipped_n THEN
        RAISE EXCEPTION '% skipped items sent, % stored', skipped_n, stored USING ERRCODE = 'RI001';
    END IF;

    IF record_chunk_v1.failures IS NOT NULL THEN
        INSERT INTO reliable_imports.import_attempts (
            batch_id, item_number, attempt, run_id, outcome, is_final, stage, error_type, sqlstate,
            constraint_name, field, message, detail, missing_key, missing_fields, traceback, reason, reasons, faults, code_version,
            retryable, retry_after
        )
        SELECT
            chunk_batch, failure.item_number, failure.attempt, chunk_run, 'failed', kind.is_final,
            kind.stage, kind.error_type, kind.sqlstate, kind.constraint_name,
            kind.field, kind.message, kind.detail, failure.missing_key, kind.missing_fields,
            kind.traceback, kind.reasons[1],
            kind.reasons, failure.faults, kind.code_version, kind.retryable, kind.retry_after
        FROM pg_catalog.json_to_recordset(record_chunk_v1.failures) AS failure (
            kind integer, item_number integer, attempt integer, missing_key text, faults jsonb
        )
        JOIN pg_catalog.json_to_recordset(record_chunk_v1.failure_kinds) AS kind (
            number integer, is_final boolean, stage text, error_type text, sqlstate text, constraint_name text, field text,
            message text, detail text, missing_fields text[], traceback text, reasons text[], code_version text,
            retryable boolean, retry_after interval
        ) ON kind.number = failure.kind;
        GET DIAGNOSTICS stored = ROW_COUNT;
        IF stored <> pg_catalog.json_array_length(record_chunk_v1.failures) THEN
            RAISE EXCEPTION 'failures were sent that were not stored' USING ERRCODE = 'RI001';
        END IF;
    END IF;

    IF record_chunk_v1.logs IS NOT NULL THEN
        INSERT INTO reliable_imports.import_logs (batch_id, item_number, run_id, level, message, details)
        SELECT chunk_batch, entry.item_number, chunk_run, entry.level, entry.message, entry.details
        FROM pg_catalog.json_to_recordset(record_chunk_v1.logs) AS entry (
            item_number bigint, level text, message text, details jsonb
        );
    END IF;

    IF retried IS NOT NULL THEN
        -- Items whose range has moved on; what became of them is counted apart.
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
        VALUES (chunk_batch, reliable_imports.retries_range_v1(), 1, 0, false, completed_n, failed_n, skipped_n)
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
            AND claimed.next_item = record_chunk_v1.first_item;
        GET DIAGNOSTICS stored = ROW_COUNT;
        IF stored <> 1 THEN
            RAISE EXCEPTION 'range % of batch % moved under a lock', chunk_range, chunk_batch USING ERRCODE = 'RI001';
        END IF;
    END IF;

    IF record_chunk_v1.retries IS NOT NULL THEN
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
        FROM pg_catalog.json_to_recordset(record_chunk_v1.retries) AS retry (
            item_number bigint, next_attempt integer, pause interval, waits_for_others boolean
        );
    END IF;

    -- The run lives, and goes on in this range or in the next open one; or with more items that are tried again.
    UPDATE reliable_imports.import_runs
    SET heartbeat_at = pg_catalog.clock_timestamp(),
        range_number = CASE
            WHEN retried IS NOT NULL THEN reliable_imports.retries_range_v1()
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
