"""What a function in the database raises is told by what it says there, so that edits around it change nothing."""

from __future__ import annotations

import pytest

from reliable_imports import BatchManager
from reliable_imports.items.fingerprint import ServerPlace, statement_at
from tests.core.conftest import Sql

FUNCTION = """
CREATE OR REPLACE FUNCTION look_at_note() RETURNS trigger LANGUAGE plpgsql AS $$
{before}BEGIN
    IF {row}.text = 'dear' THEN
        RAISE EXCEPTION 'note % is too dear', {row}.id;
    END IF;
    IF {row}.text = 'late' THEN RAISE EXCEPTION 'note % comes late', {row}.id USING ERRCODE = 'P0001'; END IF;
    RETURN NEW;
END
$$;
"""
TRIGGER = "CREATE TRIGGER look BEFORE INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION look_at_note()"


def reasons(manager: BatchManager) -> list[str]:
    batch_id = manager.create_batch("notes", [{"id": 1, "text": "dear"}, {"id": 2, "text": "late"}])
    manager.process_batch(batch_id)
    return [str(item.reason) for item in manager.list_items(batch_id)]


def test_edits_around_a_raise_leave_its_reason(manager: BatchManager, sql: Sql) -> None:
    sql(FUNCTION.format(before="", row="NEW"))
    sql(TRIGGER)
    first = reasons(manager)
    assert len(set(first)) == 2
    declared = "DECLARE\n    -- somebody's row\n    it notes%ROWTYPE := NEW;\n"
    sql(FUNCTION.format(before=declared, row="it"))
    assert reasons(manager) == first
    assert "raised by look_at_note()" in manager.failures()[0].title
    sql(FUNCTION.format(before="", row="NEW").replace("comes late", "comes later"))
    changed = reasons(manager)
    assert (changed[0], changed[1] == first[1]) == (first[0], False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (2, "PERFORM 1;"),
        (3, "RAISE 'a; b' 'x'"),
        (5, "UPDATE t SET a = ';' WHERE b;"),
        (99, "99"),
    ],
)
def test_what_stands_at_a_line(line: int, said: str) -> None:
    body = "\nPERFORM\t1; -- why;\nIF x THEN raise 'a; b' USING HINT = 'x'; END IF; RAISE 'c';\n\n"
    body += "UPDATE t\n SET a = ';' WHERE b;\n"
    assert statement_at(ServerPlace("f()", line), {"f()": body}) == said
    assert statement_at(ServerPlace("g()", line), {"f()": body}) == str(line)
