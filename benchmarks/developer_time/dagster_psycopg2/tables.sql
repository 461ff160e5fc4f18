CREATE TABLE shop.order_imports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file_name text NOT NULL,
    sha256 text NOT NULL UNIQUE,
    next_row integer NOT NULL DEFAULT 0,
    imported integer NOT NULL DEFAULT 0,
    rejected integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

CREATE TABLE shop.order_rejects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    import_id bigint NOT NULL REFERENCES shop.order_imports,
    line integer NOT NULL,
    order_no text,
    cells jsonb NOT NULL,
    settled_at timestamptz
);

CREATE TABLE shop.order_reject_attempts (
    reject_id bigint NOT NULL REFERENCES shop.order_rejects,
    attempted_at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL
);

CREATE TABLE shop.order_versions (
    order_no text PRIMARY KEY,
    import_id bigint NOT NULL REFERENCES shop.order_imports,
    line integer NOT NULL
);
