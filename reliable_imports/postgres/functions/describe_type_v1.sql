-- A type as a value for it has to be written: what to cast a text to (without a length, so that the assignment to the
-- column refuses what is too long), its kind, and the types that it is made of.
CREATE OR REPLACE FUNCTION reliable_imports.describe_type_v1(type_id oid)
RETURNS jsonb
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
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
        RETURN reliable_imports.describe_type_v1(kind.typbasetype);
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
                (reliable_imports.describe_type_v1(kind.typelem) -> 'is_hashable')::boolean
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
        'element', CASE WHEN kind.typcategory = 'A' AND kind.typlen = -1 THEN reliable_imports.describe_type_v1(kind.typelem) END,
        'attributes', (
            SELECT pg_catalog.jsonb_agg(
                pg_catalog.jsonb_build_array(attribute.attname, reliable_imports.describe_type_v1(attribute.atttypid))
                ORDER BY attribute.attnum
            )
            FROM pg_catalog.pg_attribute AS attribute
            WHERE kind.typtype = 'c'
                AND attribute.attrelid = kind.typrelid
                AND attribute.attnum > 0
                AND NOT attribute.attisdropped
        ),
        'labels', (
            SELECT pg_catalog.jsonb_agg(label.enumlabel ORDER BY label.enumsortorder)
            FROM pg_catalog.pg_enum AS label
            WHERE label.enumtypid = kind.oid
        )
    );
END
$$;
