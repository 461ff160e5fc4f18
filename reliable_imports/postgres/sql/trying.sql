-- What a try works on: a batch that is never committed, or one that is there.

-- name: items
-- A batch's items as a claim reads them, or a sample that lies evenly over all of them; and what each repeats.
SELECT
    item.item_number,
    item.source_data::text,
    item.source_raw,
    item.read_problem,
    item.read_problem_kind,
    item.source_line,
    item.source_offset,
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
FROM reliable_imports.import_items AS item
LEFT JOIN reliable_imports.import_duplicates AS duplicate
    ON duplicate.batch_id = item.batch_id
    AND duplicate.item_number = item.item_number
LEFT JOIN reliable_imports.import_attempts AS failure
    ON failure.batch_id = item.repeats_batch_id
    AND failure.item_number = item.repeats_item_number
    AND failure.is_final
    AND failure.outcome = 'failed'
WHERE item.batch_id = %(batch_id)s
    AND (
        %(sample)s::bigint IS NULL
        OR item.item_number * %(sample)s / %(total)s <> (item.item_number - 1) * %(sample)s / %(total)s
    )
ORDER BY item.item_number

-- name: nothing_is_written
-- Whether the transaction has changed nothing so far.
SELECT pg_catalog.txid_current_if_assigned() IS NULL
