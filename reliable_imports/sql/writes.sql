-- Declared writes, and what is asked of the tables that they go to.

-- name: describe_target
SELECT reliable_imports.describe_target(%(table)s)

-- name: run_writes
SELECT verdict, row_key
FROM reliable_imports.run_writes(%(statements)s::text[], %(return_keys)s::boolean[])

-- name: apply_writes
SELECT
    entry_index, verdict, row_key, failed_sqlstate, failed_message, failed_detail, failed_table, failed_column,
    failed_constraint, subtransactions
FROM reliable_imports.apply_writes(
    pg_catalog.string_to_array(%(entries)s, %(separator)s), %(owners)s::integer[], %(return_keys)s::boolean[],
    %(group_ends)s::integer[], %(templates)s::integer[], %(heads)s::text[], %(tails)s::text[], %(settle)s::text, %(room)s
)

-- name: what_was_met
SELECT pg_catalog.current_setting('reliable_imports.met', true)

-- name: forget_what_was_met
SELECT pg_catalog.set_config('reliable_imports.met', '', true)

-- name: find_newer
SELECT newer_batch, newer_item
FROM reliable_imports.find_newer(%(row_key)s, %(origin_batch_id)s, %(origin_item_number)s)
WHERE newer_batch IS NOT NULL
