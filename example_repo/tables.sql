-- The tables that the example imports into. Every run starts with this file, so each statement is safe to repeat.

CREATE SCHEMA IF NOT EXISTS example;

CREATE TABLE IF NOT EXISTS example.airlines (
    carrier text PRIMARY KEY CHECK (carrier ~ '^[A-Z0-9]{2}$'),
    name text NOT NULL CHECK (name <> '')
);

CREATE TABLE IF NOT EXISTS example.airports (
    faa text PRIMARY KEY,
    name text NOT NULL,
    lat double precision NOT NULL,
    lon double precision NOT NULL,
    alt smallint NOT NULL,
    tz smallint NOT NULL,
    dst text NOT NULL,
    tzone text,
    CONSTRAINT airports_lat_check CHECK (lat BETWEEN -90 AND 90),
    CONSTRAINT airports_lon_check CHECK (lon BETWEEN -180 AND 180)
);

COMMENT ON COLUMN example.airports.alt IS 'feet above the sea';
COMMENT ON COLUMN example.airports.tz IS 'hours from UTC without daylight saving';
COMMENT ON COLUMN example.airports.dst IS 'daylight saving: A as in the USA, N none, U unknown';

CREATE TABLE IF NOT EXISTS example.planes (
    tailnum text PRIMARY KEY,
    year smallint,
    type text NOT NULL,
    manufacturer text NOT NULL,
    model text NOT NULL,
    engines smallint NOT NULL,
    seats smallint NOT NULL,
    speed smallint,
    engine text NOT NULL
);

COMMENT ON COLUMN example.planes.year IS 'of manufacture';
COMMENT ON COLUMN example.planes.speed IS 'cruising speed in miles per hour';

-- Foreign keys are checked in the order in which they were made, and the first that fails is the one reported: a
-- flight with an unknown aircraft and an unknown airport counts as one with an unknown aircraft.
CREATE TABLE IF NOT EXISTS example.flights (
    flight_date date NOT NULL,
    carrier text NOT NULL,
    flight smallint NOT NULL,
    origin text NOT NULL,
    dest text NOT NULL,
    tailnum text,
    time_hour timestamptz NOT NULL,
    sched_dep_time time NOT NULL,
    dep_time time,
    dep_delay smallint,
    sched_arr_time time NOT NULL,
    arr_time time,
    arr_delay smallint,
    air_time smallint,
    distance smallint NOT NULL,
    cancelled boolean GENERATED ALWAYS AS (dep_time IS NULL) STORED,
    CONSTRAINT flights_pkey PRIMARY KEY (flight_date, carrier, flight, origin),
    CONSTRAINT flights_tailnum_fkey FOREIGN KEY (tailnum) REFERENCES example.planes,
    CONSTRAINT flights_dest_fkey FOREIGN KEY (dest) REFERENCES example.airports,
    CONSTRAINT flights_origin_fkey FOREIGN KEY (origin) REFERENCES example.airports,
    CONSTRAINT flights_carrier_fkey FOREIGN KEY (carrier) REFERENCES example.airlines,
    CONSTRAINT flights_departure_check CHECK ((dep_time IS NULL) = (dep_delay IS NULL)),
    CONSTRAINT flights_arrival_check CHECK ((arr_delay IS NULL) = (air_time IS NULL)),
    CONSTRAINT flights_cancelled_check CHECK (dep_time IS NOT NULL OR arr_time IS NULL),
    CONSTRAINT flights_distance_check CHECK (distance > 0)
);

COMMENT ON COLUMN example.flights.flight_date IS 'of the scheduled departure, as the clocks at the origin show it';
COMMENT ON COLUMN example.flights.tailnum IS 'the aircraft; none is named for many cancelled flights';
COMMENT ON COLUMN example.flights.time_hour IS 'the hour of the scheduled departure, as an instant';
COMMENT ON COLUMN example.flights.sched_arr_time IS 'as the clocks at the destination show it, like arr_time';
COMMENT ON COLUMN example.flights.arr_delay IS 'minutes, negative when early, like dep_delay; none if diverted';
COMMENT ON COLUMN example.flights.air_time IS 'minutes';
COMMENT ON COLUMN example.flights.distance IS 'miles';

CREATE TABLE IF NOT EXISTS example.customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    CONSTRAINT customers_email_key UNIQUE (email)
);
