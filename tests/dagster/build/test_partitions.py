"""Partitions of every kind, and backfills that work several of them in one run."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reliable_imports import (
    BaseProcessor,
    Batch,
    BatchManager,
    ConfigurationError,
    ImportBatchItem,
    ImportContext,
    ProcessorRegistry,
)
from reliable_imports_dagster import (
    DagsterReliableImportsTranslator,
    ReliableImportsResource,
    build_import_asset,
    build_import_op,
    build_import_schedule,
    build_reliable_imports_defs,
    build_waiting_batches_sensor,
)
from tests.dagster.conftest import Query, observations_of, problem

FOLDER = "TEST_PARTITIONS"
BATCHES = "SELECT id, metadata ->> 'partition', status FROM reliable_imports.import_batches ORDER BY id"
WRITES = "SELECT batch, id FROM writes ORDER BY batch, id"
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-10")
REGIONS = dg.StaticPartitionsDefinition(["eu", "us"])
KINDS = dg.MultiPartitionsDefinition({"region": REGIONS, "day": DAYS})
RESOURCES = {"reliable_imports": ReliableImportsResource()}
RANGE = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-03"}
ITEMS = {"2024-01-01": 10, "2024-01-02": 20, "2024-01-03": 30}


class SalesProcessor(BaseProcessor):
    """What it stops at is the file that the partition's name leads to."""

    source = Path(os.environ.get(FOLDER, ".")) / "sales-{partition}.jsonl"

    def on_batch_start(self, batch: Batch, ctx: ImportContext) -> None:
        if (Path(os.environ[FOLDER]) / f"stop-{self.partition}").exists():
            raise RuntimeError("the other side is down")

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        ctx.insert("writes", {"batch": item.batch_id, "id": item.source_data["id"]})
        return {"partition": self.partition}


class ShopsProcessor(SalesProcessor):
    source = Path(os.environ.get(FOLDER, ".")) / "{region}" / "shops-{day}.jsonl"
    schedule = "0 6 * * *"


REGISTRY = ProcessorRegistry()
REGISTRY.register(SalesProcessor)


def _definitions() -> dg.Definitions:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.asset(deps=["sales"], partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
        def totals() -> None: ...

    imports = build_reliable_imports_defs(REGISTRY, partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    both = dg.define_asset_job("both", selection=["sales", "totals"], executor_def=dg.in_process_executor)
    return dg.Definitions.merge(imports, dg.Definitions(assets=[totals], jobs=[both]))


def both() -> dg.JobDefinition:
    return _definitions().resolve_job_def("both")


@pytest.fixture
def folder(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr(SalesProcessor, "source", tmp_path / "sales-{partition}.jsonl")
    monkeypatch.setattr(ShopsProcessor, "source", tmp_path / "{region}" / "shops-{day}.jsonl")
    return tmp_path


def _deliver(folder: Path, *days: str) -> None:
    for day in days:
        (folder / f"sales-{day}.jsonl").write_text(f'{{"id": {ITEMS[day]}}}\n')


def _backfill(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return both().execute_in_process(instance=instance, tags=RANGE, raise_on_error=False)


def _again(instance: dg.DagsterInstance, run_id: str) -> dg.JobExecutionResult:
    with dg.execute_job(
        dg.reconstructable(both),
        instance,
        tags=RANGE,  # which the UI copies from the run
        reexecution_options=dg.ReexecutionOptions(parent_run_id=run_id),
    ) as result:
        return result


def _told(instance: dg.DagsterInstance, asset: str) -> list[tuple[str | None, str]]:
    """The partitions that were materialized, with the batch of each, in their order."""
    found = instance.fetch_materializations(dg.AssetKey(asset), limit=50, ascending=True).records
    events = [record.asset_materialization for record in found]
    return [(event.partition, str(event.metadata["batch_id"].value)) for event in events if event is not None]


def _checks(instance: dg.DagsterInstance) -> dict[str | None, bool]:
    key = dg.AssetCheckKey(dg.AssetKey("sales"), "no_failed_items")
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=50)
    return {each.partition: each.status.value == "SUCCEEDED" for each in history if each.event is not None}


def test_a_single_run_has_a_batch_and_a_materialization_for_each_partition(
    folder: Path, instance: dg.DagsterInstance, query: Query
) -> None:
    _deliver(folder, *ITEMS)

    result = _backfill(instance)

    assert result.success
    assert query(BATCHES) == [(number, day, "completed") for number, day in enumerate(ITEMS, 1)]
    assert query(WRITES) == [(1, 10), (2, 20), (3, 30)]
    assert query("SELECT DISTINCT result ->> 'partition' FROM reliable_imports.import_attempts ORDER BY 1") == [
        (day,) for day in ITEMS
    ]
    assert _told(instance, "sales") == [(day, str(number)) for number, day in enumerate(ITEMS, 1)]
    assert _checks(instance) == dict.fromkeys(ITEMS, True)
    assert instance.get_materialized_partitions(dg.AssetKey("totals")) == set(ITEMS)  # what depends on it ran


def test_a_partition_without_a_file_keeps_no_other_waiting_and_is_all_that_is_done_again(
    folder: Path, instance: dg.DagsterInstance, query: Query
) -> None:
    _deliver(folder, "2024-01-01", "2024-01-03")

    first = _backfill(instance)

    assert not first.success
    assert "partition 2024-01-02: " in problem(first)
    assert "there is no such file" in problem(first)
    # The batch that could not be made has used up a number.
    assert _told(instance, "sales") == [("2024-01-01", "1"), ("2024-01-03", "3")]
    assert instance.get_materialized_partitions(dg.AssetKey("totals")) == set()

    _deliver(folder, "2024-01-02")
    assert _again(instance, first.run_id).success

    assert query(BATCHES) == [
        (1, "2024-01-01", "completed"),
        (3, "2024-01-03", "completed"),
        (4, "2024-01-02", "completed"),
    ]
    assert query(WRITES) == [(1, 10), (3, 30), (4, 20)]
    assert instance.get_materialized_partitions(dg.AssetKey("totals")) == set(ITEMS)


def test_a_run_that_broke_off_has_told_of_what_was_done_and_is_resumed(
    folder: Path, instance: dg.DagsterInstance, query: Query
) -> None:
    _deliver(folder, *ITEMS)
    (folder / "stop-2024-01-02").touch()

    first = _backfill(instance)

    assert not first.success
    assert _told(instance, "sales") == [("2024-01-01", "1")]
    assert query(WRITES) == [(1, 10)]

    (folder / "stop-2024-01-02").unlink()
    assert _again(instance, first.run_id).success

    assert query(BATCHES) == [(number, day, "completed") for number, day in enumerate(ITEMS, 1)]
    assert query(WRITES) == [(1, 10), (2, 20), (3, 30)]
    assert instance.get_materialized_partitions(dg.AssetKey("sales")) == set(ITEMS)


def test_several_partitions_take_no_wish_that_is_for_one_batch(folder: Path, instance: dg.DagsterInstance) -> None:
    result = both().execute_in_process(
        instance=instance,
        tags=RANGE,
        run_config={"ops": {"sales": {"config": {"path": "sales.jsonl"}}}},
        raise_on_error=False,
    )

    assert "import_sales was given several partitions and path" in problem(result)


def test_each_dimension_is_in_the_source_and_all_of_them_name_the_batch(
    folder: Path, instance: dg.DagsterInstance, query: Query
) -> None:
    (folder / "eu").mkdir()
    (folder / "eu" / "shops-2024-01-02.jsonl").write_text('{"id": 1}\n{"no id": 2}\n')
    registry = ProcessorRegistry()
    registry.register(ShopsProcessor)
    defs = build_reliable_imports_defs(registry, partitions_def=KINDS)
    key = dg.MultiPartitionKey({"region": "eu", "day": "2024-01-02"})

    result = defs.resolve_job_def("import_shops").execute_in_process(instance=instance, partition_key=key)
    again = defs.resolve_job_def("reprocess_shops").execute_in_process(instance=instance, raise_on_error=False)

    assert result.success
    assert query(BATCHES)[0] == (1, "2024-01-02|eu", "completed_with_failures")
    assert _told(instance, "shops") == [("2024-01-02|eu", "1")]
    [observed] = observations_of(again)
    assert observed.partition == "2024-01-02|eu"
    named = defs.resolve_job_def("import_shops").execute_in_process(instance=instance, raise_on_error=False)
    assert "was given no partition, and its source" in problem(named)


def test_partitions_may_come_and_go(folder: Path, instance: dg.DagsterInstance, query: Query) -> None:
    instance.add_dynamic_partitions("customers", ["acme"])
    (folder / "sales-acme.jsonl").write_text('{"id": 1}\n')
    asset = build_import_asset(SalesProcessor, partitions_def=dg.DynamicPartitionsDefinition(name="customers"))

    result = dg.materialize([asset], instance=instance, resources=RESOURCES, partition_key="acme")

    assert result.success
    assert query(BATCHES) == [(1, "acme", "completed")]
    assert _told(instance, "sales") == [("acme", "1")]


def test_an_op_of_a_partitioned_job_imports_its_partition(
    folder: Path, instance: dg.DagsterInstance, query: Query
) -> None:
    _deliver(folder, "2024-01-02")
    imports = build_import_op(SalesProcessor, retry_policy=dg.RetryPolicy(max_retries=2), op_tags={"queue": "slow"})
    assert (imports.retry_policy, imports.tags["queue"]) == (dg.RetryPolicy(max_retries=2), "slow")

    @dg.job(partitions_def=DAYS, resource_defs=RESOURCES)
    def sales_of_a_day() -> None:
        imports()

    assert sales_of_a_day.execute_in_process(instance=instance, partition_key="2024-01-02").success
    assert query(BATCHES) == [(1, "2024-01-02", "completed")]
    assert _told(instance, "sales") == [("2024-01-02", "1")]


# Dagster's tags for its own dimensions are not as it wants tags to be.
@pytest.mark.filterwarnings("ignore:Non-compliant tag keys")
@pytest.mark.parametrize(
    ("partitions_def", "expected"),
    [
        (dg.DailyPartitionsDefinition("2024-01-01"), ["2024-02-29"]),
        (dg.DailyPartitionsDefinition("2024-01-01", timezone="Asia/Tokyo"), ["2024-03-01"]),
        (dg.DailyPartitionsDefinition("2024-01-01", end_offset=1), ["2024-03-01"]),
        (dg.StaticPartitionsDefinition(["eu", "us"]), ["eu", "us"]),
        (dg.DynamicPartitionsDefinition(name="customers"), ["acme"]),
        (
            dg.MultiPartitionsDefinition(
                {
                    "region": dg.StaticPartitionsDefinition(["eu", "us"]),
                    "day": dg.DailyPartitionsDefinition("2024-01-01"),
                }
            ),
            ["2024-02-29|eu", "2024-02-29|us"],
        ),
    ],
)
def test_a_schedule_imports_the_partitions_that_are_due(
    instance: dg.DagsterInstance, partitions_def: dg.PartitionsDefinition[Any], expected: list[str]
) -> None:
    registry = ProcessorRegistry()
    registry.register(ShopsProcessor)
    instance.add_dynamic_partitions("customers", ["acme"])
    defs = build_reliable_imports_defs(registry, partitions_def=partitions_def)
    schedule = defs.resolve_schedule_def("import_shops_schedule")
    assert isinstance(schedule, dg.ScheduleDefinition)
    now = datetime(2024, 3, 1, 16, 0, tzinfo=timezone.utc)  # in Tokyo it is the next day already

    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=now, repository_def=defs.get_repository_def()
    ) as context:
        requests = schedule.evaluate_tick(context).run_requests

    assert [str(request.partition_key) for request in requests or []] == expected


def test_a_schedule_by_hand_takes_the_translators_partitions(instance: dg.DagsterInstance) -> None:
    class Daily(DagsterReliableImportsTranslator):
        def get_asset_spec(self, processor: type[BaseProcessor]) -> dg.AssetSpec:
            return super().get_asset_spec(processor).replace_attributes(partitions_def=DAYS)

    schedule = build_import_schedule(ShopsProcessor, translator=Daily())

    now = datetime(2024, 3, 1, tzinfo=timezone.utc)
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=now) as context:
        [request] = schedule(context)

    assert request.partition_key == "2024-01-09"


def test_a_schedule_needs_an_instance_for_dynamic_partitions_alone() -> None:
    now = datetime(2024, 3, 1, tzinfo=timezone.utc)
    ephemeral = dg.DagsterInstance.ephemeral()
    registry = ProcessorRegistry()
    registry.register(ShopsProcessor)
    for partitions_def, expected in ((DAYS, "2024-01-09"), (dg.DynamicPartitionsDefinition(name="customers"), None)):
        defs = build_reliable_imports_defs(registry, partitions_def=partitions_def)
        schedule = defs.resolve_schedule_def("import_shops_schedule")
        with dg.build_schedule_context(instance=ephemeral, scheduled_execution_time=now) as context:
            if expected is None:
                with pytest.raises(ConfigurationError, match="give the context one"):
                    schedule(context)
            else:
                [request] = schedule(context)
                assert request.partition_key == expected


def test_a_waiting_batch_is_worked_as_the_partition_that_it_names(
    folder: Path, instance: dg.DagsterInstance, query: Query
) -> None:
    registry = ProcessorRegistry()
    registry.register(ShopsProcessor)
    defs = build_reliable_imports_defs(registry, partitions_def=KINDS)
    manager = BatchManager(registry=registry)
    batch_id = manager.create_batch("shops", [{"id": 1}], metadata={"partition": "2024-01-02|us"})
    query("UPDATE reliable_imports.import_batches SET created_at = created_at - interval '1 hour'")
    sensor = build_waiting_batches_sensor(registry, [defs.resolve_job_def("import_shops")])

    with dg.build_sensor_context(
        instance=instance, definitions=defs, resources=RESOURCES, sensor_name=sensor.name
    ) as context:
        answer = sensor(context)

    assert isinstance(answer, dg.SensorResult)
    [request] = answer.run_requests or []
    assert request.partition_key == "2024-01-02|us"
    assert request.tags["reliable_imports/batch_id"] == str(batch_id)
