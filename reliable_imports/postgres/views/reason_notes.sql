-- What a person has said last of a cause, also under the names that it had before.
CREATE OR REPLACE VIEW reliable_imports.reason_notes AS
SELECT DISTINCT ON (names.reason) names.reason, word.text AS note
FROM reliable_imports.import_reason_notes AS word
JOIN reliable_imports.reason_names AS names ON names.name = word.reason
WHERE word.kind = 'note'
ORDER BY names.reason, word.id DESC;
