-- What changes when somebody alters the table: rows that travel as columns say what they were made for.
CREATE OR REPLACE FUNCTION reliable_imports.target_version_v1(table_name text)
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
