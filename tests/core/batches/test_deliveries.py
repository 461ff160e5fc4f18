"""The same content delivered twice, the same key with other content, and more than a batch may hold."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg2
import pytest
from pydantic import BaseModel

from reliable_imports import AlreadyImported, BatchManager, Delivery, SourceChanged, SourceError, SourceOptions
from tests.core.conftest import Sql
from tests.core.doubles import NotesProcessor

ROWS = "id,text\n1,a\n2,b\n"
OTHER = "id,text\n1,a\n2,c\n"

Deliver = Callable[..., Delivery]


class DailyProcessor(NotesProcessor):
    skip_unchanged = True


class TolerantProcessor(NotesProcessor):
    partitions = "daily from 2024-01-01"

    class Params(BaseModel):
        day: str = "monday"


class SmallProcessor(NotesProcessor):
    source_options: ClassVar[SourceOptions] = SourceOptions(max_items=3)


@pytest.fixture
def deliver(manager: BatchManager, tmp_path: Path) -> Deliver:
    """Delivers a file of a name and a content."""
    for processor in (DailyProcessor, TolerantProcessor, SmallProcessor):
        manager.registry.register(processor)

    def deliver(batch_type: str, content: str = ROWS, name: str = "rows.csv", **options: Any) -> Delivery:
        path = tmp_path / name
        path.write_text(content)
        return manager.deliver(batch_type, manager.open_source(batch_type, path), **options)

    return deliver


def counts(sql: Sql) -> tuple[int, int]:
    ((batches, items),) = sql(
        "SELECT (SELECT count(*) FROM reliable_imports.import_batches), "
        "(SELECT count(*) FROM reliable_imports.import_items)"
    )
    return batches, items


def test_the_same_content_is_stored_again_and_said(manager: BatchManager, deliver: Deliver, sql: Sql) -> None:
    first, second = deliver("notes"), deliver("notes", name="copy.csv")
    assert first == Delivery(first.batch_id, is_new=True, warnings=())
    (warning,) = second.warnings
    assert f"the same content is in batch {first.batch_id} already, from " in warning
    assert list(manager.get_batch(second.batch_id).warnings) == [warning]
    assert list(manager.get_summary(second.batch_id).warnings) == [warning]
    assert ("warning", warning) in sql("SELECT level, message FROM reliable_imports.import_logs")
    assert counts(sql) == (2, 4)


def test_a_processor_can_leave_out_what_is_unchanged(manager: BatchManager, deliver: Deliver, sql: Sql) -> None:
    first = deliver("daily")
    assert deliver("daily") == Delivery(first.batch_id, is_new=False, warnings=())
    assert counts(sql) == (1, 2)
    assert ("delivered again, unchanged",) in sql(
        "SELECT message FROM reliable_imports.import_logs WHERE batch_id = %s", first.batch_id
    )
    assert deliver("daily", OTHER).is_new


def test_an_unchanged_delivery_is_known_by_its_key(manager: BatchManager, deliver: Deliver, sql: Sql) -> None:
    first = deliver("daily", idempotency_key="monday")
    assert not deliver("daily", idempotency_key="tuesday").is_new
    assert manager.orchestration.find_deliveries("daily", ["monday", "tuesday"]) == {
        "monday": first.batch_id,
        "tuesday": first.batch_id,
    }
    assert deliver("daily", OTHER, idempotency_key="tuesday").batch_id == first.batch_id
    assert counts(sql) == (1, 2)


def test_it_can_be_refused_or_wanted_for_one_delivery(deliver: Deliver, sql: Sql) -> None:
    first = deliver("daily")
    with pytest.raises(AlreadyImported, match=f"this is batch {first.batch_id} already, and nothing was stored"):
        deliver("daily", same_content="refuse")
    assert deliver("daily", same_content="warn").is_new
    assert counts(sql) == (2, 4)


def test_content_that_comes_back_after_other_content_is_news(deliver: Deliver) -> None:
    """A file that is replaced every day, and one day has again what it had."""
    assert [deliver("daily", content).is_new for content in (ROWS, OTHER, ROWS, ROWS)] == [True, True, True, False]


def test_files_of_other_names_do_not_make_a_file_news(deliver: Deliver) -> None:
    delivered = [("north.csv", ROWS), ("south.csv", OTHER), ("north.csv", ROWS), ("south.csv", OTHER)]
    assert [deliver("daily", content, name).is_new for name, content in delivered] == [True, True, False, False]


def test_another_type_other_params_or_another_partition_make_it_another_delivery(deliver: Deliver) -> None:
    for batch_type, options in (
        ("notes", {}),
        ("tolerant", {"params": {"day": "monday"}}),
        ("tolerant", {"params": {"day": "tuesday"}}),
        ("tolerant", {"params": {"day": "monday"}, "partition": "2024-01-01"}),
    ):
        assert deliver(batch_type, same_content="refuse", **options).is_new
        assert not deliver(batch_type, same_content="skip", **options).is_new


def test_a_cancelled_batch_does_not_count(manager: BatchManager, deliver: Deliver) -> None:
    manager.cancel_batch(deliver("daily").batch_id)
    assert deliver("daily").is_new


def test_items_of_a_list_have_no_content_to_compare(manager: BatchManager, deliver: Deliver) -> None:
    items = [{"id": 1, "text": "a"}]
    assert [manager.deliver("daily", items).is_new for _ in range(2)] == [True, True]


@pytest.mark.parametrize(("batch_type", "batches"), [("notes", 2), ("daily", 1)])
def test_two_deliveries_of_one_content_at_once_see_each_other(
    manager: BatchManager, deliver: Deliver, sql: Sql, database: str, batch_type: str, batches: int, tmp_path: Path
) -> None:
    """Both have read their file to its end before either may look for the other."""
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    deliver("small")  # registered, and the schema is there
    delivered: list[Delivery] = []

    def again() -> None:
        delivered.append(manager.deliver(batch_type, manager.open_source(batch_type, path)))

    with psycopg2.connect(database) as holder, holder.cursor() as cursor:
        # Whoever comes to the end of its file waits here, as behind a delivery that is under way.
        cursor.execute("LOCK TABLE reliable_imports.import_ranges IN ACCESS EXCLUSIVE MODE")
        threads = [threading.Thread(target=again) for _ in range(2)]
        for thread in threads:
            thread.start()
        wanted = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while sql(wanted) != [(2,)]:
            assert all(thread.is_alive() for thread in threads)
    holder.close()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(each.is_new for each in delivered) == [batches == 2, True]
    assert sum(len(each.warnings) for each in delivered) == batches - 1
    assert sql("SELECT count(*) FROM reliable_imports.import_batches WHERE batch_type = %s", batch_type) == [(batches,)]


def test_a_key_that_comes_with_other_content_is_told(manager: BatchManager, deliver: Deliver, sql: Sql) -> None:
    first = deliver("notes", idempotency_key="monday")
    assert deliver("notes", idempotency_key="monday") == Delivery(first.batch_id, is_new=False, warnings=())
    for content in (OTHER, ROWS + "3,c\n"):
        told = deliver("notes", content, idempotency_key="monday")
        assert (told.batch_id, told.is_new) == (first.batch_id, False)
        assert f"its idempotency key names batch {first.batch_id}" in told.warnings[0]
    assert sql("SELECT count(*) FROM reliable_imports.import_logs WHERE level = 'warning'") == [(2,)]
    assert counts(sql) == (1, 2)


def test_a_key_that_comes_with_another_number_of_items_is_told(manager: BatchManager) -> None:
    items = [{"id": 1, "text": "a"}]
    manager.deliver("notes", items, idempotency_key="monday")
    assert manager.deliver("notes", items, idempotency_key="monday").warnings == ()
    assert len(manager.deliver("notes", items * 2, idempotency_key="monday").warnings) == 1
    assert manager.deliver("notes", iter(items * 2), idempotency_key="monday").warnings == ()


def test_a_file_that_changes_while_it_is_stored_makes_no_batch(
    manager: BatchManager, deliver: Deliver, sql: Sql, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n" + "".join(f"{number},a\n" for number in range(100_000)))
    source = manager.open_source("notes", path)

    class Growing(type(source)):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            for number, item in enumerate(super().__iter__()):
                if number == 50_000:
                    with path.open("a") as file:
                        file.write("x,y\n")
                yield item

    source.__class__ = Growing
    with pytest.raises(SourceChanged):
        manager.create_batch("notes", source)
    assert counts(sql) == (0, 0)


def test_more_items_than_a_batch_may_hold_make_none(manager: BatchManager, deliver: Deliver, sql: Sql) -> None:
    for items in ([{"id": 1}] * 4, ({"id": number} for number in range(100_000))):
        with pytest.raises(SourceError, match=r"more than 3 items.*raise SourceOptions\.max_items"):
            manager.create_batch("small", items)
    with pytest.raises(SourceError, match="more than 3 items"):
        deliver("small", ROWS + "3,c\n4,d\n")
    assert counts(sql) == (0, 0)
    assert deliver("small", ROWS + "3,c\n").is_new


def test_an_endless_source_is_stopped_before_it_fills_the_disk(manager: BatchManager, sql: Sql, tmp_path: Path) -> None:
    """Items of one byte, of which a megabyte of gzip holds hundreds of millions."""
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"[1")
        for _ in range(150):
            file.write(b",1" * 500_000)
        file.write(b"]")
    with pytest.raises(SourceError, match="more than 250 times as much"):
        manager.create_batch("notes", manager.open_source("notes", path))
    assert counts(sql) == (0, 0)
    ((size,),) = sql("SELECT pg_total_relation_size('reliable_imports.import_items')")
    assert size < 150_000_000
