CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.customers (
    number text PRIMARY KEY,
    name text NOT NULL,
    email text UNIQUE,
    since date NOT NULL,
    credit numeric(10, 2) NOT NULL DEFAULT 0
);
