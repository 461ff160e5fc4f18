CREATE SCHEMA IF NOT EXISTS crm;
CREATE TABLE IF NOT EXISTS crm.contacts (
    id integer PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text NOT NULL
);
