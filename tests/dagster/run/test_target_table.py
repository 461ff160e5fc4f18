"""What an asset shows of its table: its name, its rows, and which columns refer to other assets' tables."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest

from reliable_imports import BatchManager
from reliable_imports_dagster import (
    ReliableImportsResource,
    build_import_asset,
    build_import_asset_specs,
    build_import_assets,
    build_report_sensor,
)
from reliable_imports_dagster.discovery import discover
from reliable_imports_dagster.run.report import target_table
from reliable_imports_dagster.run.report.target_table import table_metadata
from tests.dagster.conftest import Query
from tests.dagster.daemon import Daemon
from tests.dagster.shop_project import TABLES, CustomersProcessor, DaysProcessor, OrdersProcessor, clerks
from tests.running import ROOT

RESOURCES = {"reliable_imports": ReliableImportsResource()}
PROJECT = "tests.dagster.shop_project"


@pytest.fixture
def shop(dsn: str, query: Query) -> str:
    query(TABLES)
    [(name,)] = query("SELECT current_database()")
    return str(name)


def _metadata(result: dg.ExecuteInProcessResult, key: str) -> dict[str, Any]:
    [event] = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(key)
    ]
    return {name: value.value for name, value in event.metadata.items()}


def _import(instance: dg.DagsterInstance, assets: list[Any]) -> dg.ExecuteInProcessResult:
    config = {
        "customers": {"config": {"items": [{"number": 1}]}},
        "orders": {"config": {"items": [{"OrderNo": 7, "buyer": 1}]}},
    }
    ops = {name: config[name] for name in config if any(asset.key == dg.AssetKey(name) for asset in assets)}
    return dg.materialize(assets, instance=instance, resources=RESOURCES, run_config={"ops": ops})


def test_columns_lead_to_those_that_they_refer_to_in_tables_of_other_assets(
    shop: str, instance: dg.DagsterInstance
) -> None:
    orders, customers = build_import_asset(OrdersProcessor), build_import_asset(CustomersProcessor)

    result = _import(instance, [customers, orders, clerks])

    lineage = _metadata(result, "orders")["dagster/column_lineage"]
    # Not `follows`, which refers to its own table.
    assert lineage == dg.TableColumnLineage(
        {
            "customer": [dg.TableColumnDep("customers", "number")],
            "clerk": [dg.TableColumnDep("clerks", "number")],
        }
    )
    assert "dagster/column_lineage" not in _metadata(result, "customers")


def test_a_table_that_no_asset_names_is_not_in_the_lineage(shop: str, instance: dg.DagsterInstance) -> None:
    query_result = _import(instance, [build_import_asset(CustomersProcessor)])
    assert query_result.success

    result = _import(instance, [build_import_asset(OrdersProcessor)])

    assert "dagster/column_lineage" not in _metadata(result, "orders")


def test_an_assets_table_may_be_named_with_its_database(shop: str, manager: BatchManager) -> None:
    manager.registry.register(OrdersProcessor)

    def lineage(name: str) -> Any:
        told = table_metadata(
            manager,
            "orders",
            asset_key=dg.AssetKey("orders"),
            partition=None,
            tables={dg.AssetKey("buyers"): name, dg.AssetKey("odd"): 'a"b..c.d.e'},
        )
        return told.get("dagster/column_lineage")

    assert lineage(f"{shop}.shop.customers") == dg.TableColumnLineage(
        {"customer": [dg.TableColumnDep("buyers", "number")]}
    )
    assert lineage("elsewhere.shop.customers") is None
    assert lineage("customers") is None  # it is not on the search_path
    assert lineage("clerks") == dg.TableColumnLineage({"clerk": [dg.TableColumnDep("buyers", "number")]})


def test_the_tables_name_is_told_with_its_database_and_its_rows_are_counted(
    shop: str, instance: dg.DagsterInstance, query: Query
) -> None:
    query("INSERT INTO shop.customers VALUES (99)")

    result = _import(instance, [build_import_asset(CustomersProcessor), build_import_asset(OrdersProcessor)])

    told = _metadata(result, "customers")
    assert (told["dagster/table_name"], told["dagster/row_count"]) == (f"{shop}.shop.customers", 2)
    told = _metadata(result, "orders")
    assert (told["dagster/table_name"], told["dagster/row_count"]) == (f"{shop}.shop.Orders.2024", 1)
    assert "dagster/partition_row_count" not in told


def test_of_a_partition_the_rows_that_its_batches_have_written_are_told(
    shop: str, instance: dg.DagsterInstance
) -> None:
    days = build_import_asset(DaysProcessor)

    def rows(day: str, *numbers: int) -> tuple[int, int]:
        items = [{"id": number, "day": day} for number in numbers]
        result = dg.materialize(
            [days],
            instance=instance,
            resources=RESOURCES,
            partition_key=day,
            run_config={"ops": {"days": {"config": {"items": items, "new_batch": True}}}},
        )
        told = _metadata(result, "days")
        return told["dagster/partition_row_count"], told["dagster/row_count"]

    assert rows("2024-01-01", 1, 2, 3) == (3, 3)
    assert rows("2024-01-02", 4) == (1, 4)
    assert rows("2024-01-01", 3, 5) == (4, 5)  # one of them is the row of before


def test_a_batch_from_outside_dagster_tells_the_same(
    shop: str, manager: BatchManager, instance: dg.DagsterInstance, query: Query
) -> None:
    registry = discover(PROJECT)
    cli = BatchManager(manager.dsn, registry=registry)
    cli.process_batch(cli.create_batch("customers", [{"number": 1}]))
    cli.process_batch(cli.create_batch("orders", [{"OrderNo": 7, "buyer": 1}]))
    query("UPDATE reliable_imports.import_batches SET finished_at = finished_at - interval '1 minute'")
    defs = dg.Definitions(assets=[*build_import_assets(registry), clerks], resources=RESOURCES)

    answer = Daemon(build_report_sensor(registry), instance, defs).tick()

    assert isinstance(answer, dg.SensorResult)
    events = [event for event in answer.asset_events if isinstance(event, dg.AssetMaterialization)]
    told = {event.asset_key.to_user_string(): event.metadata for event in events}
    assert set(told["orders"]["dagster/column_lineage"].value.deps_by_column) == {"customer", "clerk"}
    assert told["orders"]["dagster/table_name"].value == f"{shop}.shop.Orders.2024"


def test_what_cannot_be_counted_at_once_is_left_out_and_the_rest_is_told(
    shop: str, manager: BatchManager, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> dict[str, Any]:
        return table_metadata(manager, "authors", asset_key=dg.AssetKey("authors"), partition=None, tables={})

    with closing(psycopg2.connect(manager.dsn)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE authors IN ACCESS EXCLUSIVE MODE")
        with monkeypatch.context() as impatient:
            impatient.setattr(target_table, "_PATIENCE", "2s")
            assert told() == {"dagster/table_name": f"{shop}.public.authors"}
    assert told() == {"dagster/table_name": f"{shop}.public.authors", "dagster/row_count": 0}
    query("DROP TABLE authors")
    assert told() == {}


def test_columns_are_the_tables_and_tell_where_in_the_source_their_value_stands() -> None:
    [spec] = [spec for spec in build_import_asset_specs(discover(PROJECT)) if spec.key == dg.AssetKey("orders")]
    schema: dg.TableSchema = spec.metadata["dagster/column_schema"]

    assert [(column.name, column.description, column.constraints.unique) for column in schema.columns] == [
        ("order_no", "As printed. Read from OrderNo.", True),
        ("customer", "Read from buyer or parties.buyer.", False),
        ("follows", None, False),
    ]


def test_columns_that_are_left_to_the_table_are_told_by_the_run_that_has_read_them(
    shop: str, instance: dg.DagsterInstance
) -> None:
    asset = build_import_asset(DaysProcessor)
    assert "dagster/column_schema" not in asset.specs_by_key[dg.AssetKey("days")].metadata

    config = {"ops": {"days": {"config": {"items": [{"id": "1", "Day": "Monday"}]}}}}
    result = dg.materialize(
        [asset], instance=instance, resources=RESOURCES, run_config=config, partition_key="2024-01-01"
    )

    schema = _metadata(result, "days")["dagster/column_schema"]
    assert [(each.name, each.type, each.description) for each in schema.columns] == [
        ("id", "integer", None),
        ("day", "text", "As in the calendar. Read from Day."),
    ]
    assert [(each.constraints.nullable, each.constraints.unique) for each in schema.columns] == [
        (False, True),
        (True, False),
    ]


def test_a_run_knows_the_assets_of_its_code_location_whatever_its_job_has(
    shop: str, manager: BatchManager, instance: dg.DagsterInstance, query: Query
) -> None:
    registry = discover(PROJECT)
    cli = BatchManager(manager.dsn, registry=registry)
    batch_id = cli.process_batch(
        cli.create_batch("orders", [{"OrderNo": 7, "buyer": 1}, {"OrderNo": 8, "buyer": 2}])
    ).batch_id
    cli.process_batch(cli.create_batch("customers", [{"number": 1}]))

    done = subprocess.run(
        [Path(sys.executable).parent / "dagster", "job", "execute", "-m", PROJECT, "-j", "reprocess_orders"],
        env={**os.environ, "DAGSTER_HOME": instance.root_directory, "RELIABLE_IMPORTS_DSN": manager.dsn},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    event = instance.get_latest_materialization_event(dg.AssetKey("orders"))
    assert event is not None
    assert event.asset_materialization is not None
    told = event.asset_materialization.metadata
    assert told["reprocess_of"].value == str(batch_id)
    assert set(told["dagster/column_lineage"].value.deps_by_column) == {"customer", "clerk"}
