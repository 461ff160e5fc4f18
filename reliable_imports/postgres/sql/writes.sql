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
    entry_index, verdict, row_key, failed_sqlstate, failed_message, failed_detail, failed_schema, failed_table,
    failed_column, failed_constraint, failed_context, subtransactions
FROM reliable_imports.apply_writes_v1(
    pg_catalog.string_to_array(%(entries)s, %(separator)s), %(owners)s::integer[], %(return_keys)s::boolean[],
    %(group_ends)s::integer[], %(check_deferred)s::text, %(room)s
)

-- name: write_as_one
SELECT reliable_imports.write_as_one_v1(
    {statement}, ARRAY[{columns}]::text[], {origin_batches}, {origin_items}, {told}, {rows_left}
)

-- name: leave_rows
-- Like `write_as_one` without a statement: all rows are left.
SELECT
    pg_catalog.set_config({told}, '', true),
    pg_catalog.set_config({rows_left}, ({rows}), true)

-- name: write_left_rows
-- The rows that were left, one by one.
--
-- Their statement has a plan that is made once for all. Neighbours share a subtransaction. When the server refuses one of
-- them, those before it are undone with it, and written again without a subtransaction, because they were good a moment
-- ago; those behind it share the next one. So rows that are refused cost no subtransaction.
--
-- A row that was left out and is written after all raises RI003: it would have been written after those behind it. So does
-- one that is refused for what stands in its way, which may not have stood there in its turn.
-- What is not a row's own fault is raised again: booked as a failure of the row, a full disk would fail every item of a
-- batch.
--
-- Rows of repeated items are guarded: what an item has written that was delivered later is left as it is. Their fates tell
-- what those have met that were not written; see may_update.
--
-- The setting tells whether the others were written as one, how many subtransactions have written, of the rows that were refused
-- which and why, and of those with a fate which and what. The context of a refusal holds the whole statement; it is NULL
-- where it is that of the row before.
DO {tag}
#variable_conflict use_column  -- a column may have the name of a variable
<<block>>
DECLARE
    cells              text[] := {cells};  -- of all rows, one after the other; the first of a row is its number
    cells_n            integer := pg_catalog.cardinality(cells);
    is_one             boolean := pg_catalog.current_setting({told}) <> '';
    at                 integer;  -- what is before a row
    first_at           integer := 0;
    end_at             integer;
    used               integer := is_one::integer;
    refused            json[] := '{{}}';
    fates              text[];
    unwritten          json[] := '{{}}';
    plans              text := pg_catalog.current_setting('plan_cache_mode');
    failed_sqlstate    text;
    failed_message     text;
    failed_detail      text;
    failed_schema      text;
    failed_table       text;
    failed_column      text;
    failed_constraint  text;
    failed_context     text;
    last_context       text;
BEGIN
    IF cells_n = 0 THEN
        RETURN;
    END IF;
    IF NOT is_one THEN
        LOCK TABLE ONLY {table} IN ROW EXCLUSIVE MODE;  -- as INSERT does: there may be thousands of partitions
        PERFORM {unaltered};
    END IF;
    -- Else the first five rows of each chunk would have a plan of their own, which takes longer than to store them.
    PERFORM pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true);
    WHILE first_at < cells_n LOOP
        end_at := least(first_at + {together} * {width}, cells_n);
        at := first_at;
        BEGIN
            WHILE at < end_at LOOP
                {insert};
                at := at + {width};
            END LOOP;
            used := used + 1;
            first_at := at;
            CONTINUE;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS
                failed_sqlstate = RETURNED_SQLSTATE,
                failed_message = MESSAGE_TEXT,
                failed_detail = PG_EXCEPTION_DETAIL,
                failed_schema = SCHEMA_NAME,
                failed_table = TABLE_NAME,
                failed_column = COLUMN_NAME,
                failed_constraint = CONSTRAINT_NAME,
                failed_context = PG_EXCEPTION_CONTEXT;
            IF failed_sqlstate NOT BETWEEN '22000' AND '23ZZZ' THEN
                IF reliable_imports.fault_of_v1(failed_sqlstate) <> 'item' THEN
                    RAISE;
                END IF;
            END IF;
            IF is_one AND {in_the_way} THEN
                RAISE EXCEPTION 'a row is in the way of one that was left out' USING ERRCODE = 'RI003';
            END IF;
        END;
        refused := refused || pg_catalog.json_build_array(
            cells[at + 1]::integer - 1, failed_sqlstate, failed_message, failed_detail, failed_schema, failed_table,
            failed_column, failed_constraint, nullif(failed_context, last_context)
        );
        last_context := failed_context;
        end_at := at;
        at := first_at;
        WHILE at < end_at LOOP
            {insert};
            at := at + {width};
        END LOOP;
        first_at := end_at + {width};
    END LOOP;
    PERFORM pg_catalog.set_config('plan_cache_mode', plans, true);
    IF fates IS NOT NULL THEN
        unwritten := ARRAY(
            SELECT pg_catalog.json_build_array(cells[(number - 1) * {width} + 1]::integer - 1, fates[number])
            FROM pg_catalog.generate_subscripts(fates, 1) AS number
            WHERE fates[number] IS NOT NULL
        );
    END IF;
    IF is_one AND pg_catalog.cardinality(refused || unwritten) * {width} < cells_n THEN
        RAISE EXCEPTION 'a row was left out for nothing' USING ERRCODE = 'RI003';
    END IF;
    PERFORM pg_catalog.set_config(
        {told},
        pg_catalog.json_build_array(
            is_one, used, pg_catalog.array_to_json(refused), pg_catalog.array_to_json(unwritten)
        )::text,
        true
    );
END
{tag}

-- name: note_fate
fates[at / {width} + 1] := CASE WHEN NOT FOUND THEN pg_catalog.current_setting('reliable_imports.met') END

-- name: what_was_met
SELECT pg_catalog.current_setting('reliable_imports.met', true)

-- name: forget_what_was_met
SELECT pg_catalog.set_config('reliable_imports.met', '', true)

-- name: find_newer
SELECT newer_batch, newer_item
FROM reliable_imports.find_newer_v1(%(row_key)s, %(origin_batch_id)s, %(origin_item_number)s)
WHERE newer_batch IS NOT NULL

-- name: refused_values
-- Which texts their columns' types refuse, and why, as [[place, sqlstate], ...]. Nothing is raised for it.
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(cell.place - 1, refusal.sql_error_code))::text
FROM ROWS FROM (pg_catalog.unnest({texts}), pg_catalog.unnest({types})) WITH ORDINALITY AS cell (value, type, place)
CROSS JOIN LATERAL pg_catalog.pg_input_error_info(cell.value, cell.type) AS refusal
WHERE refusal.sql_error_code IS NOT NULL

-- name: refused_values_before_16
-- The same by casts, each in a subtransaction that writes nothing. A cast to a domain cuts what is too long for it.
DO $refused_values$
DECLARE
    texts    text[] := {texts};
    types    text[] := {types};
    found    json[] := '{{}}';
    longest  integer;
BEGIN
    FOR place IN 1 .. pg_catalog.cardinality(texts) LOOP
        BEGIN
            EXECUTE pg_catalog.format('SELECT %L::%s', texts[place], types[place]);
            SELECT domain.typtypmod - 4
            INTO longest
            FROM pg_catalog.pg_type AS domain
            WHERE domain.oid = types[place]::pg_catalog.regtype
                AND domain.typtype = 'd'
                AND domain.typbasetype IN ('pg_catalog.varchar'::pg_catalog.regtype, 'pg_catalog.bpchar'::pg_catalog.regtype)
                AND domain.typtypmod > 4;
            IF pg_catalog.length(pg_catalog.rtrim(texts[place], ' ')) > longest THEN
                found := found || pg_catalog.json_build_array(place - 1, '22001');
            END IF;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            found := found || pg_catalog.json_build_array(place - 1, SQLSTATE);
        END;
    END LOOP;
    PERFORM pg_catalog.set_config('reliable_imports.told', pg_catalog.array_to_json(found)::text, true);
END
$refused_values$;
SELECT pg_catalog.current_setting('reliable_imports.told')

-- name: root_names
-- What a table and its constraint (or unique index) are called where all partitions are one, and what the constraint
-- is over.
WITH RECURSIVE tables AS (
    SELECT of_table.oid, of_table.relname, of_table.relnamespace, of_table.relispartition, 0 AS level
    FROM pg_catalog.pg_class AS of_table
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = of_table.relnamespace
    WHERE namespace.nspname = %(schema)s
        AND of_table.relname = %(table)s
    UNION ALL
    SELECT parent.oid, parent.relname, parent.relnamespace, parent.relispartition, tables.level + 1
    FROM tables
    JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhrelid = tables.oid
    JOIN pg_catalog.pg_class AS parent ON parent.oid = inherits.inhparent
    WHERE tables.relispartition
), constraints AS (
    SELECT own.oid, own.conname, own.conparentid, own.conrelid, own.conkey, 0 AS level
    FROM tables
    JOIN pg_catalog.pg_constraint AS own ON own.conrelid = tables.oid
    WHERE tables.level = 0
        AND own.conname = %(constraint)s
    UNION ALL
    SELECT parent.oid, parent.conname, parent.conparentid, parent.conrelid, parent.conkey, constraints.level + 1
    FROM constraints
    JOIN pg_catalog.pg_constraint AS parent ON parent.oid = constraints.conparentid
), indexes AS (
    SELECT of_index.oid, of_index.relname, of_index.relispartition, 0 AS level
    FROM tables
    JOIN pg_catalog.pg_index AS own ON own.indrelid = tables.oid
    JOIN pg_catalog.pg_class AS of_index ON of_index.oid = own.indexrelid
    WHERE tables.level = 0
        AND of_index.relname = %(constraint)s
    UNION ALL
    SELECT parent.oid, parent.relname, parent.relispartition, indexes.level + 1
    FROM indexes
    JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhrelid = indexes.oid
    JOIN pg_catalog.pg_class AS parent ON parent.oid = inherits.inhparent
    WHERE indexes.relispartition
)
SELECT
    (
        SELECT namespace.nspname || '.' || tables.relname
        FROM tables
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = tables.relnamespace
        ORDER BY tables.level DESC
        LIMIT 1
    ),
    coalesce(
        (SELECT constraints.conname FROM constraints ORDER BY constraints.level DESC LIMIT 1),
        (SELECT indexes.relname FROM indexes ORDER BY indexes.level DESC LIMIT 1)
    ),
    (
        SELECT pg_catalog.array_agg(of_column.attname::text ORDER BY of_column.attname)
        FROM (SELECT * FROM constraints ORDER BY level DESC LIMIT 1) AS own
        JOIN pg_catalog.pg_attribute AS of_column
            ON of_column.attrelid = own.conrelid
            AND of_column.attnum = ANY (own.conkey)
    )

-- name: function_body
-- As it is now, of a function as an error's context calls it.
SELECT prosrc
FROM pg_catalog.pg_proc
WHERE oid = pg_catalog.to_regprocedure(%(function)s)
