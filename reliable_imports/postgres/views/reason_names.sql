-- Each cause under the names that it has had; the code before may have given it another one.
CREATE OR REPLACE VIEW reliable_imports.reason_names AS
WITH RECURSIVE names AS (
    SELECT fingerprint AS reason, fingerprint AS name
    FROM reliable_imports.import_failure_reasons
    UNION
    SELECT names.reason, known.continues
    FROM names
    JOIN reliable_imports.import_failure_reasons AS known ON known.fingerprint = names.name
    WHERE known.continues IS NOT NULL
)
SELECT reason, name
FROM names;
