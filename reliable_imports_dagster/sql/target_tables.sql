-- What is told of the table that a processor writes to.

-- name: table_name
-- As a client of any database would write it, whatever the search_path is.
SELECT pg_catalog.current_database(), namespace.nspname, table_of.relname
FROM pg_catalog.pg_class AS table_of
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = table_of.relnamespace
WHERE table_of.oid = pg_catalog.to_regclass(%(table)s)

-- name: columns
-- As the database declares them; unique where a value can be in one row only.
SELECT
    of_column.attname AS name,
    pg_catalog.format_type(of_column.atttypid, of_column.atttypmod) AS type,
    pg_catalog.col_description(of_column.attrelid, of_column.attnum) AS description,
    NOT of_column.attnotnull AS is_nullable,
    EXISTS (
        SELECT FROM pg_catalog.pg_index AS index
        WHERE index.indrelid = of_column.attrelid
            AND index.indisunique
            AND index.indpred IS NULL
            AND index.indnkeyatts = 1
            AND index.indkey[0] = of_column.attnum
    ) AS is_unique,
    EXISTS (
        SELECT FROM pg_catalog.pg_index AS index
        WHERE index.indrelid = of_column.attrelid
            AND index.indisprimary
            AND index.indnkeyatts > 1
            AND of_column.attnum = ANY (index.indkey)
    ) AS is_part_of_key
FROM pg_catalog.pg_attribute AS of_column
WHERE of_column.attrelid = pg_catalog.to_regclass(%(table)s)
    AND of_column.attnum > 0
    AND NOT of_column.attisdropped
ORDER BY of_column.attnum

-- name: references
-- The columns that refer to another table by a foreign key, each with the column that it refers to.
SELECT
    own.attname AS column_name,
    pg_catalog.current_database() AS referenced_database,
    namespace.nspname AS referenced_schema,
    referenced.relname AS referenced_table,
    pg_catalog.pg_table_is_visible(referenced.oid) AS is_visible,
    theirs.attname AS referenced_column
FROM pg_catalog.pg_constraint AS reference
CROSS JOIN LATERAL ROWS FROM (
    pg_catalog.unnest(reference.conkey), pg_catalog.unnest(reference.confkey)
) AS pair (own_number, their_number)
JOIN pg_catalog.pg_attribute AS own ON own.attrelid = reference.conrelid AND own.attnum = pair.own_number
JOIN pg_catalog.pg_attribute AS theirs ON theirs.attrelid = reference.confrelid AND theirs.attnum = pair.their_number
JOIN pg_catalog.pg_class AS referenced ON referenced.oid = reference.confrelid
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = referenced.relnamespace
WHERE reference.conrelid = pg_catalog.to_regclass(%(table)s)
    AND reference.contype = 'f'
    AND reference.confrelid <> reference.conrelid
ORDER BY own.attnum, reference.conname

-- name: rows_of_partition
-- The rows that the batches of one partition have written: a row that several of them wrote counts once. Rows of a table
-- without a key cannot be told apart, and each is an item's own.
SELECT count(DISTINCT attempt.row_key) + count(*) FILTER (WHERE attempt.row_key IS NULL)
FROM reliable_imports.import_batches AS batch
JOIN reliable_imports.import_attempts AS attempt ON attempt.batch_id = batch.id
WHERE batch.batch_type = %(batch_type)s
    AND batch.metadata ->> 'partition' = %(partition)s
    AND attempt.is_final
    AND attempt.outcome = 'completed'
