-- A table, or a view, as something to write to. NULL if there is none of this name, or this role may not look.
CREATE OR REPLACE FUNCTION reliable_imports.describe_target_v1(table_name text)
RETURNS jsonb
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
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
        SELECT coalesce(min(reliable_imports.describe_target_v1(of_table.oid::pg_catalog.regclass::text) ->> 'root'), root)
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
        'version', reliable_imports.target_version_v1(table_name),
        'columns', (
            SELECT pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_object(
                    'name', of_column.attname,
                    'type', kind.described,
                    'exact_type', pg_catalog.format_type(of_column.atttypid, of_column.atttypmod),
                    'has_default', of_column.atthasdef OR of_column.attidentity <> '',
                    'has_sequence', of_column.attidentity <> '' OR (
                        SELECT pg_catalog.pg_get_expr(fallback.adbin, fallback.adrelid) LIKE '%nextval(%'
                        FROM pg_catalog.pg_attrdef AS fallback
                        WHERE fallback.adrelid = of_column.attrelid
                            AND fallback.adnum = of_column.attnum
                    ) IS TRUE,
                    'is_always_identity', of_column.attidentity = 'a',
                    'is_generated', of_column.attgenerated <> '',
                    'is_not_null', narrowed.is_not_null,
                    'modifier', narrowed.modifier
                )
                ORDER BY of_column.attnum
            )
            FROM pg_catalog.pg_attribute AS of_column
            JOIN (
                -- Each once: most columns are of a few types.
                SELECT of_columns.atttypid, reliable_imports.describe_type_v1(of_columns.atttypid) AS described
                FROM (
                    SELECT DISTINCT atttypid
                    FROM pg_catalog.pg_attribute
                    WHERE attrelid = target.oid
                        AND attnum > 0
                        AND NOT attisdropped
                ) AS of_columns
                OFFSET 0
            ) AS kind ON kind.atttypid = of_column.atttypid
            CROSS JOIN LATERAL (
                -- By the column, and by the domains that it is of.
                WITH RECURSIVE within AS (
                    SELECT
                        of_column.atttypid AS id, of_column.attnotnull AS is_not_null, of_column.atttypmod AS modifier
                    UNION ALL
                    SELECT domain.typbasetype, domain.typnotnull, domain.typtypmod
                    FROM within
                    JOIN pg_catalog.pg_type AS domain ON domain.oid = within.id AND domain.typtype = 'd'
                )
                SELECT pg_catalog.bool_or(is_not_null) AS is_not_null, max(modifier) AS modifier
                FROM within
            ) AS narrowed
            WHERE of_column.attrelid = target.oid
                AND of_column.attnum > 0
                AND NOT of_column.attisdropped
        ),
        'indexes', (
            SELECT coalesce(pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_object(
                    'name', of_index.relname,
                    'names', (
                        -- An index of a partition bears a name of its own.
                        WITH RECURSIVE same AS (
                            SELECT index.indexrelid AS id
                            UNION ALL
                            SELECT inherits.inhrelid
                            FROM same
                            JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = same.id
                        )
                        SELECT pg_catalog.jsonb_agg(DISTINCT part.relname)
                        FROM same
                        JOIN pg_catalog.pg_class AS part ON part.oid = same.id
                    ),
                    'is_constraint', unique_constraint.oid IS NOT NULL,
                    'is_primary', index.indisprimary,
                    'is_immediate', index.indimmediate,
                    'predicate', pg_catalog.pg_get_expr(index.indpred, index.indrelid),
                    'nulls_are_equal', coalesce((pg_catalog.to_jsonb(index) ->> 'indnullsnotdistinct')::boolean, false),
                    'is_readable', NOT EXISTS (
                        SELECT
                        FROM pg_catalog.unnest(index.indkey) WITH ORDINALITY AS part (number, place)
                        WHERE part.number <> 0
                            AND NOT pg_catalog.has_column_privilege(target.oid, part.number, 'SELECT')
                    ),
                    'finds_by_equality', NOT EXISTS (
                        SELECT
                        FROM pg_catalog.unnest(index.indclass) AS part
                        JOIN pg_catalog.pg_opclass AS class ON class.oid = part
                        WHERE NOT class.opcdefault
                    ),
                    'parts', (
                        SELECT pg_catalog.jsonb_agg(
                            pg_catalog.jsonb_build_object(
                                'column', of_column.attname,
                                'sql', pg_catalog.pg_get_indexdef(index.indexrelid, place::integer, true),
                                'type', reliable_imports.describe_type_v1(part.atttypid),
                                'collation', (
                                    SELECT pg_catalog.quote_ident(namespace.nspname) || '.' || pg_catalog.quote_ident(collation_.collname)
                                    FROM pg_catalog.pg_collation AS collation_
                                    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = collation_.collnamespace
                                    WHERE collation_.oid = part.attcollation
                                        AND NOT collation_.collisdeterministic
                                ),
                                -- The schema of a type need not be searched for `=`.
                                'equals', (
                                    SELECT pg_catalog.quote_ident(of_operator.nspname) || '.' || operator.oprname
                                    FROM pg_catalog.pg_opclass AS class
                                    JOIN pg_catalog.pg_amop AS member
                                        ON member.amopfamily = class.opcfamily
                                        AND member.amoplefttype = class.opcintype
                                        AND member.amoprighttype = class.opcintype
                                        AND member.amopstrategy = 3  -- of a B-tree: equal
                                    JOIN pg_catalog.pg_operator AS operator ON operator.oid = member.amopopr
                                    JOIN pg_catalog.pg_namespace AS of_operator ON of_operator.oid = operator.oprnamespace
                                    WHERE class.oid = index.indclass[place - 1]
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
        -- What rows can be held to before the server does: foreign keys whose parents this role can see, and CHECKs.
        'references', (
            SELECT coalesce(pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_object(
                    'name', reference.conname,
                    'names', (
                        -- So does a foreign key of a table that became a partition later.
                        WITH RECURSIVE same AS (
                            SELECT reference.oid AS id, reference.conname
                            UNION ALL
                            SELECT part.oid, part.conname
                            FROM same
                            JOIN pg_catalog.pg_constraint AS part ON part.conparentid = same.id
                        )
                        SELECT pg_catalog.jsonb_agg(DISTINCT same.conname)
                        FROM same
                    ),
                    'parent', pg_catalog.quote_ident(namespace.nspname) || '.' || pg_catalog.quote_ident(parent.relname),
                    'is_full', reference.confmatchtype = 'f',
                    'pairs', (
                        SELECT pg_catalog.jsonb_agg(
                            pg_catalog.jsonb_build_object(
                                'column', own.attname,
                                'parent_column', of_parent.attname,
                                'operator', pg_catalog.quote_ident(of_operator.nspname) || '.' || operator.oprname
                            )
                            ORDER BY place
                        )
                        FROM pg_catalog.generate_subscripts(reference.conkey, 1) AS place
                        JOIN pg_catalog.pg_attribute AS own
                            ON own.attrelid = reference.conrelid
                            AND own.attnum = reference.conkey[place]
                        JOIN pg_catalog.pg_attribute AS of_parent
                            ON of_parent.attrelid = reference.confrelid
                            AND of_parent.attnum = reference.confkey[place]
                        JOIN pg_catalog.pg_operator AS operator ON operator.oid = reference.conpfeqop[place]
                        JOIN pg_catalog.pg_namespace AS of_operator ON of_operator.oid = operator.oprnamespace
                    )
                )
            ), '[]')
            FROM pg_catalog.pg_constraint AS reference
            JOIN pg_catalog.pg_class AS parent ON parent.oid = reference.confrelid
            JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = parent.relnamespace
            WHERE reference.contype = 'f'
                AND reference.conrelid = target.oid
                -- The server notes one for each partition of the parent, beside that for all of them.
                AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_constraint AS whole
                    WHERE whole.oid = reference.conparentid
                        AND whole.conrelid = reference.conrelid
                )
                AND coalesce((pg_catalog.to_jsonb(reference) ->> 'conenforced')::boolean, true)
                AND NOT coalesce((pg_catalog.to_jsonb(reference) ->> 'conperiod')::boolean, false)
                AND pg_catalog.has_schema_privilege(parent.relnamespace, 'USAGE')
                AND NOT pg_catalog.row_security_active(parent.oid)
                AND NOT EXISTS (
                    SELECT FROM pg_catalog.unnest(reference.confkey) AS part
                    WHERE NOT pg_catalog.has_column_privilege(parent.oid, part, 'SELECT')
                )
        ),
        'checks', (
            SELECT coalesce(pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_object(
                    'name', held.conname,
                    'sql', pg_catalog.pg_get_expr(held.conbin, held.conrelid),
                    'reads', (
                        SELECT pg_catalog.jsonb_agg(of_column.attname)
                        FROM pg_catalog.pg_attribute AS of_column
                        WHERE of_column.attrelid = held.conrelid
                            AND of_column.attnum = ANY (held.conkey)
                    )
                )
            ), '[]')
            FROM pg_catalog.pg_constraint AS held
            WHERE held.contype = 'c'
                AND held.conrelid = target.oid
                AND coalesce((pg_catalog.to_jsonb(held) ->> 'conenforced')::boolean, true)
                AND 0 < ALL (held.conkey)  -- 0 is the whole row
        ),
        -- Whether anything else refuses a row before the server looks for one that stands: a CHECK of whole rows or of
        -- no column, a domain, and what only a partition wants.
        'has_other_checks', (
            EXISTS (
                SELECT FROM pg_catalog.pg_constraint AS held
                WHERE held.contype = 'c'
                    AND held.conrelid = target.oid
                    AND (0 < ALL (held.conkey)) IS NOT TRUE
            )
            OR EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS of_column
                JOIN pg_catalog.pg_type AS of_type ON of_type.oid = of_column.atttypid
                WHERE of_column.attrelid = target.oid
                    AND of_column.attnum > 0
                    AND of_type.typtype = 'd'
            )
            OR (
                target.relkind = 'p'
                AND (
                    EXISTS (
                        SELECT FROM pg_catalog.pg_constraint AS held
                        WHERE held.contype = 'c'
                            AND held.conrelid = ANY (family)
                            AND held.conname NOT IN (
                                SELECT conname FROM pg_catalog.pg_constraint WHERE conrelid = target.oid AND contype = 'c'
                            )
                    )
                    OR EXISTS (
                        SELECT FROM pg_catalog.pg_attribute AS of_partition
                        JOIN pg_catalog.pg_attribute AS of_column
                            ON of_column.attrelid = target.oid
                            AND of_column.attname = of_partition.attname
                        WHERE of_partition.attrelid = ANY (family)
                            AND of_partition.attnotnull
                            AND NOT of_column.attnotnull
                    )
                )
            )
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
        ) OR EXISTS (
            SELECT FROM pg_catalog.pg_index AS of_partition
            JOIN pg_catalog.pg_class AS index ON index.oid = of_partition.indexrelid
            WHERE of_partition.indrelid = ANY (family)
                AND of_partition.indrelid <> target.oid
                AND of_partition.indisunique
                AND NOT index.relispartition
                AND index.relkind = 'i'
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
