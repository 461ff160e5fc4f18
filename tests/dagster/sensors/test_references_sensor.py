"""Items that failed for a foreign key are run again when their row is there, and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import dagster as dg
import psycopg2
import pytest
from pydantic import BaseModel

from reliable_imports import BatchManager, ProcessorRegistry, TableProcessor
from reliable_imports_dagster import build_missing_references_sensor, build_reliable_imports_defs
from tests.dagster.conftest import Query, checks_of
from tests.dagster.daemon import Daemon

TABLES = """
CREATE TABLE shops (code text PRIMARY KEY);
CREATE TABLE days (year integer, name text, PRIMARY KEY (year, name));
CREATE TABLE sales (
    id integer PRIMARY KEY,
    shop text REFERENCES shops,
    year bigint,
    day text,
    previous bigint REFERENCES sales,
    CONSTRAINT sold_on FOREIGN KEY (year, day) REFERENCES days (year, name)
);
"""


class Shop(BaseModel):
    code: str


class ShopsProcessor(TableProcessor):
    table = "shops"
    key = ("code",)
    model = Shop


class Sale(BaseModel):
    id: int
    shop: str | None = None
    year: int | None = None
    day: str | None = None
    previous: int | None = None


class SalesProcessor(TableProcessor):
    table = "sales"
    key = ("id",)
    model = Sale
    depends_on = ("shops",)


REGISTRY = ProcessorRegistry()
for processor in (ShopsProcessor, SalesProcessor):
    REGISTRY.register(processor)
DEFS = build_reliable_imports_defs(REGISTRY)

NOTHING = "none lacks a row that is there now"
Import = Callable[..., int]


@pytest.fixture
def manager(dsn: str, query: Query) -> BatchManager:
    query(TABLES)
    return BatchManager(dsn, registry=REGISTRY)


@pytest.fixture
def references(manager: BatchManager, instance: dg.DagsterInstance) -> Daemon:
    return Daemon(build_missing_references_sensor(REGISTRY), instance, DEFS)


@pytest.fixture
def sell(manager: BatchManager) -> Import:
    """Imports sales; the batch's id."""

    def process(*items: Mapping[str, Any]) -> int:
        return manager.process_batch(manager.create_batch("sales", items)).batch_id

    return process


def _attempts(query: Query) -> list[tuple[Any, ...]]:
    """How often each item of the first batch was tried."""
    return query(
        "SELECT coalesce(item.origin_item_number, item.item_number), max(attempt.attempt)"
        " FROM reliable_imports.import_attempts AS attempt"
        " JOIN reliable_imports.import_items AS item USING (batch_id, item_number) GROUP BY 1 ORDER BY 1"
    )


def test_only_items_whose_row_is_there_are_run_again(
    references: Daemon, sell: Import, manager: BatchManager, query: Query
) -> None:
    assert references.reason() == f"of 0 lineages that failed for foreign keys, {NOTHING}"
    sell({"id": 1, "shop": "a"}, {"id": 2, "shop": "b"}, {"id": 3, "shop": "x"}, {})
    assert references.reason() == f"of 1 lineages that failed for foreign keys, {NOTHING}"
    query("INSERT INTO shops VALUES ('a'), ('b')")  # whoever wrote them

    [request] = references.requests()
    assert references.run(request).success

    assert query("SELECT id, shop FROM sales ORDER BY id") == [(1, "a"), (2, "b")]
    assert _attempts(query) == [(1, 2), (2, 2), (3, 1), (4, 1)]
    assert NOTHING in references.reason()
    query("INSERT INTO shops VALUES ('x')")
    [request] = references.requests()
    assert references.run(request).success
    assert manager.count_outstanding(1) == 1  # the one that is no sale at all


def test_that_a_parent_was_materialized_is_not_enough(
    references: Daemon, sell: Import, instance: dg.DagsterInstance
) -> None:
    sell({"id": 1, "shop": "a"})
    DEFS.resolve_job_def("import_shops").execute_in_process(
        instance=instance, run_config={"ops": {"shops": {"config": {"items": [{"code": "another"}]}}}}
    )

    assert NOTHING in references.reason()


@pytest.mark.parametrize("code", ["a)=(b", "'; DROP TABLE shops; --", "é, ü", '"', "", "{}"])
def test_any_text_is_found(references: Daemon, sell: Import, query: Query, code: str) -> None:
    sell({"id": 1, "shop": code}, {"id": 2, "shop": f"{code}2"})
    assert references.requests() == []
    query("INSERT INTO shops VALUES (%s)", code)

    references.run(references.requests()[0])

    assert query("SELECT id FROM sales") == [(1,)]


def test_a_key_of_several_columns_and_one_of_other_types_is_found(
    references: Daemon, sell: Import, query: Query
) -> None:
    sell({"id": 1, "year": 2024, "day": "may day"}, {"id": 2, "year": 2025, "day": "may day"}, {"id": 4, "previous": 3})
    query("INSERT INTO days VALUES (2024, 'may day')")
    query("INSERT INTO sales VALUES (3)")

    [request] = references.requests()
    references.run(request)

    assert query("SELECT id FROM sales ORDER BY id") == [(1,), (3,), (4,)]


def test_a_key_that_does_not_fit_its_column_any_more_is_not_there(
    references: Daemon, sell: Import, query: Query
) -> None:
    sell({"id": 4, "previous": 2**40})
    query("ALTER TABLE sales ALTER previous TYPE integer")

    assert NOTHING in references.reason()


def test_a_table_that_may_not_be_read_is_not_asked(dsn: str, sell: Import, query: Query) -> None:
    sell({"id": 1, "shop": "a"})
    query("INSERT INTO shops VALUES ('a')")
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:  # it commits nothing
        cursor.execute("CREATE ROLE reader_of_nothing_else; SET search_path TO pg_catalog")
        cursor.execute("GRANT USAGE ON SCHEMA reliable_imports TO reader_of_nothing_else")
        cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA reliable_imports TO reader_of_nothing_else")
        found = []
        for role in ("NONE", "reader_of_nothing_else"):
            cursor.execute(
                f"SET LOCAL ROLE {role}; SELECT count(*) FROM reliable_imports.resolved_references_v1('{{1}}')"
            )
            found += cursor.fetchall()

    assert found == [(1,), (0,)]


def test_what_fails_again_rests_the_longer_the_more_often_it_was_tried(
    references: Daemon, sell: Import, query: Query
) -> None:
    sell({"id": 1, "shop": "a", "previous": 7})
    query("INSERT INTO shops VALUES ('a')")
    references.run(references.requests()[0])
    assert _attempts(query) == [(1, 2)]

    query("INSERT INTO sales VALUES (7)")
    assert references.requests() == []

    query("ALTER TABLE reliable_imports.import_attempts DISABLE TRIGGER USER")
    query("UPDATE reliable_imports.import_attempts SET finished_at = finished_at - interval '61 seconds'")
    references.run(references.requests()[0])
    assert query("SELECT count(*) FROM sales WHERE id = 1") == [(1,)]


def test_there_is_one_run_for_a_line_and_no_more_than_ten_in_a_tick(
    references: Daemon, sell: Import, query: Query
) -> None:
    for number in range(12):
        sell({"id": number, "shop": "a"}, {"id": number + 100, "previous": 1})
    query("INSERT INTO shops VALUES ('a')")

    first, second = references.requests(), references.requests()

    lines = [request.tags["reliable_imports/lineage"] for request in [*first, *second]]
    assert (len(first), lines) == (10, [str(number) for number in range(1, 13)])


def test_a_line_that_somebody_works_is_left_alone(references: Daemon, sell: Import, query: Query) -> None:
    sell({"id": 1, "shop": "a"})
    query("INSERT INTO shops VALUES ('a')")
    query(
        "INSERT INTO reliable_imports.import_runs (batch_id, runner, mode, host, process_id)"
        " VALUES (1, 'cli', 'resume', 'elsewhere', 1)"
    )

    assert "another process is working on it" in references.reason()


def test_a_run_of_a_sensor_that_repaired_nothing_is_green_with_a_red_check(
    references: Daemon, sell: Import, query: Query
) -> None:
    sell({"id": 1, "shop": "a"})
    query("INSERT INTO shops VALUES ('a')")
    [request] = references.requests()
    query("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed'; END $$")
    query("CREATE TRIGGER closed BEFORE INSERT ON sales FOR EACH ROW EXECUTE FUNCTION refuse()")

    result = references.run(request)

    assert result.success
    assert result.get_asset_materialization_events() == []
    check = checks_of(result)["no_failed_items"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
