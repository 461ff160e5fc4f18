-- Sends the declared writes of a chunk, in item order.
--
-- An entry is one write, a statement of its own, and its owner the item that declared it. Neighbouring owners form a
-- group, which is tried in one subtransaction, up to the owner that the server refuses: that one has failed. Those before
-- it were undone with it and are repeated without a subtransaction, for they were good a moment ago; those behind it are
-- tried as a group. So a group costs one subtransaction at most, however many of it fail.
--
-- What is not an entry's own fault, as far as its SQLSTATE tells, is raised again: booked as a failure of the entry, a
-- full disk would fail every item of a batch.
--
-- Subtransactions that have written are counted, and before there are more than *room* of them the function stops.
-- It returns a row for each entry of which there is something to tell, and a last one whose entry_index is the number
-- of entries that were tried, and which says how many subtransactions have written. An owner that is refused when its
-- deferred constraints are checked is told as 'waits for others': another item may still bring what it needs.
CREATE OR REPLACE FUNCTION reliable_imports.apply_writes_v1(
    entries         text[],
    owners          integer[],
    return_keys     boolean[],
    group_ends      integer[],
    check_deferred  text,       -- a statement, so that they hit the owner and not the chunk's COMMIT
    room            integer
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
    is_deferred  boolean;
    verdicts     text[] := '{}';
    row_keys     bigint[] := '{}';
    done         record;
BEGIN
    FOR number IN 1 .. coalesce(pg_catalog.cardinality(group_ends), 0) LOOP
        last := group_ends[number];
        WHILE first <= last AND used < room LOOP
            BEGIN
                tried := first;
                WHILE tried <= last LOOP
                    is_deferred := false;
                    following := tried;
                    WHILE following <= last AND owners[following] = owners[tried] LOOP
                        done := reliable_imports.run_write_v1(entries[following], return_keys[following]);
                        verdicts[following] := done.verdict;
                        row_keys[following] := done.row_key;
                        following := following + 1;
                    END LOOP;
                    -- After each owner, and not at the end: what its neighbours bring later does not count.
                    IF check_deferred IS NOT NULL THEN
                        is_deferred := true;
                        EXECUTE check_deferred;
                    END IF;
                    tried := following;
                END LOOP;
                used := used + 1;
                first := tried;
                CONTINUE;
            EXCEPTION WHEN OTHERS THEN
                IF reliable_imports.fault_of_v1(SQLSTATE) <> 'item' THEN
                    RAISE;
                END IF;
                GET STACKED DIAGNOSTICS
                    failed_sqlstate = RETURNED_SQLSTATE,
                    failed_message = MESSAGE_TEXT,
                    failed_detail = PG_EXCEPTION_DETAIL,
                    failed_schema = SCHEMA_NAME,
                    failed_table = TABLE_NAME,
                    failed_column = COLUMN_NAME,
                    failed_constraint = CONSTRAINT_NAME,
                    failed_context = PG_EXCEPTION_CONTEXT;
            END;
            FOR good IN first .. tried - 1 LOOP
                done := reliable_imports.run_write_v1(entries[good], return_keys[good]);
                verdicts[good] := done.verdict;
                row_keys[good] := done.row_key;
            END LOOP;
            IF tried > first AND check_deferred IS NOT NULL THEN
                EXECUTE check_deferred;
            END IF;
            following := tried;
            WHILE following <= last AND owners[following] = owners[tried] LOOP
                verdicts[following] := NULL;
                following := following + 1;
            END LOOP;
            entry_index := tried - 1;
            verdict := CASE WHEN is_deferred THEN 'waits for others' ELSE 'refused' END;
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
