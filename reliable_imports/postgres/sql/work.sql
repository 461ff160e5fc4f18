-- What a run does to its batch.

-- name: start_batch
-- Also resumes a batch that is paused; what failed before then counts against no tolerance any more.
UPDATE reliable_imports.import_batches AS batch
SET status = 'processing',
    started_at = coalesce(batch.started_at, pg_catalog.clock_timestamp()),
    pause_reason = NULL,
    is_held = false,
    tolerated_failures = counted.failed,
    tolerated_items = counted.ended
FROM (
    SELECT
        coalesce(sum(failed), 0) AS failed,
        coalesce(sum(completed + failed + skipped), 0) AS ended
    FROM reliable_imports.import_ranges
    WHERE batch_id = %(batch_id)s
) AS counted
WHERE batch.id = %(batch_id)s
    AND batch.status IN ('pending', 'paused')

-- name: start_run
-- A run that is not the first to work its batch resumes it. range_number is where it is going to begin.
--
-- Whoever does not know whether this was committed says it again with the same token: the run that is there goes on in this
-- session then. Of such a row xmax is the transaction that has locked it.
INSERT INTO reliable_imports.import_runs AS run (
    token, batch_id, runner, dagster_run_id, code_version, sensitive, mode, host, process_id, range_number, backend_pid,
    backend_start
)
SELECT
    %(token)s::uuid,
    batch.id,
    %(runner)s,
    %(dagster_run_id)s,
    %(code_version)s,
    %(sensitive)s::text[],
    CASE
        WHEN EXISTS (SELECT FROM reliable_imports.import_runs AS earlier WHERE earlier.batch_id = batch.id) THEN 'resume'
        WHEN batch.reprocess_of IS NOT NULL THEN 'reprocess'
        ELSE 'import'
    END,
    %(host)s,
    %(process_id)s,
    (
        SELECT min(open_range.range_number)
        FROM reliable_imports.import_ranges AS open_range
        WHERE open_range.batch_id = batch.id
            AND open_range.is_open
    ),
    pg_catalog.pg_backend_pid(),
    (SELECT backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid())
FROM reliable_imports.import_batches AS batch
WHERE batch.id = %(batch_id)s
ON CONFLICT (token) DO UPDATE
SET backend_pid = excluded.backend_pid,
    backend_start = excluded.backend_start,
    heartbeat_at = pg_catalog.clock_timestamp()
RETURNING run.id, run.mode, run.xmax = 0 AS is_new

-- name: move_run
-- The run goes on in another session: after a lost connection, or in a child process.
UPDATE reliable_imports.import_runs
SET backend_pid = pg_catalog.pg_backend_pid(),
    backend_start = (SELECT backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()),
    heartbeat_at = pg_catalog.clock_timestamp()
WHERE id = %(run_id)s
    AND ended_at IS NULL

-- name: beat
UPDATE reliable_imports.import_runs
SET heartbeat_at = pg_catalog.clock_timestamp()
WHERE id = %(run_id)s
    AND ended_at IS NULL

-- name: end_run
UPDATE reliable_imports.import_runs
SET ended_at = pg_catalog.clock_timestamp(),
    heartbeat_at = pg_catalog.clock_timestamp(),
    range_number = NULL,
    outcome = %(outcome)s,
    error = %(error)s
WHERE id = %(run_id)s
    AND ended_at IS NULL

-- name: claim_chunk
SELECT *
FROM reliable_imports.claim_chunk_v1(
    %(batch_id)s, %(run_id)s, %(from_range)s, %(have_range)s, %(have_until)s, %(limit)s, %(max_bytes)s, %(take_anyway)s
)

-- name: has_retries
-- Most batches have none, and claim_retries takes a while to plan.
SELECT EXISTS (SELECT FROM reliable_imports.import_retries WHERE batch_id = %(batch_id)s)

-- name: claim_retries
-- Items whose range has moved on without them; each is locked by this transaction as a range would be. Those that wait for
-- others go to one worker at a time, so that what another one is just about to complete is not missed.
WITH others AS MATERIALIZED (
    SELECT
        (SELECT coalesce(sum(completed), 0) FROM reliable_imports.import_ranges WHERE batch_id = %(batch_id)s) AS completed,
        -- Of those that wait for others: when the one was tried that was tried longest ago.
        (
            SELECT min(waiting.completed_before)
            FROM reliable_imports.import_retries AS waiting
            WHERE waiting.batch_id = %(batch_id)s
        ) AS all_tried_since
), first AS MATERIALIZED (
    SELECT next.item_number, next.round, next.place
    FROM reliable_imports.due_retries_v1(%(batch_id)s) AS next
    WHERE next.round IS NULL
        OR (
            SELECT pg_catalog.pg_try_advisory_xact_lock(
                pg_catalog.hashtextextended('reliable_imports: items that wait for others', %(batch_id)s)
            )
        )
), due AS MATERIALIZED (
    SELECT
        retry.batch_id, retry.item_number, retry.next_attempt, first.round, first.place,
        -- Not before all have been tried since the last one was completed: one of these may bring what it needs.
        retry.completed_before IS NOT NULL AND others.all_tried_since = others.completed AS tries_last
    FROM first
    JOIN reliable_imports.import_retries AS retry
        ON retry.batch_id = %(batch_id)s
        AND retry.item_number = first.item_number
    CROSS JOIN others
    ORDER BY first.place
    LIMIT %(limit)s
    FOR UPDATE OF retry SKIP LOCKED
)
SELECT
    pg_catalog.txid_current(),
    EXISTS (
        SELECT FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = %(batch_id)s
            AND run.range_number = reliable_imports.retries_range_v1()
            AND run.ended_at IS NULL
            AND run.id <> %(run_id)s
            AND NOT reliable_imports.run_has_session_v1(run)
    )
    OR EXISTS (
        SELECT FROM reliable_imports.import_suspects AS suspect
        WHERE suspect.batch_id = %(batch_id)s
            AND suspect.range_number = reliable_imports.retries_range_v1()
    ) AS are_suspect,
    (
        SELECT coalesce(run.range_number = reliable_imports.retries_range_v1(), false)
        FROM reliable_imports.import_runs AS run
        WHERE run.id = %(run_id)s
    ) AS are_published,
    item.item_number,
    item.source_data::text,
    item.source_raw,
    item.source_line,
    item.source_offset,
    item.read_problem,
    item.read_problem_kind,
    item.earlier_attempts,
    coalesce(item.origin_batch_id, item.batch_id),
    coalesce(item.origin_item_number, item.item_number),
    due.next_attempt,
    NULL::bigint AS duplicate_of,
    NULL::boolean AS fails,
    coalesce(due.tries_last, false) AS tries_last
FROM due
JOIN reliable_imports.stored_items AS item
    ON item.batch_id = due.batch_id
    AND item.item_number = due.item_number
ORDER BY due.round, due.place[3]

-- name: due_retry
-- An item that claim_retries would give if nobody else held it.
SELECT next.item_number
FROM reliable_imports.due_retries_v1(%(batch_id)s) AS next
ORDER BY next.place
LIMIT 1

-- name: postpone_item
SELECT reliable_imports.postpone_item_v1(%(batch_id)s, %(range_number)s, %(item_number)s)

-- name: postpone_retry
-- For an item that is tried again already.
UPDATE reliable_imports.import_retries
SET not_before = pg_catalog.clock_timestamp()
WHERE batch_id = %(batch_id)s
    AND item_number = %(item_number)s

-- name: publish_range
UPDATE reliable_imports.import_runs
SET range_number = %(range_number)s,
    heartbeat_at = pg_catalog.clock_timestamp()
WHERE id = %(run_id)s

-- name: next_retry
-- Seconds until the next item that nobody else holds may be tried again; no row if none waits, or the batch is not to
-- be worked.
SELECT
    greatest(
        extract(epoch FROM retry.not_before - pg_catalog.clock_timestamp()),
        -- What waits for others may have to wait for another worker.
        CASE WHEN retry.completed_before IS NOT NULL THEN 0.1 END
    )::double precision
FROM reliable_imports.import_retries AS retry
JOIN reliable_imports.import_batches AS batch ON batch.id = retry.batch_id
WHERE retry.batch_id = %(batch_id)s
    AND batch.status = 'processing'
ORDER BY retry.not_before
LIMIT 1
FOR UPDATE OF retry SKIP LOCKED

-- name: repeat_statements
SELECT reliable_imports.repeat_statements_v1(%(statements)s::text[], %(counts)s::bigint[])

-- name: is_steady
-- Whether a statement that writes to a table and makes these calls gives the same answer when it is repeated in its
-- transaction. Names are looked up in every schema. What the server itself calls stable stays so within a transaction, but
-- for what tells of the moment or of the server; what others call so may look at tables.
-- Also the column that is numbered by a sequence, and how EXPLAIN tells that it is answered; NULL if the statement cannot
-- be repeated with a number that is given, for it names a view, or the number would be missed elsewhere.
WITH RECURSIVE family AS (
    SELECT relation.oid
    FROM pg_catalog.pg_class AS relation
    WHERE relation.oid = pg_catalog.to_regclass(
        pg_catalog.quote_ident(%(schema)s) || '.' || pg_catalog.quote_ident(%(table)s)
    )
    UNION
    SELECT next.oid
    FROM family
    JOIN (
        SELECT inhparent AS of, inhrelid AS oid
        FROM pg_catalog.pg_inherits
        UNION ALL
        SELECT confrelid, conrelid
        FROM pg_catalog.pg_constraint
        WHERE %(may_update)s
            AND confupdtype IN ('c', 'n', 'd')
    ) AS next ON next.of = family.oid
),
numbered AS (
    SELECT
        pg_catalog.quote_ident(attname) AS name,
        pg_catalog.quote_ident(%(alias)s) || '.' || pg_catalog.quote_ident(attname) AS told_as
    FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass(%(named)s)
        AND attrelid = pg_catalog.to_regclass(
            pg_catalog.quote_ident(%(schema)s) || '.' || pg_catalog.quote_ident(%(table)s)
        )
        AND attnum = %(numbered)s
        AND pg_catalog.has_table_privilege(attrelid, 'INSERT')
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS other
            WHERE other.attrelid = pg_attribute.attrelid
                AND other.attgenerated <> ''
        )
)
SELECT
    coalesce(pg_catalog.bool_and(relation.relkind IN ('r', 'p') AND NOT relation.relhasrules), false)
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS trigger
        JOIN family ON family.oid = trigger.tgrelid
        WHERE NOT trigger.tgisinternal
    )
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_proc AS called
        WHERE called.proname = ANY (%(calls)s::text[]::name[])
            AND called.provolatile <> 'i'
            AND (
                called.provolatile <> 's'
                OR called.pronamespace <> 'pg_catalog'::regnamespace
                OR called.proname ~ '^(pg|txid|statement)_'
            )
    ),
    (SELECT name FROM numbered),
    (SELECT told_as FROM numbered)
FROM family
JOIN pg_catalog.pg_class AS relation ON relation.oid = family.oid

-- name: record_chunk
SELECT reliable_imports.record_chunk_v1(
    %(batch_id)s, %(run_id)s, %(transaction_id)s, %(range_number)s, %(first_item)s, %(next_item)s, %(retried)s::bigint[],
    %(completed)s, %(failed)s, %(skipped)s, %(numbers)s::bigint[], %(tries)s::integer[],
    pg_catalog.string_to_array(%(results)s, E'\n', ''), %(left_out)s::bigint[], %(skips)s::json,
    %(failures)s::json, %(failure_kinds)s::json, %(reasons)s::json, %(retries)s::json, %(logs)s::json, keyed.items, keyed.row_keys
)
FROM (
    SELECT pg_catalog.array_agg(item_number) AS items, pg_catalog.array_agg(row_key) AS row_keys
    FROM ({keys}) AS written
) AS keyed

-- name: no_keys
SELECT NULL::bigint AS item_number, NULL::bigint AS row_key WHERE false

-- name: insert_log
INSERT INTO reliable_imports.import_logs (batch_id, item_number, run_id, level, message, details)
VALUES (%(batch_id)s, NULL, %(run_id)s, %(level)s, %(message)s, %(details)s)

-- name: has_free_range
SELECT FROM reliable_imports.import_ranges
WHERE batch_id = %(batch_id)s
    AND is_open
    AND EXISTS (
        SELECT FROM reliable_imports.import_batches AS batch
        WHERE batch.id = %(batch_id)s
            AND batch.status = 'processing'
    )
LIMIT 1
FOR UPDATE SKIP LOCKED

-- name: has_session
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %(pid)s)

-- name: wait_for_range
-- After a lost connection: a COMMIT that was under way on it has ended once the range can be locked.
SELECT FROM reliable_imports.import_ranges
WHERE batch_id = %(batch_id)s
    AND range_number = %(range_number)s
FOR UPDATE

-- name: wait_for_retries
-- Likewise for items that were tried again: their rows are the lock.
SELECT FROM reliable_imports.import_retries
WHERE batch_id = %(batch_id)s
    AND item_number = ANY (%(items)s)
ORDER BY item_number
FOR UPDATE

-- name: has_deferrable_constraints
SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferrable)

-- name: lock_batch
SELECT status
FROM reliable_imports.import_batches
WHERE id = %(batch_id)s
FOR NO KEY UPDATE

-- name: close_batch
-- Only under lock_batch, and as a statement of its own: its snapshot then sees what the other workers committed.
UPDATE reliable_imports.import_batches AS batch
SET status = CASE
        WHEN counted.failed = 0 THEN 'completed'
        WHEN counted.completed = 0 THEN 'failed'
        ELSE 'completed_with_failures'
    END,
    completed_items = counted.completed,
    failed_items = counted.failed,
    skipped_items = counted.skipped,
    is_to_settle = true,
    -- Where nothing has failed, and nothing is repeated, there is nothing to count.
    is_counted = counted.failed = 0 AND batch.reprocess_of IS NULL,
    finished_at = pg_catalog.clock_timestamp()
FROM (
    SELECT
        coalesce(sum(completed), 0) AS completed,
        coalesce(sum(failed), 0) AS failed,
        coalesce(sum(skipped), 0) AS skipped
    FROM reliable_imports.import_ranges
    WHERE batch_id = %(batch_id)s
) AS counted
WHERE batch.id = %(batch_id)s
    AND batch.status = 'processing'
    AND NOT batch.is_canary
    AND reliable_imports.nothing_is_open_v1(batch.id)
RETURNING batch.status, batch.total_items, batch.is_counted, batch.reprocess_of IS NOT NULL

-- name: count_failures
-- Keeps what the view failure_counts says of a batch that has ended, for nothing of it changes any more. A cancelled one is
-- never counted: what it left undone may still be taken.
WITH batch AS (
    UPDATE reliable_imports.import_batches
    SET is_counted = true
    WHERE id = %(batch_id)s
        AND NOT is_counted
        AND completed_items IS NOT NULL
    RETURNING id
)
INSERT INTO reliable_imports.import_failure_counts (
    batch_id, reason, items, only_items, erased_items, retryable_items, first_seen, last_seen, code_versions,
    common_values
)
SELECT
    batch.id, counted.reason, counted.items, counted.only_items, counted.erased_items, counted.retryable_items,
    counted.first_seen, counted.last_seen, counted.code_versions, counted.common_values
FROM batch
JOIN reliable_imports.failure_counts AS counted ON counted.batch_id = %(batch_id)s

-- name: count_repeats
-- Before count_failures: likewise, what the view repeat_counts says of a batch of repeats. Of two that count at once the
-- second waits, and then finds nothing to do.
INSERT INTO reliable_imports.import_repeat_counts (batch_id, repeats_batch_id, reason, items, only_items)
SELECT batch.id, counted.repeats_batch_id, counted.reason, counted.items, counted.only_items
FROM reliable_imports.import_batches AS batch
JOIN reliable_imports.repeat_counts AS counted ON counted.batch_id = %(batch_id)s
WHERE batch.id = %(batch_id)s
    AND NOT batch.is_counted
    AND batch.completed_items IS NOT NULL
FOR NO KEY UPDATE OF batch

-- name: continue_reasons
-- After both: a cause that is first met in this batch, by all that it repeats of another one, of the same type and
-- field, is that one under the code of now.
UPDATE reliable_imports.import_failure_reasons AS new
SET continues = old.fingerprint
FROM (
    SELECT was.reason AS old_reason, is_now.reason AS new_reason
    FROM reliable_imports.import_items AS item
    CROSS JOIN LATERAL (
        SELECT ended.outcome, ended.reasons, ended.code_version
        FROM reliable_imports.import_attempts AS ended
        WHERE ended.batch_id = item.repeats_batch_id
            AND ended.item_number = item.repeats_item_number
            AND ended.is_final
        OFFSET 0
    ) AS repeated
    CROSS JOIN LATERAL pg_catalog.unnest(repeated.reasons) AS was (reason)
    LEFT JOIN LATERAL (
        SELECT ended.outcome, ended.reasons, ended.code_version
        FROM reliable_imports.import_attempts AS ended
        WHERE ended.batch_id = item.batch_id
            AND ended.item_number = item.item_number
            AND ended.is_final
        OFFSET 0
    ) AS failure
        ON failure.outcome = 'failed'
        AND failure.code_version IS DISTINCT FROM repeated.code_version
        AND NOT was.reason = ANY (failure.reasons)
    LEFT JOIN LATERAL pg_catalog.unnest(failure.reasons) AS is_now (reason) ON true
    WHERE item.batch_id = %(batch_id)s
        AND repeated.outcome = 'failed'
        -- So that the items of a batch that repeats none are not looked at.
        AND EXISTS (SELECT FROM reliable_imports.import_repeat_counts AS counts WHERE counts.batch_id = %(batch_id)s)
    GROUP BY was.reason, is_now.reason
    HAVING count(*) = (
        SELECT sum(counts.items)
        FROM reliable_imports.import_repeat_counts AS counts
        WHERE counts.batch_id = %(batch_id)s
            AND counts.reason = was.reason
    )
) AS found
JOIN reliable_imports.import_failure_reasons AS old ON old.fingerprint = found.old_reason
WHERE new.fingerprint = found.new_reason
    AND new.continues IS NULL
    AND new.first_seen > old.last_seen
    AND new.batch_type = old.batch_type
    AND new.error_type = old.error_type
    AND new.field IS NOT DISTINCT FROM old.field
    -- Where no field is known, the words have to tell; the function before them may be called otherwise now.
    AND (new.field IS NOT NULL OR substring(new.title FROM ': (.*)$') = substring(old.title FROM ': (.*)$'))

-- name: count_against_tolerance
-- What has failed and what has ended since the batch was begun or resumed.
SELECT
    coalesce(sum(counts.failed), 0) - batch.tolerated_failures,
    coalesce(sum(counts.completed + counts.failed + counts.skipped), 0) - batch.tolerated_items
FROM reliable_imports.import_batches AS batch
LEFT JOIN reliable_imports.import_ranges AS counts ON counts.batch_id = batch.id
WHERE batch.id = %(batch_id)s
GROUP BY batch.id

-- name: pause_batch
UPDATE reliable_imports.import_batches
SET status = 'paused',
    pause_reason = %(reason)s
WHERE id = %(batch_id)s
    AND status IN ('pending', 'processing')
RETURNING status

-- name: cancel_batch
UPDATE reliable_imports.import_batches
SET status = 'cancelled',
    pause_reason = NULL,
    is_to_settle = true,
    finished_at = pg_catalog.clock_timestamp()
WHERE id = %(batch_id)s
    AND status IN ('pending', 'processing', 'paused')
RETURNING status
