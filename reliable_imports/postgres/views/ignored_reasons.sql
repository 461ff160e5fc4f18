-- Causes that people have said to ignore, and have not taken back. has_surged: more than twice as many items failed for it
-- on one day since then, ten at least, as on any day before; what was repeated is not counted again.
CREATE OR REPLACE VIEW reliable_imports.ignored_reasons AS
SELECT
    ignored.reason,
    ignored.text AS why,
    ignored.until,
    ignored.made_by,
    ignored.made_at,
    seen.most_since >= 10 AND seen.most_since > 2 * seen.most_before AS has_surged
FROM (
    SELECT DISTINCT ON (names.reason)
        names.reason, word.kind, word.text, word.until, word.made_by, word.made_at
    FROM reliable_imports.import_reason_notes AS word
    JOIN reliable_imports.reason_names AS names ON names.name = word.reason
    WHERE word.kind IN ('ignore', 'end_ignore')
    ORDER BY names.reason, word.id DESC
) AS ignored
JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = ignored.reason
CROSS JOIN LATERAL (
    SELECT
        coalesce(max(by_day.before), 0) AS most_before,
        coalesce(max(by_day.since), 0) AS most_since
    FROM (
        SELECT
            sum(counts.items) FILTER (WHERE counts.first_seen <= ignored.made_at) AS before,
            sum(counts.items) FILTER (WHERE counts.first_seen > ignored.made_at) AS since
        FROM reliable_imports.failure_counts AS counts
        JOIN reliable_imports.reason_names AS names ON names.name = counts.reason
        WHERE names.reason = ignored.reason
            AND counts.batch_type = known.batch_type
            AND counts.reprocess_of IS NULL
        GROUP BY (counts.first_seen AT TIME ZONE 'UTC')::date
    ) AS by_day
) AS seen
WHERE ignored.kind = 'ignore'
    AND (ignored.until IS NULL OR ignored.until > pg_catalog.clock_timestamp());
