-- What a try works on: a batch that is never committed, or one that is there.

-- name: sample_items
-- A batch's items as a claim reads them, or a sample that lies evenly over all of them; and what each repeats.
SELECT
    item.item_number,
    item.source_data::text,
    item.source_raw,
    item.source_line,
    item.source_offset,
    item.read_problem,
    item.read_problem_kind,
    item.earlier_attempts,
    item.origin_batch_id,
    item.origin_item_number,
    item.earlier_attempts + 1,
    duplicate.duplicate_of,
    duplicate.fails,
    false AS tries_last,
    item.repeats_batch_id,
    item.repeats_item_number,
    failure.reason
FROM reliable_imports.stored_items AS item
LEFT JOIN reliable_imports.import_duplicates AS duplicate
    ON duplicate.batch_id = item.batch_id
    AND duplicate.item_number = item.item_number
LEFT JOIN LATERAL (
    SELECT repeated.outcome, repeated.reason
    FROM reliable_imports.import_attempts AS repeated
    WHERE repeated.batch_id = item.repeats_batch_id
        AND repeated.item_number = item.repeats_item_number
        AND repeated.is_final
    OFFSET 0
) AS failure ON failure.outcome = 'failed'
WHERE item.batch_id = %(batch_id)s
    AND (
        %(sample)s::bigint IS NULL
        OR item.item_number * %(sample)s / %(total)s <> (item.item_number - 1) * %(sample)s / %(total)s
    )
ORDER BY item.item_number

-- name: nothing_is_written
-- Whether the transaction has changed nothing so far.
SELECT pg_catalog.txid_current_if_assigned() IS NULL

-- name: sample
-- So many for each reason, evenly over all of them, of the items that a request chooses, and how many there are for that
-- reason. No source data is read.
SELECT placed.batch_id, placed.item_number, placed.attempts, placed.reason, placed.places
FROM (
    SELECT
        chosen.batch_id,
        chosen.item_number,
        chosen.attempts,
        failure.reason,
        row_number() OVER (PARTITION BY failure.reason ORDER BY chosen.batch_id, chosen.item_number) AS place,
        count(*) OVER (PARTITION BY failure.reason) AS places
    FROM ({chosen}) AS chosen
    LEFT JOIN LATERAL (
        SELECT ended.outcome, ended.reason
        FROM reliable_imports.import_attempts AS ended
        WHERE ended.batch_id = chosen.batch_id
            AND ended.item_number = chosen.item_number
            AND ended.is_final
        OFFSET 0
    ) AS failure ON failure.outcome = 'failed'
    WHERE (%(from_item)s::bigint IS NULL AND %(to_item)s::bigint IS NULL)
        OR EXISTS (
            SELECT FROM reliable_imports.import_items AS item
            WHERE item.batch_id = chosen.batch_id
                AND item.item_number = chosen.item_number
                AND coalesce(item.origin_item_number, item.item_number)
                    BETWEEN coalesce(%(from_item)s::bigint, 0) AND coalesce(%(to_item)s::bigint, 9223372036854775807)
            OFFSET 0
        )
) AS placed
WHERE placed.place * %(sample)s / placed.places <> (placed.place - 1) * %(sample)s / placed.places

-- name: sampled
SELECT
    pg_catalog.unnest(%(batches)s::bigint[]) AS batch_id,
    pg_catalog.unnest(%(items)s::bigint[]) AS item_number,
    pg_catalog.unnest(%(attempts)s::integer[]) AS attempts
