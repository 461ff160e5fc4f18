-- Declared writes: what the catalogue says of the table they go to, and how rows get there one by one.

-- A type as a value for it has to be written: what to cast a text to (without a length, so that the assignment to the
-- column refuses what is too long), its kind, and the types that it is made of.
CREATE FUNCTION reliable_imports.describe_type(type_id oid)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    kind  record;
BEGIN
    SELECT
        of_type.oid, of_type.typname, of_type.typtype, of_type.typcategory, of_type.typelem, of_type.typbasetype,
        of_type.typrelid, of_type.typlen, namespace.nspname,
        pg_catalog.quote_ident(namespace.nspname) || '.' || pg_catalog.quote_ident(of_type.typname) AS full_name
    INTO kind
    FROM pg_catalog.pg_type AS of_type
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = of_type.typnamespace
    WHERE of_type.oid = type_id;

    IF kind.typtype = 'd' THEN
        RETURN reliable_imports.describe_type(kind.typbasetype);
    END IF;
    RETURN pg_catalog.jsonb_build_object(
        'cast', kind.full_name,
        'kind', CASE
            WHEN kind.typname IN ('json', 'jsonb') AND kind.nspname = 'pg_catalog' THEN 'json'
            WHEN kind.typcategory = 'A' AND kind.typlen = -1 THEN 'array'
            WHEN kind.typname = 'hstore' THEN 'hstore'
            WHEN kind.typtype = 'c' THEN 'composite'
            WHEN kind.typtype = 'r' THEN 'range'
            WHEN kind.typtype = 'm' THEN 'multirange'
            WHEN kind.typtype = 'b' AND kind.nspname = 'pg_catalog' THEN kind.typname::text
            ELSE 'other'
        END,
        -- Whether rows of it can be hashed so that equal values have equal hashes.
        'is_hashable', CASE
            WHEN kind.typcategory = 'A' THEN
                (reliable_imports.describe_type(kind.typelem) -> 'is_hashable')::boolean
            ELSE kind.typtype IN ('e', 'r') OR EXISTS (
                SELECT
                FROM pg_catalog.pg_opclass AS opclass
                JOIN pg_catalog.pg_am AS method ON method.oid = opclass.opcmethod AND method.amname = 'hash'
                JOIN pg_catalog.pg_amproc AS extended
                    ON extended.amprocfamily = opclass.opcfamily
                    AND extended.amproclefttype = opclass.opcintype
                    AND extended.amprocnum = 2
                WHERE opclass.opcdefault
                    AND (
                        opclass.opcintype = kind.oid
                        OR EXISTS (
                            SELECT FROM pg_catalog.pg_cast AS relabel
                            WHERE relabel.castsource = kind.oid
                                AND relabel.casttarget = opclass.opcintype
                                AND relabel.castmethod = 'b'
                                AND relabel.castcontext = 'i'
                        )
                    )
            )
        END,
        'element', CASE WHEN kind.typcategory = 'A' AND kind.typlen = -1 THEN reliable_imports.describe_type(kind.typelem) END,
        'attributes', (
            SELECT pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_array(attribute.attname, reliable_imports.describe_type(attribute.atttypid))
                ORDER BY attribute.attnum
            )
            FROM pg_catalog.pg_attribute AS attribute
            WHERE kind.typtype = 'c'
                AND attribute.attrelid = kind.typrelid
                AND attribute.attnum > 0
                AND NOT attribute.attisdropped
        )
    );
END
$$;

-- What changes when somebody alters the table: rows that travel as columns say what they were made for.
CREATE FUNCTION reliable_imports.target_version(table_name text)
RETURNS text
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE family AS (  -- with its partitions; pg_partition_tree() would lock them all
        SELECT pg_catalog.to_regclass(table_name)::oid AS id
        UNION
        SELECT inherits.inhrelid
        FROM family
        JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = family.id
    )
    SELECT pg_catalog.md5(pg_catalog.concat_ws(
        ',',
        target.oid, target.relkind, target.relrowsecurity, target.relhasrules,
        (
            SELECT pg_catalog.string_agg(
                pg_catalog.concat_ws(
                    ' ', of_column.attname, of_column.atttypid, of_column.atttypmod, of_column.atthasdef,
                    of_column.attidentity, of_column.attgenerated
                ),
                ',' ORDER BY of_column.attnum
            )
            FROM pg_catalog.pg_attribute AS of_column
            WHERE of_column.attrelid = target.oid
                AND of_column.attnum > 0
        ),
        (
            SELECT pg_catalog.string_agg(index.indexrelid::text, ' ' ORDER BY index.indexrelid)
            FROM pg_catalog.pg_index AS index
            WHERE index.indrelid = target.oid
        ),
        (SELECT pg_catalog.string_agg(id::text, ' ' ORDER BY id) FROM family),
        (
            SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', trigger.oid, trigger.tgenabled), ',' ORDER BY trigger.oid)
            FROM pg_catalog.pg_trigger AS trigger
            WHERE trigger.tgrelid IN (SELECT id FROM family)
        )
    ))
    FROM pg_catalog.pg_class AS target
    WHERE target.oid = pg_catalog.to_regclass(table_name)
$$;

-- Raises if the table was altered since a plan for it was made. A statement that writes to the table has locked it.
CREATE FUNCTION reliable_imports.require_version(table_name text, version text)
RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF reliable_imports.target_version(table_name) IS DISTINCT FROM version THEN
        RAISE EXCEPTION 'table % was altered', table_name USING ERRCODE = 'RI002';
    END IF;
    RETURN true;
END
$$;

-- A table, or a view, as something to write to. NULL if there is none of this name, or this role may not look.
CREATE FUNCTION reliable_imports.describe_target(table_name text)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    target    record;
    family    oid[];   -- the table, its partitions and what it is a partition of
    root      text;
BEGIN
    SELECT of_class.oid, of_class.relname, of_class.relkind, of_class.relispartition, namespace.nspname
    INTO target
    FROM pg_catalog.pg_class AS of_class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = of_class.relnamespace
    WHERE of_class.oid = pg_catalog.to_regclass(table_name);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    WITH RECURSIVE upward AS (
        SELECT target.oid AS id, 0 AS level
        UNION ALL
        SELECT inherits.inhparent, upward.level + 1
        FROM upward
        JOIN pg_catalog.pg_class AS part ON part.oid = upward.id AND part.relispartition
        JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhrelid = part.oid
    ), downward AS (
        SELECT id FROM upward
        UNION
        SELECT inherits.inhrelid
        FROM downward
        JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = downward.id
    )
    SELECT
        pg_catalog.array_agg(id),
        (
            SELECT pg_catalog.quote_ident(namespace.nspname) || '.' || pg_catalog.quote_ident(top.relname)
            FROM upward
            JOIN pg_catalog.pg_class AS top ON top.oid = upward.id
            JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = top.relnamespace
            ORDER BY upward.level DESC
            LIMIT 1
        )
    INTO family, root
    FROM downward;
    IF target.relkind = 'v' THEN
        -- Of a view over one table: that one, for its rows are those of the table.
        SELECT coalesce(min(reliable_imports.describe_target(of_table.oid::pg_catalog.regclass::text) ->> 'root'), root)
        INTO root
        FROM (
            SELECT DISTINCT depends.refobjid AS oid
            FROM pg_catalog.pg_rewrite AS rule
            JOIN pg_catalog.pg_depend AS depends
                ON depends.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                AND depends.objid = rule.oid
                AND depends.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND depends.refobjid <> target.oid
            WHERE rule.ev_class = target.oid
                AND rule.ev_type = '1'
        ) AS of_table
        HAVING count(*) = 1;
        root := coalesce(root, pg_catalog.quote_ident(target.nspname) || '.' || pg_catalog.quote_ident(target.relname));
    END IF;

    RETURN pg_catalog.jsonb_build_object(
        'oid', target.oid::bigint,
        'name', pg_catalog.quote_ident(target.nspname) || '.' || pg_catalog.quote_ident(target.relname),
        'root', root,
        'is_view', target.relkind = 'v',
        'version', reliable_imports.target_version(table_name),
        'columns', (
            SELECT pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_object(
                    'name', of_column.attname,
                    'type', reliable_imports.describe_type(of_column.atttypid),
                    'exact_type', pg_catalog.format_type(of_column.atttypid, of_column.atttypmod),
                    'has_default', of_column.atthasdef OR of_column.attidentity <> '',
                    'has_sequence', of_column.attidentity <> '' OR (
                        SELECT pg_catalog.pg_get_expr(fallback.adbin, fallback.adrelid) LIKE '%nextval(%'
                        FROM pg_catalog.pg_attrdef AS fallback
                        WHERE fallback.adrelid = of_column.attrelid
                            AND fallback.adnum = of_column.attnum
                    ) IS TRUE,
                    'is_always_identity', of_column.attidentity = 'a',
                    'is_generated', of_column.attgenerated <> ''
                )
                ORDER BY of_column.attnum
            )
            FROM pg_catalog.pg_attribute AS of_column
            WHERE of_column.attrelid = target.oid
                AND of_column.attnum > 0
                AND NOT of_column.attisdropped
        ),
        'indexes', (
            SELECT coalesce(pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_object(
                    'name', of_index.relname,
                    'is_constraint', unique_constraint.oid IS NOT NULL,
                    'is_immediate', index.indimmediate,
                    'predicate', pg_catalog.pg_get_expr(index.indpred, index.indrelid),
                    'nulls_are_equal', coalesce((pg_catalog.to_jsonb(index) ->> 'indnullsnotdistinct')::boolean, false),
                    'parts', (
                        SELECT pg_catalog.jsonb_agg(
                            pg_catalog.jsonb_build_object(
                                'column', of_column.attname,
                                'sql', pg_catalog.pg_get_indexdef(index.indexrelid, place::integer, true),
                                'type', reliable_imports.describe_type(part.atttypid),
                                'collation', (
                                    SELECT pg_catalog.quote_ident(namespace.nspname) || '.' || pg_catalog.quote_ident(collation_.collname)
                                    FROM pg_catalog.pg_collation AS collation_
                                    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = collation_.collnamespace
                                    WHERE collation_.oid = part.attcollation
                                        AND NOT collation_.collisdeterministic
                                )
                            )
                            ORDER BY place
                        )
                        FROM pg_catalog.generate_series(1, index.indnkeyatts) AS place
                        JOIN pg_catalog.pg_attribute AS part
                            ON part.attrelid = index.indexrelid
                            AND part.attnum = place
                        LEFT JOIN pg_catalog.pg_attribute AS of_column
                            ON of_column.attrelid = index.indrelid
                            AND of_column.attnum = index.indkey[place - 1]
                            AND of_column.attnum > 0
                    ),
                    'reads', (
                        SELECT coalesce(pg_catalog.jsonb_agg(DISTINCT of_column.attname), '[]')
                        FROM pg_catalog.pg_depend AS depends
                        JOIN pg_catalog.pg_attribute AS of_column
                            ON of_column.attrelid = depends.refobjid
                            AND of_column.attnum = depends.refobjsubid
                        WHERE depends.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                            AND depends.objid = index.indexrelid
                            AND depends.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                            AND depends.refobjid = index.indrelid
                            AND depends.refobjsubid > 0
                    )
                )
                ORDER BY index.indexrelid
            ), '[]')
            FROM pg_catalog.pg_index AS index
            JOIN pg_catalog.pg_class AS of_index ON of_index.oid = index.indexrelid
            LEFT JOIN pg_catalog.pg_constraint AS unique_constraint
                ON unique_constraint.conindid = index.indexrelid
                AND unique_constraint.conrelid = index.indrelid
                AND unique_constraint.contype IN ('p', 'u')
            WHERE index.indrelid = target.oid
                AND index.indisunique
                AND index.indisvalid
        ),
        -- With one of these, many rows in one statement are not what single statements would leave.
        'has_row_triggers', EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS trigger
            WHERE trigger.tgrelid = ANY (family)
                AND NOT trigger.tgisinternal
                AND trigger.tgenabled <> 'D'
        ),
        'has_instead_triggers', EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS trigger
            WHERE trigger.tgrelid = target.oid
                AND NOT trigger.tgisinternal
                AND trigger.tgtype::integer & 64 <> 0  -- INSTEAD OF
                AND trigger.tgtype::integer & 4 <> 0   -- INSERT
        ),
        'has_rules', EXISTS (
            SELECT FROM pg_catalog.pg_rewrite AS rule
            WHERE rule.ev_class = target.oid
                AND rule.ev_type IN ('2', '3')  -- UPDATE, INSERT
                AND rule.ev_enabled <> 'D'
        ),
        'has_row_security', CASE
            WHEN target.relkind IN ('r', 'p') THEN pg_catalog.row_security_active(target.oid)
            ELSE false
        END,
        'refers_to_itself', EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS reference
            WHERE reference.contype = 'f'
                AND reference.conrelid = ANY (family)
                AND reference.confrelid = ANY (family)
        ),
        'has_exclusions', EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS held
            WHERE held.contype = 'x'
                AND held.conrelid = ANY (family)
        ),
        'has_deferrable', EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS held
            WHERE held.condeferrable
                AND (held.conrelid = ANY (family) OR held.confrelid = ANY (family))
        ),
        -- CHECKs, defaults, generated columns and indexes that call functions of the team's own, which may look around.
        'calls_functions', EXISTS (
            SELECT
            FROM pg_catalog.pg_depend AS calls
            JOIN pg_catalog.pg_proc AS called ON called.oid = calls.refobjid
            JOIN pg_catalog.pg_language AS language ON language.oid = called.prolang
            WHERE calls.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                AND language.lanname NOT IN ('c', 'internal')
                AND (calls.classid, calls.objid) IN (
                    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, held.oid
                    FROM pg_catalog.pg_constraint AS held
                    WHERE held.conrelid = ANY (family)
                        OR held.contypid IN (
                            SELECT of_column.atttypid
                            FROM pg_catalog.pg_attribute AS of_column
                            WHERE of_column.attrelid = target.oid
                                AND of_column.attnum > 0
                        )
                    UNION ALL
                    SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, fallback.oid
                    FROM pg_catalog.pg_attrdef AS fallback
                    WHERE fallback.adrelid = ANY (family)
                    UNION ALL
                    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, index.indexrelid
                    FROM pg_catalog.pg_index AS index
                    WHERE index.indrelid = ANY (family)
                )
        )
    );
EXCEPTION WHEN insufficient_privilege OR syntax_error OR feature_not_supported OR invalid_name THEN
    RETURN NULL;
END
$$;

-- Has an item that was delivered later written the row of this key? Who wrote it does not matter.
CREATE FUNCTION reliable_imports.find_newer(
    the_key bigint, origin_batch bigint, origin_item bigint, OUT newer_batch bigint, OUT newer_item bigint
)
LANGUAGE sql VOLATILE AS $$  -- volatile: it has to see what was committed while its statement waited for a row
    SELECT writer.batch_id, writer.item_number
    FROM (
        SELECT attempt.batch_id, attempt.item_number
        FROM reliable_imports.import_attempts AS attempt
        WHERE attempt.row_key = the_key
        UNION ALL
        SELECT other.batch_id, other.item_number
        FROM reliable_imports.import_row_keys AS other
        WHERE other.row_key = the_key
    ) AS writer
    JOIN reliable_imports.import_items AS item
        ON item.batch_id = writer.batch_id
        AND item.item_number = writer.item_number
    WHERE (coalesce(item.origin_batch_id, item.batch_id), coalesce(item.origin_item_number, item.item_number))
        > (origin_batch, origin_item)
    ORDER BY writer.batch_id DESC, writer.item_number DESC
    LIMIT 1
$$;

-- Called for a row that an upsert meets, when it is locked: whether it is to be updated. What was found is left in the
-- setting reliable_imports.met, for whoever wonders why nothing was written.
CREATE FUNCTION reliable_imports.may_update(
    differs       boolean,  -- NULL: the row is to be left as it is
    the_key       bigint,
    origin_batch  bigint,   -- of an item that is repeated; NULL: it may overwrite whatever there is
    origin_item   bigint
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    newer    record;
    verdict  text := CASE WHEN differs IS NULL THEN 'there' WHEN differs THEN 'differs' ELSE 'unchanged' END;
BEGIN
    IF origin_batch IS NOT NULL THEN
        SELECT * INTO newer FROM reliable_imports.find_newer(the_key, origin_batch, origin_item);
        IF newer.newer_batch IS NOT NULL THEN
            verdict := 'newer ' || newer.newer_batch || ' ' || newer.newer_item;
        END IF;
    END IF;
    PERFORM pg_catalog.set_config('reliable_imports.met', verdict, true);
    RETURN verdict = 'differs';
END
$$;

-- Runs one write and says what became of it: 'written', with the key of the row as it is stored if the statement
-- returns that; 'moved', if a trigger has given the row another key; what may_update has found; or 'left out', by a trigger or a rule.
CREATE FUNCTION reliable_imports.run_write(
    statement text, returns_key boolean, OUT verdict text, OUT row_key bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    touched   bigint;
    as_given  boolean;
BEGIN
    PERFORM pg_catalog.set_config('reliable_imports.met', '', true);
    IF returns_key THEN
        EXECUTE statement INTO row_key, as_given;
    ELSE
        EXECUTE statement;
    END IF;
    GET DIAGNOSTICS touched = ROW_COUNT;
    verdict := CASE
        WHEN touched > 0 AND NOT as_given THEN 'moved'
        WHEN touched > 0 THEN 'written'
        ELSE coalesce(nullif(pg_catalog.current_setting('reliable_imports.met', true), ''), 'left out')
    END;
END
$$;

-- Several, in order, for one item; whatever the server refuses is the item's to hear.
CREATE FUNCTION reliable_imports.run_writes(statements text[], return_keys boolean[])
RETURNS TABLE (verdict text, row_key bigint)
LANGUAGE sql AS $$
    SELECT done.verdict, done.row_key
    FROM ROWS FROM (pg_catalog.unnest(statements), pg_catalog.unnest(return_keys)) WITH ORDINALITY AS write (statement, returns_key, place)
    CROSS JOIN LATERAL reliable_imports.run_write(write.statement, write.returns_key) AS done
    ORDER BY write.place
$$;

-- Sends the declared writes of a chunk, in item order.
--
-- An entry is one write, a statement of its own, and its owner the item that declared it. Neighbouring owners form a
-- group, which is tried as a whole in one subtransaction. If the server refuses a group, its owners are tried one by one
-- in one subtransaction, up to the one that is refused again: that owner has failed. Those before it are repeated,
-- without a subtransaction, for they were good a moment ago; those behind it are tried as a group. So a group costs one
-- subtransaction at most, however many of it fail.
--
-- What is not an entry's own fault, as far as its SQLSTATE tells, is raised again: booked as a failure of the entry, a
-- full disk would fail every item of a batch.
--
-- Subtransactions that have written are counted, and before there are more than *room* of them the function stops.
-- It returns a row for each entry of which there is something to tell, and a last one whose entry_index is the number
-- of entries that were tried, and which says how many subtransactions have written. An owner that is refused when its
-- deferred constraints are checked is told as 'not yet': another item may still bring what it needs.
CREATE FUNCTION reliable_imports.apply_writes(
    entries      text[],
    owners       integer[],
    return_keys  boolean[],
    group_ends   integer[],
    settle       text,       -- checks deferred constraints, so that they hit the owner and not the chunk's COMMIT
    room         integer
)
RETURNS TABLE (
    entry_index        integer,
    verdict            text,
    row_key            bigint,
    failed_sqlstate    text,
    failed_message     text,
    failed_detail      text,
    failed_schema      text,
    failed_table       text,
    failed_column      text,
    failed_constraint  text,
    failed_context     text,
    subtransactions    integer
)
LANGUAGE plpgsql AS $$
DECLARE
    used         integer := 0;
    first        integer := 1;
    last         integer;
    tried        integer;
    following    integer;
    is_settling  boolean;
    verdicts     text[] := '{}';
    row_keys     bigint[] := '{}';
    done         record;
BEGIN
    FOR number IN 1 .. coalesce(pg_catalog.cardinality(group_ends), 0) LOOP
        last := group_ends[number];
        WHILE first <= last AND used < room LOOP
            is_settling := false;
            BEGIN
                FOR entry IN first .. last LOOP
                    done := reliable_imports.run_write(entries[entry], return_keys[entry]);
                    verdicts[entry] := done.verdict;
                    row_keys[entry] := done.row_key;
                    -- After each owner, and not at the end: what its neighbours bring later does not count.
                    IF settle IS NOT NULL AND (entry = last OR owners[entry + 1] <> owners[entry]) THEN
                        is_settling := true;
                        EXECUTE settle;
                        is_settling := false;
                    END IF;
                END LOOP;
                used := used + 1;
                first := last + 1;
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
                IF reliable_imports.fault_of(failed_sqlstate) <> 'item' THEN
                    RAISE;
                END IF;
            END;
            tried := first;
            IF owners[first] <> owners[last] THEN
                BEGIN
                    WHILE tried <= last LOOP
                        is_settling := false;
                        following := tried;
                        WHILE following <= last AND owners[following] = owners[tried] LOOP
                            done := reliable_imports.run_write(entries[following], return_keys[following]);
                            verdicts[following] := done.verdict;
                            row_keys[following] := done.row_key;
                            following := following + 1;
                        END LOOP;
                        IF settle IS NOT NULL THEN
                            is_settling := true;
                            EXECUTE settle;
                        END IF;
                        tried := following;
                    END LOOP;
                    used := used + 1;
                    first := tried;
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
                    IF reliable_imports.fault_of(failed_sqlstate) <> 'item' THEN
                        RAISE;
                    END IF;
                END;
                FOR good IN first .. tried - 1 LOOP
                    done := reliable_imports.run_write(entries[good], return_keys[good]);
                    verdicts[good] := done.verdict;
                    row_keys[good] := done.row_key;
                END LOOP;
                IF tried > first AND settle IS NOT NULL THEN
                    EXECUTE settle;
                END IF;
            END IF;
            following := tried;
            WHILE following <= last AND owners[following] = owners[tried] LOOP
                verdicts[following] := NULL;
                following := following + 1;
            END LOOP;
            entry_index := tried - 1;
            verdict := CASE WHEN is_settling THEN 'not yet' ELSE 'refused' END;
            RETURN NEXT;
            first := following;
        END LOOP;
        EXIT WHEN first <= last;
    END LOOP;
    failed_sqlstate := NULL;
    FOR entry IN 1 .. first - 1 LOOP
        IF verdicts[entry] IS NOT NULL THEN
            entry_index := entry - 1;
            verdict := verdicts[entry];
            row_key := row_keys[entry];
            RETURN NEXT;
        END IF;
    END LOOP;
    entry_index := first - 1;
    verdict := NULL;
    subtransactions := used;
    RETURN NEXT;
END
$$;
