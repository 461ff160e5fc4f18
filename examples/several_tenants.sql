CREATE SCHEMA IF NOT EXISTS saas;
CREATE TABLE IF NOT EXISTS saas.contacts (
    tenant text,
    email text,
    name text NOT NULL,
    PRIMARY KEY (tenant, email)
);
