CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.prices (
    product text,
    valid_from date,
    valid_to date,
    price numeric(10, 2) NOT NULL,
    PRIMARY KEY (product, valid_from)
);
CREATE UNIQUE INDEX IF NOT EXISTS prices_one_is_current ON shop.prices (product) WHERE valid_to IS NULL;
