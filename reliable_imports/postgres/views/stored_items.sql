-- Items with their data, wherever it stands: that of a repeat is in an earlier item of its chain, unless it has its own.
-- Subqueries, not a join: what nobody asks for is not looked up, nor is anything of an item that has its own; and no plan
-- reads the whole table.
CREATE OR REPLACE VIEW reliable_imports.stored_items AS
SELECT
    item.batch_id,
    item.item_number,
    CASE
        WHEN item.data_batch_id IS NULL THEN item.source_data
        ELSE (
            SELECT held.source_data
            FROM reliable_imports.import_items AS held
            WHERE held.batch_id = item.data_batch_id
                AND held.item_number = item.data_item_number
        )
    END AS source_data,
    CASE
        WHEN item.data_batch_id IS NULL THEN item.source_raw
        ELSE (
            SELECT held.source_raw
            FROM reliable_imports.import_items AS held
            WHERE held.batch_id = item.data_batch_id
                AND held.item_number = item.data_item_number
        )
    END AS source_raw,
    CASE
        WHEN item.data_batch_id IS NULL THEN item.read_problem
        ELSE (
            SELECT held.read_problem
            FROM reliable_imports.import_items AS held
            WHERE held.batch_id = item.data_batch_id
                AND held.item_number = item.data_item_number
        )
    END AS read_problem,
    CASE
        WHEN item.data_batch_id IS NULL THEN item.read_problem_kind
        ELSE (
            SELECT held.read_problem_kind
            FROM reliable_imports.import_items AS held
            WHERE held.batch_id = item.data_batch_id
                AND held.item_number = item.data_item_number
        )
    END AS read_problem_kind,
    CASE
        WHEN item.data_batch_id IS NULL THEN item.source_line
        ELSE (
            SELECT held.source_line
            FROM reliable_imports.import_items AS held
            WHERE held.batch_id = item.data_batch_id
                AND held.item_number = item.data_item_number
        )
    END AS source_line,
    CASE
        WHEN item.data_batch_id IS NULL THEN item.source_offset
        ELSE (
            SELECT held.source_offset
            FROM reliable_imports.import_items AS held
            WHERE held.batch_id = item.data_batch_id
                AND held.item_number = item.data_item_number
        )
    END AS source_offset,
    item.repeats_batch_id,
    item.repeats_item_number,
    item.origin_batch_id,
    item.origin_item_number,
    coalesce(item.repeats_attempts, 0) AS earlier_attempts,
    item.data_batch_id,
    item.data_item_number,
    item.erased_at
FROM reliable_imports.import_items AS item;
