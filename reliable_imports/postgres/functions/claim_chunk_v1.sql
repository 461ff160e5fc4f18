-- The range is locked by this transaction and by nothing else: if the worker dies, it is free at once. Items never
-- change, so those that this worker has read already (up to have_until) are not read again.
--
-- A range is suspect if a run that has no end was about to work on it, or did, and is gone: one of its items may have
-- killed it. If such a run is still there, the range is shared: that run may be preparing the range's items, or be
-- between two chunks, or have died this moment. has_elder tells whether one of those is older than the run that claims,
-- and is_published whether this run has published the range itself.
--
-- The first row tells of the claim (transaction, range, where it stands and ends, is_suspect, is_shared, has_elder,
-- is_published), the others are the items; there are none for a range that is suspect or shared, unless it is to be taken
-- anyway. What few items have is in `more`, for each column of each row takes its time: read_problem, read_problem_kind,
-- earlier_attempts, origin_batch_id, origin_item_number, attempt, duplicate_of, and whether a duplicate fails.
--
-- A function, so that its plans are made once in a session; left alone, the server would make each of them six times.
CREATE OR REPLACE FUNCTION reliable_imports.claim_chunk_v1(
    the_batch   bigint,
    the_run     bigint,
    from_range  integer,
    have_range  integer,
    have_until  bigint,
    max_items   integer,
    max_bytes   bigint,
    take_anyway boolean
)
RETURNS TABLE (
    claim               bigint[],
    item_number         integer,
    source_data         text,
    source_raw          bytea,
    source_line         integer,
    source_offset       bigint,
    more                text  -- an array of JSON: the driver reads no JSON for rows that have none
)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    claimed         record;
    known           record;
    from_item       bigint;
    last_item       bigint;
    repeats_others  boolean;
    has_duplicates  boolean;
    wanted          record;
BEGIN
    SELECT open_range.range_number, open_range.next_item, open_range.last_item
    INTO claimed
    FROM reliable_imports.import_ranges AS open_range
    WHERE open_range.batch_id = the_batch
        AND open_range.is_open
        AND open_range.range_number >= from_range
        AND EXISTS (
            SELECT FROM reliable_imports.import_batches AS batch
            WHERE batch.id = the_batch
                AND batch.status = 'processing'
        )
    ORDER BY open_range.range_number
    LIMIT 1
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    SELECT
        coalesce(pg_catalog.bool_or(NOT lives), false) OR EXISTS (
            SELECT FROM reliable_imports.import_suspects AS suspect
            WHERE suspect.batch_id = the_batch
                AND suspect.range_number = claimed.range_number
        ) AS is_suspect,
        coalesce(pg_catalog.bool_or(lives), false) AND claimed.range_number <> have_range AS is_shared,
        coalesce(pg_catalog.bool_or(lives AND id < the_run), false) AS has_elder,
        coalesce(pg_catalog.bool_or(id = the_run), false) AS is_published
    INTO known
    FROM (
        SELECT run.id, CASE WHEN run.id <> the_run THEN reliable_imports.run_has_session_v1(run) END AS lives
        FROM reliable_imports.import_runs AS run
        WHERE run.batch_id = the_batch
            AND run.range_number = claimed.range_number
            AND run.ended_at IS NULL
        OFFSET 0  -- looks for each session once
    ) AS run;
    RETURN QUERY
    SELECT
        ARRAY[
            pg_catalog.txid_current(),
            claimed.range_number,
            claimed.next_item,
            claimed.last_item,
            known.is_suspect::integer,
            known.is_shared::integer,
            known.has_elder::integer,
            known.is_published::integer
        ],
        NULL::integer, NULL::text, NULL::bytea, NULL::integer, NULL::bigint, NULL::text;
    IF NOT take_anyway AND (known.is_suspect OR known.is_shared) THEN
        RETURN;
    END IF;

    from_item := claimed.next_item;
    last_item := least(claimed.last_item, claimed.next_item + max_items - 1);
    IF claimed.range_number = have_range THEN
        from_item := greatest(claimed.next_item, have_until + 1);
        last_item := least(claimed.last_item, from_item + max_items - 1);
    END IF;
    -- Summed first, for a running sum costs as much as reading the items; and what is compressed may be a hundred times as
    -- large when it is read. Servers before 14 do not tell that.
    IF pg_catalog.current_setting('server_version_num')::integer < 140000 THEN
        SELECT
            sum(coalesce(pg_catalog.pg_column_size(stored.source_data), pg_catalog.pg_column_size(stored.source_raw))) AS bytes,
            false AS are_compressed
        INTO wanted
        FROM reliable_imports.stored_items AS stored
        WHERE stored.batch_id = the_batch
            AND stored.item_number BETWEEN from_item AND last_item;
    ELSE
        SELECT
            sum(coalesce(pg_catalog.pg_column_size(stored.source_data), pg_catalog.pg_column_size(stored.source_raw))) AS bytes,
            count(coalesce(
                pg_catalog.pg_column_compression(stored.source_data), pg_catalog.pg_column_compression(stored.source_raw)
            )) > 0 AS are_compressed
        INTO wanted
        FROM reliable_imports.stored_items AS stored
        WHERE stored.batch_id = the_batch
            AND stored.item_number BETWEEN from_item AND last_item;
    END IF;
    IF wanted.are_compressed OR wanted.bytes > max_bytes THEN
        SELECT max(sized.item_number)
        INTO last_item
        FROM (
            SELECT
                stored.item_number,
                sum(coalesce(
                    pg_catalog.octet_length(stored.source_data::text), pg_catalog.octet_length(stored.source_raw)
                )) OVER (
                    ORDER BY stored.item_number
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM reliable_imports.stored_items AS stored
            WHERE stored.batch_id = the_batch
                AND stored.item_number BETWEEN from_item AND last_item
        ) AS sized
        WHERE coalesce(sized.bytes_before, 0) < max_bytes;
    END IF;

    repeats_others := (
        SELECT batch.reprocess_of IS NOT NULL FROM reliable_imports.import_batches AS batch WHERE batch.id = the_batch
    );
    has_duplicates := EXISTS (SELECT FROM reliable_imports.import_duplicates AS any_of WHERE any_of.batch_id = the_batch);
    -- Most items have their own data, and no other of their key: nothing is to be looked up for each of them.
    IF NOT repeats_others AND NOT has_duplicates THEN
        RETURN QUERY
        SELECT
            NULL::bigint[],
            item.item_number,
            item.source_data::text,
            item.source_raw,
            item.source_line,
            item.source_offset,
            CASE
                WHEN item.read_problem IS NOT NULL OR item.read_problem_kind IS NOT NULL
                THEN pg_catalog.json_build_array(item.read_problem, item.read_problem_kind)::text
            END
        FROM reliable_imports.import_items AS item
        WHERE item.batch_id = the_batch
            AND item.item_number BETWEEN from_item AND last_item
        ORDER BY item.item_number;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT
        NULL::bigint[],
        stored.item_number,
        stored.source_data::text,
        stored.source_raw,
        stored.source_line,
        stored.source_offset,
        CASE
            WHEN repeats_others
                OR duplicate.duplicate_of IS NOT NULL
                OR stored.read_problem IS NOT NULL
                OR stored.read_problem_kind IS NOT NULL
            THEN pg_catalog.json_build_array(
                stored.read_problem,
                stored.read_problem_kind,
                stored.earlier_attempts,
                stored.origin_batch_id,
                stored.origin_item_number,
                stored.earlier_attempts + 1,
                duplicate.duplicate_of,
                duplicate.fails
            )::text
        END
    FROM reliable_imports.stored_items AS stored
    LEFT JOIN reliable_imports.import_duplicates AS duplicate
        ON duplicate.batch_id = the_batch
        AND duplicate.item_number = stored.item_number
    WHERE stored.batch_id = the_batch
        AND stored.item_number BETWEEN from_item AND last_item
    ORDER BY stored.item_number;
END
$$;
