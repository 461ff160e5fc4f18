CREATE SCHEMA IF NOT EXISTS school;
CREATE TABLE IF NOT EXISTS school.classes (
    name text PRIMARY KEY,
    room text NOT NULL
);
CREATE TABLE IF NOT EXISTS school.pupils (
    number integer PRIMARY KEY,
    name text NOT NULL,
    class text NOT NULL REFERENCES school.classes
);
