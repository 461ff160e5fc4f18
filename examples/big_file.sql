CREATE SCHEMA IF NOT EXISTS sensors;
CREATE TABLE IF NOT EXISTS sensors.readings (
    sensor integer,
    taken_at timestamptz,
    celsius real NOT NULL CHECK (celsius BETWEEN -60 AND 60),
    PRIMARY KEY (sensor, taken_at)
);
