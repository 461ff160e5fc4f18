-- What is there before anybody writes a line: the tables that the orders go to.
CREATE SCHEMA shop;
CREATE TABLE shop.customers (id integer PRIMARY KEY);
INSERT INTO shop.customers SELECT generate_series(1, 500);
CREATE TABLE shop.orders (
    order_no text PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES shop.customers,
    sku text NOT NULL,
    quantity integer NOT NULL,
    unit_price numeric(10, 2) NOT NULL,
    ordered_on date NOT NULL,
    note text,
    CONSTRAINT orders_quantity_check CHECK (quantity > 0)
);
