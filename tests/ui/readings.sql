-- Without a unique key: a write that is done twice shows.
CREATE TABLE IF NOT EXISTS readings (number integer NOT NULL, unit text NOT NULL);
