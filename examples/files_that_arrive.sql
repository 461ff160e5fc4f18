CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.products (
    number text PRIMARY KEY,
    name text NOT NULL
);
