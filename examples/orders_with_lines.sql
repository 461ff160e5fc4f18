CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.orders (
    number text PRIMARY KEY,
    customer text NOT NULL,
    ordered_on date NOT NULL
);
CREATE TABLE IF NOT EXISTS shop.order_lines (
    order_number text REFERENCES shop.orders,
    line integer,
    product text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_number, line)
);
