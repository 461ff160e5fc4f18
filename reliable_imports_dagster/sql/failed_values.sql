-- What the failed items of a batch hold in the fields that they failed for.

-- name: fields
-- One row for each reason. The detail of a foreign key or a unique index begins with its columns, in brackets.
SELECT reason, field, substring(sample.detail FROM '^\(([^()]*)\)') AS key_columns
FROM reliable_imports.failure_reason_counts
JOIN LATERAL (
    SELECT attempt.detail
    FROM reliable_imports.import_attempts AS attempt
    WHERE attempt.batch_id = failure_reason_counts.batch_id
        AND attempt.item_number = failure_reason_counts.sample_item_number
        AND attempt.is_final
) AS sample ON true
WHERE failure_reason_counts.batch_id = %(batch_id)s
    AND reason = ANY (%(reasons)s::text[])

-- name: commonest
-- The values that most items of a reason have in one field, and how many have each; a null for items without the field.
WITH wanted AS (
    SELECT * FROM ROWS FROM (
        pg_catalog.unnest(%(reasons)s::text[]), pg_catalog.unnest(%(fields)s::text[])
    ) WITH ORDINALITY AS wanted (reason, field, place)
), counted AS (
    SELECT wanted.place, item.source_data ->> wanted.field AS value, count(*) AS items
    FROM wanted
    JOIN reliable_imports.import_batch_items AS item
        ON item.batch_id = %(batch_id)s
        AND item.status = 'failed'
        AND item.reason = wanted.reason
        AND json_typeof(item.source_data) = 'object'
    GROUP BY wanted.place, value
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY place ORDER BY items DESC, value) AS rank
    FROM counted
)
SELECT wanted.reason, wanted.field, ranked.value, ranked.items
FROM ranked
JOIN wanted USING (place)
WHERE rank <= %(limit)s
ORDER BY place, rank
