"""The database grows: the data of old batches goes, and what is still wanted stays."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest

from reliable_imports import BatchManager, ConfigurationError, Purge, PurgeRequest, ReprocessRequest, WhichItems
from reliable_imports.batches import purge as purge_module
from tests.core.batches.test_erase import ANN, PEOPLE, PeopleProcessor, dump, person, somebody
from tests.core.conftest import Sql

ROOT = Path(__file__).parents[3]
NINETY_DAYS = PurgeRequest(timedelta(days=90), requested_by="cron")


@pytest.fixture
def people(database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchManager]:
    monkeypatch.setattr(PeopleProcessor, "fixed", False)
    monkeypatch.setattr(purge_module, "_SLICE", 2)
    sql(PEOPLE)
    manager = BatchManager(database)
    manager.registry.register(PeopleProcessor)
    yield manager
    assert [found for found in manager.verify() if found.problems] == []
    assert sql("SELECT batch_id FROM reliable_imports.reconciliation WHERE NOT balanced") == []


def worked(manager: BatchManager, sql: Sql, *items: object, days_ago: int = 100) -> int:
    """A processed batch that ended so many days ago."""
    batch_id = manager.create_batch("people", items)
    manager.process_batch(batch_id)
    age(sql, batch_id, days_ago)
    return batch_id


def age(sql: Sql, batch_id: int, days: int = 100) -> None:
    sql(
        "UPDATE reliable_imports.import_batches SET finished_at = now() - %s * interval '1 day' WHERE id = %s",
        days,
        batch_id,
    )


def with_data(manager: BatchManager, batch_id: int) -> list[int]:
    return [item.item_number for item in manager.list_items(batch_id) if item.erased_at is None]


def test_the_data_of_old_batches_goes_and_counts_and_reasons_stay(
    people: BatchManager, database: str, sql: Sql
) -> None:
    old = worked(people, sql, person(), somebody(1), somebody(2), somebody(3, do="skip"), somebody(4, do="fail"))
    young = worked(people, sql, somebody(5), days_ago=89)
    before, reasons = people.get_summary(old), people.failure_reasons(old)
    keys = sql("SELECT row_key FROM reliable_imports.import_attempts ORDER BY 1")

    assert people.find_to_purge(NINETY_DAYS) == Purge(1, 5)
    looked_at: list[int] = []
    assert people.purge(NINETY_DAYS, on_progress=looked_at.append) == Purge(1, 4, 1)

    assert sum(looked_at) == 5
    assert ANN not in dump(database)
    assert (with_data(people, old), with_data(people, young)) == ([5], [1])
    after = people.get_summary(old)
    assert (after.completed_items, after.failed_items, after.skipped_items) == (3, 1, 1)
    assert (before.erased_items, after.erased_items) == (0, 4)
    assert people.failure_reasons(old) == reasons
    assert sql("SELECT row_key FROM reliable_imports.import_attempts ORDER BY 1") == keys, "newer data stays guarded"
    told = [line for line in people.list_logs(old) if line.message == "data erased: it was old"]
    assert [line.details for line in told] == [
        {"items": 4, "kept_items": 1, "older_than_days": 90, "outstanding_too": False, "requested_by": "cron"}
    ]
    assert people.purge(NINETY_DAYS) == Purge(1, 0, 1)
    assert len([line for line in people.list_logs(old) if line.message == "data erased: it was old"]) == 1


def test_what_is_outstanding_keeps_its_data_unless_told(people: BatchManager, sql: Sql) -> None:
    batch_id = worked(people, sql, somebody(1, do="fail"), somebody(2, do="later"), somebody(3))
    cancelled = people.create_batch("people", [somebody(4), somebody(5)])
    people.cancel_batch(cancelled)
    age(sql, cancelled)

    people.purge(NINETY_DAYS)
    assert (with_data(people, batch_id), with_data(people, cancelled)) == ([1, 2], [1, 2])

    done = people.purge(PurgeRequest(timedelta(days=90), outstanding_too=True))
    assert done == Purge(2, 4, 0)
    assert people.count_outstanding(batch_id) == people.count_outstanding(cancelled) == 0
    assert (people.count_erased(batch_id), people.count_erased(cancelled)) == (2, 2)
    assert people.create_reprocess_batch(batch_id) is None
    assert people.orchestration.lineages_due() == []


def test_an_item_keeps_its_data_as_long_as_its_repeat_is_wanted(
    people: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = worked(people, sql, somebody(1, do="fail"), somebody(2))
    again = people.create_reprocess_batch(first, ReprocessRequest(which=WhichItems.ALL))
    assert again is not None
    told = PurgeRequest(timedelta(days=90), outstanding_too=True)

    assert people.purge(told) == Purge(1, 0, 2), "the repeats wait"
    people.process_batch(again)
    age(sql, again)
    assert people.purge(NINETY_DAYS) == Purge(2, 2, 2)
    assert (with_data(people, first), with_data(people, again)) == ([1], [1]), "the repeat is outstanding"
    monkeypatch.setattr(PeopleProcessor, "fixed", True)
    last = people.reprocess_batch(first)
    assert last.completed_items == 1
    assert people.purge(NINETY_DAYS) == Purge(2, 0, 2), "the last repeat is young, and reads what the first one holds"
    assert [item.erased_at for item in people.list_items(last.batch_id)] == [None]
    age(sql, last.batch_id)
    assert people.purge(NINETY_DAYS) == Purge(3, 3), "all of the chain at once"
    assert [with_data(people, each) for each in (first, again, last.batch_id)] == [[], [], []]
    lines = {each: people.list_logs(each)[-1].details for each in (first, again, last.batch_id)}
    assert [line["items"] for line in lines.values() if line] == [1, 1, 1]


def test_a_purge_that_is_interrupted_leaves_no_repeat_without_the_data_that_it_reads(
    people: BatchManager, database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = worked(people, sql, person(do="fail"), somebody(1, do="fail"), somebody(2, do="fail"))
    monkeypatch.setattr(PeopleProcessor, "fixed", True)
    again = people.reprocess_batch(first).batch_id
    age(sql, again)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        people.purge(NINETY_DAYS, on_progress=interrupt)
    assert (with_data(people, first), with_data(people, again)) == ([3], [3])
    assert [found for found in people.verify() if found.problems] == []
    assert ANN not in dump(database), "its lines in the audit log of the repeat are gone, too"
    assert people.purge(NINETY_DAYS) == Purge(2, 2)


def test_an_interrupted_purge_goes_on_where_it_stopped(people: BatchManager, database: str, sql: Sql) -> None:
    batch_id = worked(people, sql, *[somebody(number, do="skip") for number in range(4)], person(do="skip"))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        people.purge(NINETY_DAYS, on_progress=interrupt)
    assert with_data(people, batch_id) == [3, 4, 5]
    assert people.get_summary(batch_id).erased_items == 2
    assert [found for found in people.verify() if found.problems] == []

    assert people.purge(NINETY_DAYS) == Purge(1, 3)
    assert ANN not in dump(database)


def test_one_type_can_be_purged_alone(people: BatchManager, sql: Sql) -> None:
    batch_id = worked(people, sql, somebody(1))

    with pytest.raises(ConfigurationError, match="there is no batch of type 'others'; there are people"):
        people.purge(PurgeRequest(timedelta(days=90), batch_type="others"))
    sql("UPDATE reliable_imports.import_batches SET batch_type = 'others'")
    assert people.purge(PurgeRequest(timedelta(days=90), batch_type="others")) == Purge(1, 1)
    assert with_data(people, batch_id) == []


def test_partitions_are_purged_and_erased_as_plain_tables_are(people: BatchManager, database: str, sql: Sql) -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    partition, add_range, jump = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[:3]
    old = worked(people, sql, person(do="fail"), somebody(1))
    sql(partition)
    sql(add_range)
    sql(jump)
    young = people.reprocess_batch(old).batch_id
    assert young >= 10_000

    assert people.purge(NINETY_DAYS) == Purge(1, 1, 1)
    assert people.erase(ANN, "people").items == {old: 1, young: 1}
    assert ANN not in dump(database)


@pytest.fixture
def guardian(database: str, sql: Sql) -> Iterator[Callable[[], BatchManager]]:
    """A manager as the role that docs/personal-data.md describes; it has the rights that stand there, and no other."""
    page = (ROOT / "docs" / "personal-data.md").read_text()
    (grants,) = re.findall(r"^```sql\n(GRANT .*?)^```", page, re.MULTILINE | re.DOTALL)
    role = f"guardian_{os.getpid()}"
    sql(f"CREATE ROLE {role} LOGIN")

    def enter() -> BatchManager:
        sql(grants.replace("imports_guardian", role))
        return BatchManager(psycopg2.extensions.make_dsn(database, options=f"-c role={role}"), migrate=False)

    yield enter
    sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_of_its_own_erases_and_purges_and_can_do_nothing_else(
    people: BatchManager, database: str, sql: Sql, guardian: Callable[[], BatchManager]
) -> None:
    old = people.create_batch("people", [person(do="fail"), somebody(1)], source=f"{ANN}.json")
    people.process_batch(old)
    age(sql, old)
    cancelled = people.create_batch("people", [person()], metadata={"who": ANN})
    people.cancel_batch(cancelled)
    sql("UPDATE reliable_imports.import_runs SET error = %s", f"about {ANN}")
    people.note_failure(people.failures(with_closed=True)[0].reason, f"about {ANN}")
    sql("INSERT INTO reliable_imports.import_suspects VALUES (%s, 1, 1, 1, 1, %s)", old, f"about {ANN}")
    sql("INSERT INTO reliable_imports.import_unchanged_deliveries VALUES ('people', %s, %s, 'x')", ANN, old)
    manager = guardian()
    manager.registry.register(PeopleProcessor)

    assert manager.purge(NINETY_DAYS) == Purge(1, 1, 1)
    erased = manager.erase(ANN, "people")

    assert (erased.items, erased.texts) == ({old: 1, cancelled: 1}, 7)
    assert ANN not in dump(database)
    with closing(psycopg2.connect(manager.dsn)) as connection, connection.cursor() as cursor:
        for statement in (
            "UPDATE reliable_imports.import_batches SET status = 'completed'",
            "UPDATE reliable_imports.import_attempts SET outcome = 'completed'",
            "DELETE FROM reliable_imports.import_items",
            "INSERT INTO reliable_imports.import_items (batch_id, item_number, source_data) VALUES (1, 9, '1')",
            "SELECT * FROM people",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            connection.rollback()
