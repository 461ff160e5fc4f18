-- Grows with every reprocess batch and every ended or lost run of a lineage.
CREATE OR REPLACE FUNCTION reliable_imports.lineage_generation_v1(lineage bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT (
        SELECT count(*)
        FROM reliable_imports.import_batches AS batch
        WHERE batch.first_batch_id = lineage
            AND batch.reprocess_of IS NOT NULL
    ) + (
        SELECT count(*)
        FROM reliable_imports.import_batches AS batch
        JOIN reliable_imports.import_runs AS run ON run.batch_id = batch.id
        WHERE batch.first_batch_id = lineage
            AND NOT reliable_imports.run_is_live_v1(run.ended_at, run.heartbeat_at)
    )
$$;
