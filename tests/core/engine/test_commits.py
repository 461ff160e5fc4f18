"""Which commits wait for the disk, by what the server is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reliable_imports import BaseProcessor, BatchManager, Failure, ImportBatchItem, ImportContext
from reliable_imports.engine.work import chunk, recorder
from tests.core.conftest import Sql

pytestmark = pytest.mark.promise(2)

_RANGE = 50
# At a commit, when all of its settings are made.
_NOTES_COMMITS = """
CREATE TABLE commits (range_number integer, setting text);
CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO commits VALUES (NEW.range_number, current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER notes_commits AFTER UPDATE OF next_item ON reliable_imports.import_ranges
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_commit();
"""


def test_a_long_chunk_waits_for_the_disk_and_short_ones_once_a_second(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {1: 0.15, 2: 0.3, **dict.fromkeys(range(3, 11), 0.15)}
    now = [0.0]
    for module in (chunk, recorder):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class SlowProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number % _RANGE == 1:
                now[0] += seconds[item.item_number // _RANGE + 1]

        def on_item_error(self, item: ImportBatchItem, error: Failure, ctx: ImportContext) -> None:
            """With a hook no item is tried while the chunk before it is committed."""

    ((database,),) = sql("SELECT current_database()")
    sql(f'ALTER DATABASE "{database}" SET synchronous_commit = on')
    sql(_NOTES_COMMITS)
    manager.registry.register(SlowProcessor)

    manager.process_batch(manager.create_batch("slow", [{} for _ in range(_RANGE * len(seconds))]))

    told = dict(sql("SELECT range_number, setting FROM commits"))
    # The second takes long, and after the ninth a second has gone by since then.
    assert told == {number: "on" if number in (2, 9) else "off" for number in seconds}
