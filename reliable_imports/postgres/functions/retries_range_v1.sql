-- In place of a range's number: the items that are tried again after their range has moved on. A row of import_ranges
-- with this number counts what became of them.
CREATE OR REPLACE FUNCTION reliable_imports.retries_range_v1() RETURNS integer
LANGUAGE sql IMMUTABLE AS 'SELECT 0';
