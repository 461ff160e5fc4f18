DROP SCHEMA IF EXISTS library CASCADE;
CREATE SCHEMA library;
CREATE TABLE library.books (id integer PRIMARY KEY);
CREATE TABLE library.houses (id integer PRIMARY KEY, name text);
INSERT INTO library.houses VALUES (1, 'Main');
CREATE TABLE library.towns (id integer PRIMARY KEY);
CREATE TYPE library.grade AS ENUM ('new', 'used');
CREATE DOMAIN library.postcode AS text CONSTRAINT postcode_has_five CHECK (VALUE ~ '^\d{5}$');
CREATE DOMAIN library.short AS varchar(4);
CREATE TABLE library.rows (
    id         integer PRIMARY KEY,
    code       text CONSTRAINT rows_code_once UNIQUE,
    mail       text,
    house      integer REFERENCES library.houses,
    town       integer REFERENCES library.towns,
    count      integer CONSTRAINT rows_count_positive CHECK (count > 0),
    low        integer,
    high       integer,
    name       text NOT NULL DEFAULT 'x',
    label      text NOT NULL DEFAULT 'x',
    net        numeric(5, 2),
    gross      numeric(5, 2),
    small      smallint,
    tiny       smallint,
    big        bigint,
    other_big  bigint,
    v5         varchar(5),
    w5         varchar(5),
    c3         char(3),
    day        date,
    night      date,
    at         timestamptz,
    since      timestamptz,
    mark       uuid,
    sign       uuid,
    grade      library.grade,
    worth      library.grade,
    home       library.postcode,
    work       library.postcode,
    tag        library.short,
    stamp      library.short,
    parts      integer[],
    pieces     integer[],
    flag       boolean,
    lamp       boolean,
    CONSTRAINT rows_low_below_high CHECK (low < high)
);
CREATE UNIQUE INDEX rows_mail_once ON library.rows (lower(mail));
INSERT INTO library.rows (id, code, mail) VALUES (1, 'A', 'a@x'), (2, 'B', 'b@x');

CREATE TABLE library.loans (
    id     integer NOT NULL,
    day    date NOT NULL,
    house  integer REFERENCES library.houses,
    note   text NOT NULL,
    days   integer CONSTRAINT loans_days_positive CHECK (days > 0),
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);
CREATE TABLE library.loans_old PARTITION OF library.loans FOR VALUES FROM ('2020-01-01') TO ('2024-01-01')
    PARTITION BY RANGE (day);
CREATE TABLE library.loans_2022 PARTITION OF library.loans_old FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE library.loans_2023 PARTITION OF library.loans_old FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE library.loans_2024 PARTITION OF library.loans FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE UNIQUE INDEX loans_note_once ON library.loans (note, day);
INSERT INTO library.loans VALUES (1, '2022-05-05', 1, 'n', 1), (1, '2023-05-05', 1, 'n', 1), (1, '2024-05-05', 1, 'n', 1);

CREATE TABLE library.fines (id integer PRIMARY KEY, reader text, amount integer, tag varchar(3));
CREATE FUNCTION library.refuse(words text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', words;
END
$$;
CREATE FUNCTION library.check_fine() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tiny  smallint;
BEGIN
    IF NEW.amount > 100 THEN
        RAISE EXCEPTION 'reader % cannot pay', NEW.reader;
    END IF;
    IF NEW.amount < 0 THEN
        RAISE EXCEPTION 'reader % would get money', NEW.reader USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.reader = 'gone' THEN
        PERFORM library.refuse('reader has left: ' || NEW.id);
    END IF;
    IF NEW.reader = 'dead' THEN
        PERFORM library.refuse('reader is dead: ' || NEW.id);
    END IF;
    IF NEW.reader LIKE 'rich%' THEN
        tiny := 40000 + NEW.id;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER check_fine BEFORE INSERT ON library.fines FOR EACH ROW EXECUTE FUNCTION library.check_fine();
