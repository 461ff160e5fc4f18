-- Called for a row that an upsert meets, when it is locked: whether it is to be updated. What was found is left in the
-- setting reliable_imports.met, for whoever wonders why nothing was written.
CREATE OR REPLACE FUNCTION reliable_imports.may_update_v1(
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
        SELECT * INTO newer FROM reliable_imports.find_newer_v1(the_key, origin_batch, origin_item);
        IF newer.newer_batch IS NOT NULL THEN
            verdict := 'newer ' || newer.newer_batch || ' ' || newer.newer_item;
        END IF;
    END IF;
    PERFORM pg_catalog.set_config('reliable_imports.met', verdict, true);
    RETURN verdict = 'differs';
END
$$;
