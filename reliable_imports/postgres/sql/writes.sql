-- Declared writes, and what is asked of the tables that they go to.

-- name: describe_target
SELECT reliable_imports.describe_target_v1(%(table)s)

-- name: resolved_table
SELECT pg_catalog.to_regclass(%(table)s)::pg_catalog.oid::bigint

-- name: run_writes
SELECT verdict, row_key
FROM reliable_imports.run_writes_v1(%(statements)s::text[], %(return_keys)s::boolean[])

-- name: apply_writes
SELECT
    entry_index, verdict, row_key, failed_sqlstate, failed_message, failed_detail, failed_table, failed_column,
    failed_constraint, subtransactions
FROM reliable_imports.apply_writes_v1(
    pg_catalog.string_to_array(%(entries)s, %(separator)s), %(owners)s::integer[], %(return_keys)s::boolean[],
    %(group_ends)s::integer[], %(check_deferred)s::text, %(room)s
)

-- name: write_row_by_row
-- Rows of one kind go one by one, by a statement whose plan is made once for all. Neighbours share a subtransaction. When
-- the server refuses one of them, those before it are undone with it, and written again without a subtransaction, because
-- they were good a moment ago; those behind it share the next one. So rows that are refused cost no subtransaction.
--
-- What is not a row's own fault is raised again: booked as a failure of the row, a full disk would fail every item of a
-- batch. Subtransactions that have written are counted, and before there are more than there is room for, the block
-- stops. Its last row tells how many rows were tried, how many subtransactions have written, and of the rows that were
-- refused which and why.
DO {tag}
#variable_conflict use_column  -- a column in ON CONFLICT may have the name of a variable
DECLARE
    {cells}
    first_row          integer := 1;
    last_row           integer;
    row_number         integer;
    used               integer := 0;
    refused            json[] := '{{}}';
    failed_sqlstate    text;
    failed_message     text;
    failed_detail      text;
    failed_table       text;
    failed_column      text;
    failed_constraint  text;
BEGIN
    LOCK TABLE ONLY {table} IN ROW EXCLUSIVE MODE;  -- as INSERT does: there may be thousands of partitions
    PERFORM {unaltered};
    WHILE first_row <= {rows} AND used < {room} LOOP
        last_row := least(first_row + {together} - 1, {rows});
        row_number := first_row;
        BEGIN
            WHILE row_number <= last_row LOOP
                {insert};
                row_number := row_number + 1;
            END LOOP;
            used := used + 1;
            first_row := row_number;
            CONTINUE;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS
                failed_sqlstate = RETURNED_SQLSTATE,
                failed_message = MESSAGE_TEXT,
                failed_detail = PG_EXCEPTION_DETAIL,
                failed_table = TABLE_NAME,
                failed_column = COLUMN_NAME,
                failed_constraint = CONSTRAINT_NAME;
            IF reliable_imports.fault_of_v1(failed_sqlstate) <> 'item' THEN
                RAISE;
            END IF;
        END;
        refused := refused || pg_catalog.json_build_array(
            row_number - 1, failed_sqlstate, failed_message, failed_detail, failed_table, failed_column, failed_constraint
        );
        last_row := row_number;
        row_number := first_row;
        WHILE row_number < last_row LOOP
            {insert};
            row_number := row_number + 1;
        END LOOP;
        first_row := last_row + 1;
    END LOOP;
    PERFORM pg_catalog.set_config(
        'reliable_imports.told',
        pg_catalog.json_build_array(first_row - 1, used, pg_catalog.array_to_json(refused))::text,
        true
    );
END
{tag};
SELECT pg_catalog.current_setting('reliable_imports.told')

-- name: what_was_met
SELECT pg_catalog.current_setting('reliable_imports.met', true)

-- name: forget_what_was_met
SELECT pg_catalog.set_config('reliable_imports.met', '', true)

-- name: find_newer
SELECT newer_batch, newer_item
FROM reliable_imports.find_newer_v1(%(row_key)s, %(origin_batch_id)s, %(origin_item_number)s)
WHERE newer_batch IS NOT NULL
