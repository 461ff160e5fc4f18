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

-- name: write_rows
-- Rows of one kind. They are tried as one statement, which leaves out those that will likely be refused; these go one by
-- one. If that statement is refused, or should not be tried, all rows go one by one.
--
-- What goes one by one has a statement whose plan is made once for all. Neighbours share a subtransaction. When the
-- server refuses one of them, those before it are undone with it, and written again without a subtransaction, because
-- they were good a moment ago; those behind it share the next one. So rows that are refused cost no subtransaction.
--
-- A row that was left out and is written after all raises RI003: it would have been written after those behind it.
-- What is not a row's own fault is raised again: booked as a failure of the row, a full disk would fail every item of a
-- batch.
--
-- Rows of repeated items are guarded: what an item has written that was delivered later is left as it is. Their fates tell
-- what those have met that were not written; see may_update.
--
-- The setting tells whether the one statement held, how many subtransactions have written, of the rows that were refused
-- which and why, and of those with a fate which and what.
DO {tag}
#variable_conflict use_column  -- a column may have the name of a variable
<<block>>
DECLARE
    {cells}
    places             integer[] := ARRAY(SELECT pg_catalog.generate_series(1, {rows}));
    origin_batches     bigint[] := {origin_batches};
    origin_items       integer[] := {origin_items};
    fates              text[] := pg_catalog.array_fill(NULL::text, ARRAY[{rows}]);
    suspected          integer[];
    known_places       integer[];
    known_keys         bigint[];
    is_one             boolean := false;
    first_place        integer := 1;
    last_place         integer;
    place              integer;
    row_number         integer;
    used               integer := 0;
    refused            json[] := '{{}}';
    left_alone         json[];
    failed_sqlstate    text;
    failed_message     text;
    failed_detail      text;
    failed_schema      text;
    failed_table       text;
    failed_column      text;
    failed_constraint  text;
    failed_context     text;
BEGIN
    LOCK TABLE ONLY {table} IN ROW EXCLUSIVE MODE;  -- as INSERT does: there may be thousands of partitions
    PERFORM {unaltered};
    {as_one}
    WHILE first_place <= pg_catalog.cardinality(places) LOOP
        last_place := least(first_place + {together} - 1, pg_catalog.cardinality(places));
        place := first_place;
        BEGIN
            WHILE place <= last_place LOOP
                row_number := places[place];
                {insert};
                place := place + 1;
            END LOOP;
            used := used + 1;
            first_place := place;
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
            IF reliable_imports.fault_of_v1(failed_sqlstate) <> 'item' THEN
                RAISE;
            END IF;
        END;
        refused := refused || pg_catalog.json_build_array(
            row_number - 1, failed_sqlstate, failed_message, failed_detail, failed_schema, failed_table, failed_column,
            failed_constraint, failed_context
        );
        last_place := place;
        place := first_place;
        WHILE place < last_place LOOP
            row_number := places[place];
            {insert};
            place := place + 1;
        END LOOP;
        first_place := last_place + 1;
    END LOOP;
    left_alone := ARRAY(
        SELECT pg_catalog.json_build_array(number - 1, fate)
        FROM pg_catalog.unnest(fates) WITH ORDINALITY AS known (fate, number)
        WHERE fate IS NOT NULL
    );
    IF is_one AND pg_catalog.cardinality(refused || left_alone) < pg_catalog.cardinality(places) THEN
        RAISE EXCEPTION 'a row was left out for nothing' USING ERRCODE = 'RI003';
    END IF;
    PERFORM pg_catalog.set_config(
        {told},
        pg_catalog.json_build_array(
            is_one, used, pg_catalog.array_to_json(refused), pg_catalog.array_to_json(left_alone)
        )::text,
        true
    );
END
{tag}

-- name: write_as_one
BEGIN
        {insert} INTO suspected, known_places, known_keys;
        {guard}
        places := suspected;
        is_one := true;
        used := 1;
    EXCEPTION WHEN OTHERS THEN
        IF reliable_imports.fault_of_v1(SQLSTATE) <> 'item' THEN
            RAISE;
        END IF;
    END;

-- name: newer_rows
SELECT newer.place
FROM known
CROSS JOIN LATERAL reliable_imports.newer_rows_v1(
    known.places, known.row_keys, block.origin_batches, block.origin_items
) AS newer (place)

-- name: raise_for_newer
-- The rows are locked now, or newly there: whatever another run has written before is committed.
PERFORM FROM reliable_imports.newer_rows_v1(known_places, known_keys, origin_batches, origin_items) AS newer (place)
        WHERE newer.place <> ALL (suspected);
        IF FOUND THEN
            RAISE 'a later item has written one of the rows';
        END IF;

-- name: note_fate
fates[row_number] := CASE WHEN NOT FOUND THEN pg_catalog.current_setting('reliable_imports.met') END

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
