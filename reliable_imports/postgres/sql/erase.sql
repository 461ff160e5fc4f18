-- Taking the data of a person, or of old batches, out of the tables. Rows stay, so that all counts do.

-- name: stored_types
SELECT DISTINCT batch_type
FROM reliable_imports.import_batches
ORDER BY batch_type

-- name: batches_of_type
SELECT id
FROM reliable_imports.import_batches
WHERE batch_type = %(batch_type)s
ORDER BY id

-- name: items_with_key
-- Without regard to capitals and to blanks around the values; is_exact tells where it makes no difference.
SELECT
    item.item_number,
    {exact} AS is_exact
FROM reliable_imports.import_items AS item
WHERE item.batch_id = %(batch_id)s
    AND item.source_data IS NOT NULL
    AND CASE WHEN pg_catalog.json_typeof(item.source_data) = 'object' THEN {alike} ELSE false END

-- name: value_of_part
(item.source_data ->> %s)

-- name: part_is_exact
{value} = %s

-- name: part_is_alike
pg_catalog.lower(pg_catalog.btrim({value}, E' \t\r\n')) = pg_catalog.lower(pg_catalog.btrim(%s, E' \t\r\n'))

-- name: raw_items
-- Items that the server cannot look into: JSON that its operators refuse, and lines that could not be read.
SELECT item_number, source_raw, read_problem IS NOT NULL AS is_unread
FROM reliable_imports.import_items
WHERE batch_id = %(batch_id)s
    AND item_number > %(after)s
    AND source_raw IS NOT NULL
ORDER BY item_number
LIMIT 1000

-- name: items_that_wrote
-- Items whose result names the row of the target: there the key is as the model has made it.
SELECT DISTINCT item_number
FROM reliable_imports.import_attempts
WHERE batch_id = %(batch_id)s
    AND result ->> 'target_table' = %(table)s
    AND CASE pg_catalog.json_typeof(result -> 'target_id')
        WHEN 'array' THEN
            ARRAY(SELECT pg_catalog.json_array_elements_text(result -> 'target_id')) = %(key)s::text[]
        ELSE ARRAY[result ->> 'target_id'] = %(key)s::text[]
    END

-- name: lock_lineages
-- As a reprocess does: nobody takes items of these lineages meanwhile.
SELECT first.id
FROM reliable_imports.import_batches AS first
WHERE first.id IN (SELECT first_batch_id FROM reliable_imports.import_batches WHERE id = ANY (%(batches)s))
ORDER BY first.id
FOR NO KEY UPDATE

-- name: repeats_of_found
-- What was found, the item where each began, and all that repeat it.
WITH RECURSIVE given AS (
    SELECT pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id, pg_catalog.unnest(%(items)s::bigint[]) AS item_number
), found AS (
    SELECT
        coalesce(item.origin_batch_id, item.batch_id) AS batch_id,
        coalesce(item.origin_item_number, item.item_number) AS item_number
    FROM given
    JOIN reliable_imports.import_items AS item
        ON item.batch_id = given.batch_id
        AND item.item_number = given.item_number
    UNION
    SELECT repeat.batch_id, repeat.item_number
    FROM found
    JOIN reliable_imports.import_items AS repeat
        ON repeat.repeats_batch_id = found.batch_id
        AND repeat.repeats_item_number = found.item_number
)
SELECT
    found.batch_id,
    found.item_number,
    batch.first_batch_id,
    item.erased_at IS NOT NULL AS is_erased,
    batch.status = 'cancelled' AS is_cancelled,
    CASE WHEN batch.finished_at IS NULL AND item.status IN ('pending', 'processing') THEN item.status END AS waits_as
FROM found
JOIN reliable_imports.import_batch_items AS item
    ON item.batch_id = found.batch_id
    AND item.item_number = found.item_number
JOIN reliable_imports.import_batches AS batch ON batch.id = found.batch_id
ORDER BY found.batch_id, found.item_number

-- name: item_data
-- What the items hold, for a search in the texts beside them.
SELECT item.source_data::text, item.source_raw
FROM reliable_imports.import_items AS item
JOIN (
    SELECT pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id, pg_catalog.unnest(%(items)s::bigint[]) AS item_number
) AS found
    ON found.batch_id = item.batch_id
    AND found.item_number = item.item_number

-- name: erase_items
UPDATE reliable_imports.import_items AS item
SET source_data = NULL,
    source_raw = NULL,
    read_problem = NULL,
    erased_at = pg_catalog.clock_timestamp()
FROM (
    SELECT pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id, pg_catalog.unnest(%(items)s::bigint[]) AS item_number
) AS found
WHERE item.batch_id = found.batch_id
    AND item.item_number = found.item_number
    AND item.erased_at IS NULL

-- name: count_items
UPDATE reliable_imports.import_batches
SET erased_items = erased_items + %(items)s
WHERE id = %(batch_id)s

-- name: erase_attempts
UPDATE reliable_imports.import_attempts AS attempt
SET row_key = CASE WHEN %(keep_row_keys)s THEN attempt.row_key END,
    result = NULL,
    skip_reason = CASE WHEN attempt.skip_reason IS NOT NULL THEN 'data erased' END,
    field = NULL,
    message = CASE WHEN attempt.message IS NOT NULL THEN 'data erased' END,
    faults = CASE WHEN attempt.faults IS NOT NULL THEN '[]'::jsonb END,
    detail = NULL,
    missing_key = NULL,
    traceback = NULL,
    retry_after = NULL,
    erased_at = coalesce(attempt.erased_at, pg_catalog.clock_timestamp())
FROM (
    SELECT pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id, pg_catalog.unnest(%(items)s::bigint[]) AS item_number
) AS found
WHERE attempt.batch_id = found.batch_id
    AND attempt.item_number = found.item_number

-- name: uncount
-- What was kept of these batches may hold values; until they are counted again, their failures are counted as they are.
WITH failures AS (
    DELETE FROM reliable_imports.import_failure_counts
    WHERE batch_id = ANY (%(batches)s::bigint[])
), repeats AS (
    DELETE FROM reliable_imports.import_repeat_counts
    WHERE batch_id = ANY (%(batches)s::bigint[])
)
UPDATE reliable_imports.import_batches
SET is_counted = false
WHERE id = ANY (%(batches)s::bigint[])
    AND is_counted

-- name: erase_row_keys
UPDATE reliable_imports.import_row_keys AS written
SET row_key = NULL
FROM (
    SELECT pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id, pg_catalog.unnest(%(items)s::bigint[]) AS item_number
) AS found
WHERE written.batch_id = found.batch_id
    AND written.item_number = found.item_number

-- name: erase_logs
UPDATE reliable_imports.import_logs AS line
SET message = 'data erased',
    details = NULL
FROM (
    SELECT pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id, pg_catalog.unnest(%(items)s::bigint[]) AS item_number
) AS found
WHERE line.batch_id = found.batch_id
    AND line.item_number = found.item_number

-- name: stands_elsewhere
-- Which of these texts stand in other items of these batches too, and so name nobody.
SELECT wanted.value
FROM pg_catalog.unnest(%(values)s::text[]) AS wanted (value)
WHERE EXISTS (
    SELECT
    FROM reliable_imports.import_items AS item
    WHERE item.batch_id = ANY (%(lineage)s::bigint[])
        AND pg_catalog.strpos(item.source_data::text, pg_catalog.btrim(pg_catalog.to_json(wanted.value)::text, '"')) > 0
        AND NOT EXISTS (
            SELECT
            FROM (
                SELECT
                    pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id,
                    pg_catalog.unnest(%(items)s::bigint[]) AS item_number
            ) AS found
            WHERE found.batch_id = item.batch_id
                AND found.item_number = item.item_number
        )
)

-- name: lineage_batches
SELECT id
FROM reliable_imports.import_batches
WHERE first_batch_id = ANY (%(lineages)s::bigint[])
ORDER BY id

-- name: batch_texts
-- Texts that belong to no item, with the words that may stand in them; here and in the next ones.
SELECT id, source, idempotency_key, requested_by, corrected_from, note, pause_reason, warnings, metadata, source_reading
FROM reliable_imports.import_batches
WHERE id = ANY (%(lineage)s::bigint[])
    AND pg_catalog.concat_ws(
        ' ', source, idempotency_key, requested_by, corrected_from, note, pause_reason, warnings::text, metadata::text,
        source_reading::text
    ) ~* %(pattern)s

-- name: set_batch_texts
UPDATE reliable_imports.import_batches
SET source = %(source)s,
    idempotency_key = %(idempotency_key)s,
    requested_by = %(requested_by)s,
    corrected_from = %(corrected_from)s,
    note = %(note)s,
    pause_reason = %(pause_reason)s,
    warnings = %(warnings)s::text[],
    metadata = %(metadata)s,
    source_reading = %(source_reading)s
WHERE id = %(id)s

-- name: delivery_texts
SELECT batch_type, idempotency_key, source, delivered_at
FROM reliable_imports.import_unchanged_deliveries
WHERE batch_id = ANY (%(lineage)s::bigint[])
    AND pg_catalog.concat_ws(' ', idempotency_key, source) ~* %(pattern)s

-- name: set_delivery_texts
UPDATE reliable_imports.import_unchanged_deliveries
SET idempotency_key = %(new_key)s,
    source = %(source)s
WHERE batch_type = %(batch_type)s
    AND idempotency_key = %(idempotency_key)s

-- name: run_texts
SELECT id, error
FROM reliable_imports.import_runs
WHERE batch_id = ANY (%(lineage)s::bigint[])
    AND error ~* %(pattern)s

-- name: set_run_texts
UPDATE reliable_imports.import_runs
SET error = %(error)s
WHERE id = %(id)s

-- name: reason_texts
SELECT fingerprint, error_type, constraint_name, field, title
FROM reliable_imports.import_failure_reasons
WHERE batch_type = %(batch_type)s
    AND pg_catalog.concat_ws(' ', error_type, constraint_name, field, title) ~* %(pattern)s

-- name: set_reason_texts
UPDATE reliable_imports.import_failure_reasons
SET error_type = %(error_type)s,
    constraint_name = %(constraint_name)s,
    field = %(field)s,
    title = %(title)s
WHERE fingerprint = %(fingerprint)s

-- name: note_texts
SELECT note.id, note.text
FROM reliable_imports.import_reason_notes AS note
JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = note.reason
WHERE known.batch_type = %(batch_type)s
    AND note.text ~* %(pattern)s

-- name: set_note_texts
UPDATE reliable_imports.import_reason_notes
SET text = %(text)s
WHERE id = %(id)s

-- name: suspect_texts
SELECT batch_id, range_number, item_number, run_id, how
FROM reliable_imports.import_suspects
WHERE batch_id = ANY (%(lineage)s::bigint[])
    AND how ~* %(pattern)s

-- name: set_suspect_texts
UPDATE reliable_imports.import_suspects
SET how = %(how)s
WHERE batch_id = %(batch_id)s
    AND range_number = %(range_number)s
    AND item_number = %(item_number)s
    AND run_id = %(run_id)s

-- name: other_log_texts
SELECT id, pg_catalog.concat_ws(' ', message, details::text) AS text
FROM reliable_imports.import_logs
WHERE batch_id = ANY (%(lineage)s::bigint[])
    AND pg_catalog.concat_ws(' ', message, details::text) ~* %(pattern)s

-- name: erase_log_lines
UPDATE reliable_imports.import_logs
SET message = 'data erased',
    details = NULL
WHERE id = ANY (%(ids)s::bigint[])

-- name: other_attempt_texts
-- What other items of these batches were told, such as by a trigger that names another row.
SELECT
    batch_id, item_number, attempt, result::text, skip_reason, field, message, faults::text, detail, missing_key, traceback
FROM reliable_imports.import_attempts
WHERE batch_id = ANY (%(lineage)s::bigint[])
    AND pg_catalog.concat_ws(
        ' ', result::text, skip_reason, field, message, faults::text, detail, missing_key, traceback
    ) ~* %(pattern)s

-- name: erase_attempt_texts
UPDATE reliable_imports.import_attempts
SET result = CASE WHEN 'result' = ANY (%(columns)s::text[]) THEN NULL ELSE result END,
    skip_reason = CASE WHEN 'skip_reason' = ANY (%(columns)s::text[]) THEN 'data erased' ELSE skip_reason END,
    field = CASE WHEN 'field' = ANY (%(columns)s::text[]) THEN NULL ELSE field END,
    message = CASE WHEN 'message' = ANY (%(columns)s::text[]) THEN 'data erased' ELSE message END,
    faults = CASE WHEN 'faults' = ANY (%(columns)s::text[]) THEN '[]'::jsonb ELSE faults END,
    detail = CASE WHEN 'detail' = ANY (%(columns)s::text[]) THEN NULL ELSE detail END,
    missing_key = CASE WHEN 'missing_key' = ANY (%(columns)s::text[]) THEN NULL ELSE missing_key END,
    traceback = CASE WHEN 'traceback' = ANY (%(columns)s::text[]) THEN NULL ELSE traceback END
WHERE batch_id = %(batch_id)s
    AND item_number = %(item_number)s
    AND attempt = %(attempt)s

-- name: erased_in_lineage
-- Failures, and what a cancelled batch left undone, that would be outstanding if their data were there.
WITH erased_in AS MATERIALIZED (
    SELECT id, status
    FROM reliable_imports.import_batches
    WHERE first_batch_id = (SELECT first_batch_id FROM reliable_imports.import_batches WHERE id = %(batch_id)s)
        AND erased_items > 0
), failed AS (
    SELECT failure.batch_id, failure.item_number
    FROM erased_in
    JOIN reliable_imports.import_attempts AS failure ON failure.batch_id = erased_in.id
    WHERE failure.is_final
        AND failure.outcome = 'failed'
        AND failure.erased_at IS NOT NULL
    UNION ALL
    SELECT item.batch_id, item.item_number
    FROM erased_in
    JOIN reliable_imports.import_items AS item ON item.batch_id = erased_in.id
    WHERE erased_in.status = 'cancelled'
        AND item.erased_at IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM reliable_imports.import_attempts AS ended
            WHERE ended.batch_id = item.batch_id
                AND ended.item_number = item.item_number
                AND ended.is_final
        )
)
SELECT count(*)
FROM failed
WHERE NOT EXISTS (
    SELECT FROM reliable_imports.import_items AS repeat
    WHERE repeat.repeats_batch_id = failed.batch_id
        AND repeat.repeats_item_number = failed.item_number
)
