-- Which of these keys the table that a foreign key refers to holds now. What cannot be asked for is as if it were not
-- there: a table that this role may not read, a key of several columns with the separator in one of its values.
CREATE OR REPLACE FUNCTION reliable_imports.present_keys_v1(reference oid, keys text[]) RETURNS SETOF text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    parent   text;
    matches  text;
    width    integer;
BEGIN
    SELECT
        min(pg_catalog.format('%I.%I', space.nspname, class.relname)),
        pg_catalog.string_agg(
            pg_catalog.format(
                'parent.%I = wanted.parts[%s]::%s',
                theirs.attname, position.number, pg_catalog.format_type(ours.atttypid, NULL)
            ),
            ' AND '
        ),
        count(*)
    INTO parent, matches, width
    FROM pg_catalog.pg_constraint AS con
    JOIN pg_catalog.pg_class AS class ON class.oid = con.confrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    CROSS JOIN LATERAL pg_catalog.generate_subscripts(con.conkey, 1) AS position (number)
    JOIN pg_catalog.pg_attribute AS ours ON ours.attrelid = con.conrelid AND ours.attnum = con.conkey[position.number]
    JOIN pg_catalog.pg_attribute AS theirs
        ON theirs.attrelid = con.confrelid
        AND theirs.attnum = con.confkey[position.number]
    WHERE con.oid = reference
        AND pg_catalog.has_schema_privilege(space.oid, 'USAGE')
        AND pg_catalog.has_table_privilege(class.oid, 'SELECT');
    IF parent IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE pg_catalog.format(
        'SELECT wanted.key
        FROM (
            SELECT key, CASE WHEN %1$s = 1 THEN ARRAY[key] ELSE pg_catalog.string_to_array(key, '', '') END AS parts
            FROM pg_catalog.unnest($1) AS key
        ) AS wanted
        WHERE pg_catalog.cardinality(wanted.parts) = %1$s
            AND EXISTS (SELECT FROM %2$s AS parent WHERE %3$s)',
        width, parent, matches
    ) USING keys;
EXCEPTION
    WHEN data_exception THEN  -- the columns have other types than when the items failed
        RETURN;
END
$$;
