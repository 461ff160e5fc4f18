-- Whose fault an error is, as far as its SQLSTATE tells: 'item', 'transaction' (two of them met) or 'infrastructure'
-- (the server, the network or the disk). The module error_sorting.py holds the same table for what is sorted in the client.
CREATE OR REPLACE FUNCTION reliable_imports.fault_of_v1(of_sqlstate text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN of_sqlstate IN ('40001', '40P01', '55P03') THEN 'transaction'
        WHEN of_sqlstate IN ('57P01', '57P02', '57P03', '57P04', '57P05', '25P03', '25P04') THEN 'infrastructure'
        WHEN pg_catalog.substr(of_sqlstate, 1, 2) IN ('08', '53', '58', 'XX') THEN 'infrastructure'
        ELSE 'item'
    END
$$;
