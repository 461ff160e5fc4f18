-- What an item holds in the field of a fault that has no value of its own.
CREATE OR REPLACE FUNCTION reliable_imports.field_of_item_v1(
    source_data  json,
    field        text,
    sqlstate     text,
    sensitive    text[],
    OUT value      text,
    OUT is_empty   boolean,
    OUT is_masked  boolean
)
LANGUAGE sql STABLE AS $$
    SELECT
        pg_catalog.left(held.value, 200),
        CASE
            WHEN held.value IS NOT NULL THEN held.value = ''
            -- A column need not be called as the item's field is.
            WHEN held.kind IS NULL THEN (sqlstate IS NULL AND pg_catalog.strpos(field, '*') = 0) OR sqlstate = '23502'
            ELSE held.kind = 'null'
        END,
        held.value IS NOT NULL AND pg_catalog.cardinality(sensitive) > 0
    FROM (
        SELECT
            pg_catalog.json_typeof(found.value) AS kind,
            CASE
                WHEN pg_catalog.json_typeof(found.value) IN ('string', 'number', 'boolean')
                THEN pg_catalog.json_build_array(found.value) ->> 0
            END AS value
        FROM (
            SELECT
                CASE
                    WHEN pg_catalog.json_typeof(source_data) = 'object' THEN coalesce(
                        source_data -> field,
                        source_data #> pg_catalog.string_to_array(field, '.')
                    )
                END AS value
        ) AS found
    ) AS held
$$;
