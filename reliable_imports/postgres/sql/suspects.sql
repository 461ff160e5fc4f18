-- Items that kill their worker: what is known of them, and who looks for them.

-- name: take_search_lock
-- Of several workers one looks for a killer: each of them would have to see it kill a child twice.
SELECT pg_catalog.pg_try_advisory_xact_lock(
    pg_catalog.hashtextextended(
        pg_catalog.format('reliable_imports suspects %%s %%s', %(batch_id)s, %(range_number)s), 0
    )
)

-- name: suspect
-- Not of a batch that has ended meanwhile: whoever closes it forgets its suspects, under the same lock.
INSERT INTO reliable_imports.import_suspects AS suspect (batch_id, range_number, item_number, run_id, deaths, how)
SELECT batch.id, %(range_number)s, %(item_number)s, %(run_id)s, %(deaths)s, %(how)s
FROM reliable_imports.import_batches AS batch
WHERE batch.id = %(batch_id)s
    AND batch.status IN ('processing', 'paused')
FOR SHARE
ON CONFLICT (batch_id, range_number, item_number, run_id) DO UPDATE
SET deaths = excluded.deaths,
    how = excluded.how
WHERE suspect.deaths < excluded.deaths

-- name: lone_deaths
SELECT item_number, sum(deaths)::integer, max(how)
FROM reliable_imports.import_suspects
WHERE batch_id = %(batch_id)s
    AND range_number = %(range_number)s
    AND deaths > 0
GROUP BY item_number

-- name: note_lone_item
-- Of no use after a crash of the server, so its disk is not waited for.
BEGIN;
SET LOCAL synchronous_commit = off;
UPDATE reliable_imports.import_runs
SET lone_item = CASE
        WHEN %(range_number)s <> reliable_imports.retries_range_v1() THEN (
            SELECT next_item
            FROM reliable_imports.import_ranges
            WHERE batch_id = %(batch_id)s
                AND range_number = %(range_number)s
                AND is_open
                AND (%(until)s::bigint IS NULL OR next_item <= %(until)s)
        )
        ELSE (
            -- The one that claim_retries is going to claim.
            SELECT next.item_number
            FROM reliable_imports.due_retries_v1(%(batch_id)s) AS next
            ORDER BY next.place
            LIMIT 1
        )
    END
WHERE id = %(run_id)s;
COMMIT

-- name: losses
-- Items without an outcome that another run tried alone and left without its end.
SELECT run.lone_item, reliable_imports.run_has_session_v1(run)
FROM reliable_imports.import_runs AS run
WHERE run.batch_id = %(batch_id)s
    AND run.id <> %(run_id)s
    AND run.ended_at IS NULL
    AND CASE
        WHEN %(range_number)s <> reliable_imports.retries_range_v1() THEN EXISTS (
            SELECT FROM reliable_imports.import_ranges AS held
            WHERE held.batch_id = %(batch_id)s
                AND held.range_number = %(range_number)s
                AND run.lone_item BETWEEN held.next_item AND held.last_item
        )
        ELSE EXISTS (
            SELECT FROM reliable_imports.import_retries AS retry
            WHERE retry.batch_id = %(batch_id)s
                AND retry.item_number = run.lone_item
        )
    END

-- name: postpone_suspect
-- Until the others are done, with what is known of it.
SELECT reliable_imports.postpone_item_v1(%(batch_id)s, %(range_number)s, %(item_number)s);
INSERT INTO reliable_imports.import_suspects (batch_id, range_number, item_number, run_id, deaths, how)
SELECT batch_id, reliable_imports.retries_range_v1(), item_number, run_id, deaths, how
FROM reliable_imports.import_suspects
WHERE batch_id = %(batch_id)s
    AND range_number = %(range_number)s
    AND item_number = %(item_number)s
UNION ALL
SELECT %(batch_id)s, reliable_imports.retries_range_v1(), reliable_imports.any_item_v1(), %(run_id)s, 0, NULL
ON CONFLICT DO NOTHING

-- name: forget_losses
UPDATE reliable_imports.import_runs
SET lone_item = NULL
WHERE batch_id = %(batch_id)s
    AND lone_item = ANY (%(items)s::bigint[])

-- name: last_in_hand
-- A worker that died had at most so many items in hand.
SELECT next_item + %(most)s - 1
FROM reliable_imports.import_ranges
WHERE batch_id = %(batch_id)s
    AND range_number = %(range_number)s

-- name: clear_range
-- Where the items have been tried: of a batch that was paused meanwhile, they have not. What dead runs have said of the
-- range ends with it: the items behind were in nobody's hand.
WITH tried AS (
    SELECT
    WHERE NOT EXISTS (
        SELECT FROM reliable_imports.import_ranges AS held
        WHERE held.batch_id = %(batch_id)s
            AND held.range_number = %(range_number)s
            AND held.is_open
            AND held.next_item <= %(until)s
    )
), settled AS (
    UPDATE reliable_imports.import_runs AS run
    SET range_number = NULL
    FROM tried
    WHERE run.batch_id = %(batch_id)s
        AND run.range_number = %(range_number)s
        AND run.ended_at IS NULL
        AND run.id <> %(run_id)s
        AND NOT reliable_imports.run_has_session_v1(run)
)
DELETE FROM reliable_imports.import_suspects AS suspect
USING tried
WHERE suspect.batch_id = %(batch_id)s
    AND suspect.range_number = %(range_number)s
    AND suspect.item_number <= %(until)s

-- name: clear_retries
-- Those that wait are still suspect, if they are known by name. What dead runs have said of a range ends with it; of
-- items that are tried again it would never end.
WITH worked AS (
    SELECT id
    FROM reliable_imports.import_batches
    WHERE id = %(batch_id)s
        AND status = 'processing'
), settled AS (
    UPDATE reliable_imports.import_runs AS run
    SET range_number = NULL
    FROM worked
    WHERE run.batch_id = worked.id
        AND run.range_number = reliable_imports.retries_range_v1()
        AND run.ended_at IS NULL
        AND run.id <> %(run_id)s
        AND NOT reliable_imports.run_has_session_v1(run)
)
DELETE FROM reliable_imports.import_suspects AS suspect
USING worked
WHERE suspect.batch_id = worked.id
    AND suspect.range_number = reliable_imports.retries_range_v1()
    AND NOT EXISTS (
        SELECT FROM reliable_imports.import_retries AS retry
        WHERE retry.batch_id = suspect.batch_id
            AND retry.item_number = suspect.item_number
            AND suspect.deaths > 0
    )

-- name: clear_all
DELETE FROM reliable_imports.import_suspects
WHERE batch_id = %(batch_id)s

-- name: range_of
SELECT range_number
FROM reliable_imports.import_ranges
WHERE batch_id = %(batch_id)s
    AND %(item_number)s BETWEEN next_item AND last_item
    AND range_number <> reliable_imports.retries_range_v1()

-- name: published_range
SELECT range_number
FROM reliable_imports.import_runs
WHERE id = %(run_id)s

-- name: repeats_killers
-- Is one of the items known to kill its worker?
SELECT EXISTS (
    SELECT
    FROM reliable_imports.import_items AS item
    CROSS JOIN LATERAL (
        SELECT attempt.error_type
        FROM reliable_imports.import_attempts AS attempt
        WHERE attempt.batch_id = item.repeats_batch_id
            AND attempt.item_number = item.repeats_item_number
        OFFSET 0
    ) AS repeated
    WHERE item.batch_id = %(batch_id)s
        AND repeated.error_type = 'KilledWorker'
)
