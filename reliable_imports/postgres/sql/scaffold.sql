-- name: columns_of_table
-- The columns of a table or view that can be written to, in their order.
SELECT attribute.attname
FROM pg_catalog.pg_attribute AS attribute
WHERE attribute.attrelid = pg_catalog.to_regclass(%(name)s)
    AND attribute.attnum > 0
    AND NOT attribute.attisdropped
    AND attribute.attgenerated = ''
ORDER BY attribute.attnum
