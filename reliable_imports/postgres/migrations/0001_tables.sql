-- The tables. Queries name the schema, so no search_path can mislead them.

CREATE TABLE reliable_imports.import_batches (
    id                  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_type          text NOT NULL,
    status              text NOT NULL DEFAULT 'pending',
    -- A person's or the engine's word that nothing more is to be claimed for now, and why.
    pause_reason        text,
    -- Where the items came from, as a person would name it, and the evidence of what it held then.
    source              text,
    source_sha256       text,
    source_bytes        bigint,
    -- How a file was read, with its header: what is needed to read the bytes of one row anew.
    source_reading      jsonb,
    -- Names one delivery: a second create with the same key finds the first batch.
    idempotency_key     text,
    -- The batch that this one repeats, and the first of their lineage (a first batch names itself).
    reprocess_of        integer REFERENCES reliable_imports.import_batches,
    first_batch_id      integer NOT NULL REFERENCES reliable_imports.import_batches,
    -- A reprocess batch may overwrite newer data of the same key only if somebody said so.
    overwrite_newer     boolean NOT NULL DEFAULT false,
    -- A reprocess batch that waits until a person has it processed.
    is_held             boolean NOT NULL DEFAULT false,
    -- Of a reprocess batch whose items have data of their own instead of what they repeat: where that comes from.
    corrected_from      text,
    -- Of a reprocess batch that tries a few items for each reason first: what was asked for, and whether it is at those.
    canary              jsonb,
    is_canary           boolean NOT NULL DEFAULT false,
    -- Each of its failures is repeated, and none can be outstanding again; noted when somebody has looked.
    is_all_repeated     boolean NOT NULL DEFAULT false,
    -- It has ended, and nobody has looked yet which failures it settles.
    is_to_settle        boolean NOT NULL DEFAULT false,
    requested_by        text,
    note                text,
    metadata            jsonb NOT NULL DEFAULT '{}',
    -- What people should know of the delivery, a sentence each: columns that nobody reads, content that came before.
    warnings            text[] NOT NULL DEFAULT '{}',
    total_items         bigint NOT NULL DEFAULT 0,
    -- Written once, when the batch is closed; until then the ranges hold the counts.
    completed_items     bigint,
    failed_items        bigint,
    skipped_items       bigint,
    -- Its failures and repeats are in import_failure_counts and import_repeat_counts; until then they are counted anew.
    is_counted          boolean NOT NULL DEFAULT false,
    -- Failed items when the batch was last begun or resumed: only what fails after that counts against a tolerance.
    tolerated_failures  bigint NOT NULL DEFAULT 0,
    tolerated_items     bigint NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at          timestamptz,
    finished_at         timestamptz,
    -- Items whose data was erased, because somebody was to be forgotten or it was old.
    erased_items        bigint NOT NULL DEFAULT 0,
    CONSTRAINT import_batches_status_known CHECK (
        status IN ('pending', 'processing', 'paused', 'completed', 'completed_with_failures', 'failed', 'cancelled')
    ),
    CONSTRAINT import_batches_paused_with_reason CHECK ((status = 'paused') = (pause_reason IS NOT NULL)),
    CONSTRAINT import_batches_started_once_processing CHECK (
        CASE
            WHEN status = 'pending' THEN started_at IS NULL
            WHEN status IN ('paused', 'cancelled') THEN true
            ELSE started_at IS NOT NULL
        END
    ),
    CONSTRAINT import_batches_finished_when_final CHECK (
        (status IN ('pending', 'processing', 'paused')) = (finished_at IS NULL)
    ),
    -- A cancelled batch keeps its counts in its ranges: a chunk that was under way is still committed.
    CONSTRAINT import_batches_counted_when_final CHECK (
        status IN ('pending', 'processing', 'paused', 'cancelled')
        OR completed_items + failed_items + skipped_items = total_items
    ),
    CONSTRAINT import_batches_erased_are_items CHECK (erased_items BETWEEN 0 AND total_items),
    CONSTRAINT import_batches_status_tells_losses CHECK (
        CASE status
            WHEN 'completed' THEN failed_items = 0
            WHEN 'completed_with_failures' THEN failed_items > 0 AND failed_items < total_items
            WHEN 'failed' THEN failed_items > 0
            ELSE true
        END
    ),
    CONSTRAINT import_batches_idempotency_key UNIQUE (batch_type, idempotency_key)
);
-- What a file that is delivered now may repeat.
CREATE INDEX import_batches_content ON reliable_imports.import_batches (batch_type, source_bytes, source_sha256)
    WHERE source_bytes IS NOT NULL;
-- A batch's lineage, and the open reprocess batches in it.
CREATE INDEX import_batches_lineage ON reliable_imports.import_batches (first_batch_id);
-- Lists of open batches.
CREATE INDEX import_batches_open ON reliable_imports.import_batches (status) WHERE status IN ('pending', 'processing');
-- Batches whose failures are counted anew for every question.
CREATE INDEX import_batches_uncounted ON reliable_imports.import_batches (id) WHERE NOT is_counted;

-- Batches that may settle failures.
CREATE INDEX import_batches_to_settle ON reliable_imports.import_batches (batch_type) WHERE is_to_settle;
-- Batches that failures may be left of.
CREATE INDEX import_batches_with_failures ON reliable_imports.import_batches (batch_type, first_batch_id)
    WHERE failed_items > 0 AND NOT is_all_repeated;

-- Deliveries that made no batch, for their content was that of one; their keys name it from then on.
CREATE TABLE reliable_imports.import_unchanged_deliveries (
    batch_type       text NOT NULL,
    idempotency_key  text NOT NULL,
    batch_id         integer NOT NULL REFERENCES reliable_imports.import_batches,
    source           text,
    delivered_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (batch_type, idempotency_key)
);

-- What was accepted: written once, never changed, but the data of an item can be erased. There is no foreign key to the batch, for a check for each item costs
-- more than storing it. Items come with their batch, in one transaction; and a batch that has items has ranges, whose
-- foreign key keeps it from being deleted.
--
-- Wide columns of a fixed size come first, then narrow ones, then texts: so PostgreSQL leaves no gaps between them. Items are
-- stored in their order, so the pages of the key can be filled.
CREATE TABLE reliable_imports.import_items (
    source_offset        bigint,
    -- Somebody asked to be forgotten, or the data was old: the row stays for the counts, and holds nothing of the item.
    erased_at            timestamptz,
    batch_id             integer NOT NULL,
    item_number          integer NOT NULL,
    source_line          integer,
    -- In a reprocess batch: the failed (or finished) item that this one repeats, and the item where the chain of repeats
    -- began.
    repeats_batch_id     integer,
    repeats_item_number  integer,
    origin_batch_id      integer,
    origin_item_number   integer,
    -- Where a repeat's data stands, unless it has data of its own: in the item where the chain began, or in the last one
    -- of the chain that has its own. So data is in one place, and found there in one step; the view stored_items does it.
    data_batch_id        integer,
    data_item_number     integer,
    -- Attempts made along the chain before; NULL in an item that repeats none. stored_items has 0 for it.
    repeats_attempts     integer,
    -- json, not jsonb: jsonb would rewrite 1e2 as 100 and drop a repeated key.
    source_data          json,
    -- Instead of source_data: JSON that the server's operators cannot read, or the bytes of an unreadable line.
    source_raw           bytea,
    read_problem         text,
    read_problem_kind    text,
    PRIMARY KEY (batch_id, item_number) WITH (fillfactor = 100),
    CONSTRAINT import_items_kept_once CHECK (
        CASE
            WHEN erased_at IS NULL AND data_batch_id IS NULL THEN (source_data IS NULL) <> (source_raw IS NULL)
            ELSE source_data IS NULL AND source_raw IS NULL
        END
    ),
    CONSTRAINT import_items_data_of_chain CHECK (
        (data_batch_id IS NULL) = (data_item_number IS NULL)
        AND (data_batch_id IS NULL OR (repeats_batch_id IS NOT NULL AND read_problem_kind IS NULL))
    ),
    CONSTRAINT import_items_repeats_count_on CHECK ((repeats_attempts IS NULL) = (repeats_batch_id IS NULL)),
    CONSTRAINT import_items_problem_has_raw CHECK (read_problem IS NULL OR source_raw IS NOT NULL)
);
-- One item is repeated by at most one other: two requests cannot take the same failure.
CREATE UNIQUE INDEX import_items_repeated_once ON reliable_imports.import_items (repeats_batch_id, repeats_item_number)
    WHERE repeats_batch_id IS NOT NULL;

-- What is claimed: a run of neighbouring items, locked by the transaction that works on it.
CREATE TABLE reliable_imports.import_ranges (
    batch_id      integer NOT NULL REFERENCES reliable_imports.import_batches,
    range_number  integer NOT NULL,
    last_item     integer NOT NULL,
    -- The first item without an outcome; past last_item when the range is done.
    next_item     integer NOT NULL,
    is_open       boolean NOT NULL DEFAULT true,
    completed     integer NOT NULL DEFAULT 0,
    failed        integer NOT NULL DEFAULT 0,
    skipped       integer NOT NULL DEFAULT 0,
    PRIMARY KEY (batch_id, range_number),
    -- The ranges of a cancelled batch are closed before they are done when its items are taken by another batch.
    CONSTRAINT import_ranges_open_until_done CHECK (NOT is_open OR next_item <= last_item)
);
-- The claim. next_item stays out of it, so that progress within a range touches no index.
CREATE INDEX import_ranges_open ON reliable_imports.import_ranges (batch_id, range_number) WHERE is_open;

-- Items that share their natural key with another one of their batch, and do not win; decided when the batch is made.
CREATE TABLE reliable_imports.import_duplicates (
    batch_id      integer NOT NULL REFERENCES reliable_imports.import_batches,
    item_number   integer NOT NULL,
    -- The item that wins, or another one of the same key where none does.
    duplicate_of  integer NOT NULL,
    fails         boolean NOT NULL,
    PRIMARY KEY (batch_id, item_number)
);

CREATE TABLE reliable_imports.import_runs (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Chosen by the run before it begins, so that it stands here once although its COMMIT may have to be said twice.
    token           uuid UNIQUE,
    batch_id        integer NOT NULL REFERENCES reliable_imports.import_batches,
    runner          text NOT NULL,
    dagster_run_id  text,
    mode            text NOT NULL,
    -- Of the processor's class, as the run had it; NULL if that has no source file.
    code_version    text,
    -- Fields that its processor calls sensitive: nothing that shows an item shows what is in them.
    sensitive       text[] NOT NULL DEFAULT '{}',
    host            text NOT NULL,
    process_id      integer NOT NULL,
    -- The session that works for the run: while it is there, the run lives.
    backend_pid     integer,
    backend_start   timestamptz,
    -- The range that the run works on now, or retries_range; says which items are processing.
    range_number    integer,
    -- The item that is tried alone now, because a worker died in its range.
    lone_item       integer,
    completed       bigint NOT NULL DEFAULT 0,
    failed          bigint NOT NULL DEFAULT 0,
    skipped         bigint NOT NULL DEFAULT 0,
    started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    outcome         text,
    error           text,
    CONSTRAINT import_runs_runner_known CHECK (runner IN ('python', 'cli', 'dagster')),
    CONSTRAINT import_runs_mode_known CHECK (mode IN ('import', 'reprocess', 'resume')),
    CONSTRAINT import_runs_outcome_known CHECK (outcome IN ('finished', 'interrupted')),
    CONSTRAINT import_runs_ended_with_outcome CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CONSTRAINT import_runs_dagster_has_run CHECK ((runner = 'dagster') = (dagster_run_id IS NOT NULL))
);
CREATE INDEX import_runs_batch ON reliable_imports.import_runs (batch_id);
CREATE INDEX import_runs_dagster ON reliable_imports.import_runs (dagster_run_id) WHERE dagster_run_id IS NOT NULL;

-- Items that met a transient error and are tried again by the same run, or by the next one that comes.
CREATE TABLE reliable_imports.import_retries (
    batch_id      integer NOT NULL REFERENCES reliable_imports.import_batches,
    item_number   integer NOT NULL,
    next_attempt  integer NOT NULL,
    not_before    timestamptz NOT NULL,
    -- Of an item whose deferred constraint was not met: how many items of the batch were completed by then. It is tried
    -- again when nothing else is left, and for the last time if no more were completed since.
    completed_before  bigint,
    PRIMARY KEY (batch_id, item_number)
);
CREATE INDEX import_retries_due ON reliable_imports.import_retries (batch_id, not_before, item_number);

-- Ranges in which a worker died, and where its parent or another one looks for the item that killed it.
CREATE TABLE reliable_imports.import_suspects (
    batch_id      integer NOT NULL REFERENCES reliable_imports.import_batches,
    range_number  integer NOT NULL,  -- or retries_range
    item_number   integer NOT NULL,  -- or any_item
    run_id        integer NOT NULL,   -- whose word this is
    -- Of the run's child processes, while the item was tried alone; and how the last one died.
    deaths        integer NOT NULL DEFAULT 0,
    how           text,
    PRIMARY KEY (batch_id, range_number, item_number, run_id)
);

-- How an attempt ended. A type, and not a text with a check: there is an outcome for each item, and a text takes more than
-- twice as many bytes.
CREATE TYPE reliable_imports.outcome AS ENUM ('completed', 'skipped', 'failed');

-- What happened to items: only ever added to, or erased. The key is the fence: a second outcome of one attempt is refused.
-- In this order there are no gaps between columns.
CREATE TABLE reliable_imports.import_attempts (
    finished_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Of a completed item: the row that it has written first, as 64 bits that are equal where the table's unique index
    -- finds the keys equal. It guards newer data from older items. Its other rows are in import_row_keys.
    row_key          bigint,
    -- As in the item's row, so that what is outstanding is found without it.
    erased_at        timestamptz,
    -- Not to be tried again sooner; NULL when it waits for a person.
    retry_after      interval,
    batch_id         integer NOT NULL,
    item_number      integer NOT NULL,
    attempt          integer NOT NULL,
    run_id           integer NOT NULL,
    outcome          reliable_imports.outcome NOT NULL,
    -- False for a try that the same run followed with another.
    is_final         boolean NOT NULL,
    retryable        boolean,
    result           json,
    skip_reason      text,
    stage            text,
    error_type       text,
    sqlstate         text,
    constraint_name  text,
    field            text,
    message          text,
    detail           text,
    -- What a foreign key did not find, as PostgreSQL writes it. Never shown: it is the item's.
    missing_key      text,
    -- Instead of it, where it is sensitive: the fields of the item that hold it.
    missing_fields   text[],
    traceback        text,
    -- The first of its causes, and all of them.
    reason           text,
    reasons          text[],
    -- All that was wrong: [{"reason", "field", "rule", "value"}, ...]; a value is cut, and null where it is sensitive.
    faults           jsonb,
    -- Of the processor that failed the item; NULL if its class has no source file.
    code_version     text,
    PRIMARY KEY (batch_id, item_number, attempt) WITH (fillfactor = 100),
    CONSTRAINT import_attempts_stage_known CHECK (stage IN ('read', 'validate', 'prepare', 'process', 'write')),
    CONSTRAINT import_attempts_failure_explained CHECK (
        (outcome = 'failed') = (
            reason IS NOT NULL AND reasons IS NOT NULL AND faults IS NOT NULL AND stage IS NOT NULL
            AND retryable IS NOT NULL
        )
    ),
    CONSTRAINT import_attempts_reason_is_first CHECK (reason = reasons[1]),
    CONSTRAINT import_attempts_skip_explained CHECK ((outcome = 'skipped') = (skip_reason IS NOT NULL))
);
-- Failed items of a batch, by reason.
CREATE INDEX import_attempts_failed ON reliable_imports.import_attempts (batch_id, reason, item_number)
    WHERE is_final AND outcome = 'failed';
-- Failed items by any of their causes.
CREATE INDEX import_attempts_reasons ON reliable_imports.import_attempts USING gin (reasons)
    WHERE is_final AND outcome = 'failed';
-- Failures that are to be tried again without a person.
CREATE INDEX import_attempts_retryable ON reliable_imports.import_attempts (batch_id, item_number)
    WHERE is_final AND retry_after IS NOT NULL;
-- Who else has written a row?
CREATE INDEX import_attempts_row_key ON reliable_imports.import_attempts (row_key) WHERE row_key IS NOT NULL;

-- The rows that completed items have written after their first one; without a key once the item is erased.
CREATE TABLE reliable_imports.import_row_keys (
    row_key      bigint,
    batch_id     integer NOT NULL,
    item_number  integer NOT NULL
);
CREATE INDEX import_row_keys_key ON reliable_imports.import_row_keys (row_key);

CREATE TABLE reliable_imports.import_failure_reasons (
    fingerprint      text PRIMARY KEY,
    version          smallint NOT NULL,  -- of the facts that fingerprints are made of
    batch_type       text NOT NULL,
    stage            text NOT NULL,      -- where it was met first
    error_type       text NOT NULL,
    sqlstate         text,
    constraint_name  text,
    field            text,
    rule             text NOT NULL,
    title            text NOT NULL,      -- without a value of any item
    -- The same cause under the code before: all of its repeats failed for this one.
    continues        text REFERENCES reliable_imports.import_failure_reasons,
    first_seen       timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX import_failure_reasons_type ON reliable_imports.import_failure_reasons (batch_type);

-- How often which cause was met in a batch; written when it is closed, and again when data of it was erased.
CREATE TABLE reliable_imports.import_failure_counts (
    batch_id         integer NOT NULL REFERENCES reliable_imports.import_batches,
    reason           text NOT NULL,
    items            bigint NOT NULL,
    -- Items with no other cause.
    only_items       bigint NOT NULL,
    -- Items that nobody can repeat, for their data was erased.
    erased_items     bigint NOT NULL,
    retryable_items  bigint NOT NULL,
    first_seen       timestamptz NOT NULL,
    last_seen        timestamptz NOT NULL,
    -- Of the processors that failed them.
    code_versions    text[] NOT NULL,
    -- The commonest values of the field at fault: [{"value", "items"}, ...]. A null stands for a field that is empty.
    common_values    jsonb NOT NULL,
    PRIMARY KEY (batch_id, reason)
);
-- One cause over all batches.
CREATE INDEX import_failure_counts_reason ON reliable_imports.import_failure_counts (reason);

-- Of a batch that repeats items: for which causes these had failed, and in which batch. Written when it is closed.
CREATE TABLE reliable_imports.import_repeat_counts (
    batch_id          integer NOT NULL REFERENCES reliable_imports.import_batches,
    repeats_batch_id  integer NOT NULL,
    reason            text NOT NULL,
    items             bigint NOT NULL,
    only_items        bigint NOT NULL,
    PRIMARY KEY (batch_id, repeats_batch_id, reason)
);

-- What people say of a cause; only ever added to.
CREATE TABLE reliable_imports.import_reason_notes (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason   text NOT NULL REFERENCES reliable_imports.import_failure_reasons,
    kind     text NOT NULL,
    text     text,
    until    timestamptz,
    made_by  text,
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT import_reason_notes_kind_known CHECK (kind IN ('note', 'ignore', 'end_ignore')),
    CONSTRAINT import_reason_notes_say_something CHECK (kind = 'end_ignore' OR (text IS NOT NULL AND text <> '')),
    CONSTRAINT import_reason_notes_until_of_ignore CHECK (until IS NULL OR kind = 'ignore')
);
CREATE INDEX import_reason_notes_reason ON reliable_imports.import_reason_notes (reason);

-- The audit log.
CREATE TABLE reliable_imports.import_logs (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id     integer NOT NULL REFERENCES reliable_imports.import_batches,
    item_number  integer,
    run_id       integer,
    level        text NOT NULL,
    message      text NOT NULL,
    details      jsonb,
    logged_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT import_logs_level_known CHECK (level IN ('debug', 'info', 'warning', 'error'))
);
CREATE INDEX import_logs_batch ON reliable_imports.import_logs (batch_id, id);

-- Statistics do not know the batches that came after them, and for just those people ask: PostgreSQL would expect no row of
-- them, and plan to look at all items of a batch for each of its items. Without statistics it expects a batch to be
-- 1/200 of its table.
ALTER TABLE reliable_imports.import_items
    ALTER COLUMN batch_id SET STATISTICS 0,
    ALTER COLUMN repeats_batch_id SET STATISTICS 0;
ALTER TABLE reliable_imports.import_attempts ALTER COLUMN batch_id SET STATISTICS 0;
ALTER TABLE reliable_imports.import_ranges ALTER COLUMN batch_id SET STATISTICS 0;
ALTER TABLE reliable_imports.import_duplicates ALTER COLUMN batch_id SET STATISTICS 0;
ALTER TABLE reliable_imports.import_retries ALTER COLUMN batch_id SET STATISTICS 0;
ALTER TABLE reliable_imports.import_runs ALTER COLUMN batch_id SET STATISTICS 0;
ALTER TABLE reliable_imports.import_logs ALTER COLUMN batch_id SET STATISTICS 0;
ALTER TABLE reliable_imports.import_failure_counts ALTER COLUMN batch_id SET STATISTICS 0;
ALTER TABLE reliable_imports.import_repeat_counts
    ALTER COLUMN batch_id SET STATISTICS 0,
    ALTER COLUMN repeats_batch_id SET STATISTICS 0;

-- History is only ever added to; this turns a well-meant repair by hand into a clear refusal.
CREATE FUNCTION reliable_imports.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of reliable_imports.% refused: history is only ever added to', TG_OP, TG_TABLE_NAME
        USING HINT = 'to run items again, use reprocess_batch or `reliable-imports reprocess`; to take data of people '
            'out, `reliable-imports erase` or `purge`';
END
$$;
CREATE TRIGGER import_items_immutable BEFORE DELETE OR TRUNCATE ON reliable_imports.import_items
    FOR EACH STATEMENT EXECUTE FUNCTION reliable_imports.refuse_change();
CREATE TRIGGER import_attempts_immutable BEFORE DELETE OR TRUNCATE ON reliable_imports.import_attempts
    FOR EACH STATEMENT EXECUTE FUNCTION reliable_imports.refuse_change();
CREATE TRIGGER import_row_keys_immutable BEFORE DELETE OR TRUNCATE ON reliable_imports.import_row_keys
    FOR EACH STATEMENT EXECUTE FUNCTION reliable_imports.refuse_change();
CREATE TRIGGER import_logs_immutable BEFORE DELETE OR TRUNCATE ON reliable_imports.import_logs
    FOR EACH STATEMENT EXECUTE FUNCTION reliable_imports.refuse_change();

-- The one change that there is takes data away: what may hold a person's becomes NULL or 'data erased', and nothing else
-- changes. AFTER, for PostgreSQL 12 knows no such triggers BEFORE on partitioned tables.
CREATE TRIGGER import_items_only_erased AFTER UPDATE ON reliable_imports.import_items
    FOR EACH ROW WHEN (NOT coalesce(
        NEW.erased_at IS NOT NULL
        AND NEW.read_problem IS NULL
        AND (
            NEW.batch_id, NEW.item_number, NEW.read_problem_kind, NEW.source_line, NEW.source_offset, NEW.repeats_batch_id,
            NEW.repeats_item_number, NEW.origin_batch_id, NEW.origin_item_number, NEW.repeats_attempts, NEW.data_batch_id,
            NEW.data_item_number
        ) IS NOT DISTINCT FROM (
            OLD.batch_id, OLD.item_number, OLD.read_problem_kind, OLD.source_line, OLD.source_offset, OLD.repeats_batch_id,
            OLD.repeats_item_number, OLD.origin_batch_id, OLD.origin_item_number, OLD.repeats_attempts, OLD.data_batch_id,
            OLD.data_item_number
        ),
        false
    ))
    EXECUTE FUNCTION reliable_imports.refuse_change();
CREATE TRIGGER import_attempts_only_erased AFTER UPDATE ON reliable_imports.import_attempts
    FOR EACH ROW WHEN (NOT (
        (
            NEW.batch_id, NEW.item_number, NEW.attempt, NEW.run_id, NEW.outcome, NEW.is_final, NEW.finished_at, NEW.stage,
            NEW.error_type, NEW.sqlstate, NEW.constraint_name, NEW.missing_fields, NEW.reason, NEW.reasons, NEW.code_version,
            NEW.retryable
        ) IS NOT DISTINCT FROM (
            OLD.batch_id, OLD.item_number, OLD.attempt, OLD.run_id, OLD.outcome, OLD.is_final, OLD.finished_at, OLD.stage,
            OLD.error_type, OLD.sqlstate, OLD.constraint_name, OLD.missing_fields, OLD.reason, OLD.reasons, OLD.code_version,
            OLD.retryable
        )
        AND (NEW.row_key IS NULL OR NEW.row_key IS NOT DISTINCT FROM OLD.row_key)
        AND (NEW.result IS NULL OR NEW.result::text IS NOT DISTINCT FROM OLD.result::text)
        AND (NEW.skip_reason IS NOT DISTINCT FROM OLD.skip_reason OR NEW.skip_reason IS NOT DISTINCT FROM 'data erased')
        AND (NEW.field IS NULL OR NEW.field IS NOT DISTINCT FROM OLD.field)
        AND (NEW.message IS NOT DISTINCT FROM OLD.message OR NEW.message IS NOT DISTINCT FROM 'data erased')
        AND (NEW.faults IS NOT DISTINCT FROM OLD.faults OR NEW.faults = '[]')
        AND (NEW.detail IS NULL OR NEW.detail IS NOT DISTINCT FROM OLD.detail)
        AND (NEW.missing_key IS NULL OR NEW.missing_key IS NOT DISTINCT FROM OLD.missing_key)
        AND (NEW.traceback IS NULL OR NEW.traceback IS NOT DISTINCT FROM OLD.traceback)
        AND (NEW.retry_after IS NULL OR NEW.retry_after IS NOT DISTINCT FROM OLD.retry_after)
        AND (OLD.erased_at IS NULL OR NEW.erased_at IS NOT DISTINCT FROM OLD.erased_at)
    ))
    EXECUTE FUNCTION reliable_imports.refuse_change();
CREATE TRIGGER import_row_keys_only_erased AFTER UPDATE ON reliable_imports.import_row_keys
    FOR EACH ROW WHEN (NOT (
        NEW.row_key IS NULL
        AND (NEW.batch_id, NEW.item_number) IS NOT DISTINCT FROM (OLD.batch_id, OLD.item_number)
    ))
    EXECUTE FUNCTION reliable_imports.refuse_change();
CREATE TRIGGER import_logs_only_erased AFTER UPDATE ON reliable_imports.import_logs
    FOR EACH ROW WHEN (NOT (
        (NEW.id, NEW.batch_id, NEW.item_number, NEW.run_id, NEW.level, NEW.logged_at)
        IS NOT DISTINCT FROM (OLD.id, OLD.batch_id, OLD.item_number, OLD.run_id, OLD.level, OLD.logged_at)
        AND NEW.message IN (OLD.message, 'data erased')
        AND NEW.details IS NULL
    ))
    EXECUTE FUNCTION reliable_imports.refuse_change();
