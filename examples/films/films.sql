CREATE SCHEMA IF NOT EXISTS films;
CREATE TABLE IF NOT EXISTS films.distributors (name text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS films.films (
    title             text NOT NULL,
    released          date NOT NULL,
    distributor       text NOT NULL REFERENCES films.distributors,
    genre             text,
    mpaa_rating       text,
    director          text,
    running_time      integer,
    production_budget integer,
    us_gross          integer,
    worldwide_gross   integer,
    imdb_votes        integer NOT NULL,
    imdb_rating       numeric(3, 1),
    PRIMARY KEY (title, released)
);
