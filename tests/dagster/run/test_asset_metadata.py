import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext, ProcessorRegistry
from reliable_imports_dagster import (
    ReliableImportsResource,
    build_import_asset_specs,
    build_reliable_imports_defs,
    reliable_imports_assets,
)
from tests.dagster import project
from tests.dagster.conftest import Query, notes, problem

DOUBLES = "tests.dagster.doubles"


class DaysProcessor(BaseProcessor):
    partitions = "daily from 2024-01-01"
    schedule = "30 1 * * *"
    source = Path("days-{partition}.jsonl")
    is_mended = False

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if item.source_data.get("until") and not Path(item.source_data["until"]).exists():
            Path(item.source_data["until"]).touch()
            raise KeyboardInterrupt
        if item.source_data.get("bad") and not self.is_mended:
            raise ValueError("no day")
        return {"partition": self.partition}


@pytest.fixture
def days(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.setattr(DaysProcessor, "source", tmp_path / "days-{partition}.jsonl")
    registry = ProcessorRegistry()
    registry.register(DaysProcessor)
    return build_reliable_imports_defs(registry)


def _spec(key: str) -> dg.AssetSpec:
    [spec] = [spec for spec in build_import_asset_specs(DOUBLES) if spec.key == dg.AssetKey(key)]
    return spec


def test_a_link_leads_to_the_processor() -> None:
    [reference] = _spec("notes").metadata["dagster/code_references"].code_references

    assert Path(reference.file_path) == Path(__file__).parents[1] / "doubles.py"
    lines = Path(reference.file_path).read_text().splitlines()
    assert lines[reference.line_number - 1] == "class NotesProcessor(BaseProcessor):"


def test_how_fresh_an_asset_must_be_follows_from_its_schedule() -> None:
    assert _spec("notes").freshness_policy is None
    assert _spec("authors").freshness_policy == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=48), warn_window=timedelta(hours=30)
    )


def _decorated() -> dg.AssetsDefinition:
    @reliable_imports_assets(DOUBLES, name="library")
    def library(context: dg.AssetExecutionContext, reliable_imports: ReliableImportsResource) -> Iterator[Any]:
        yield from reliable_imports.run(context, DOUBLES)

    return library


def _materialize(instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [_decorated()],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource()},
        raise_on_error=False,
        **options,
    )


def test_one_step_imports_several_processors_those_that_others_need_first(
    dsn: str, instance: dg.DagsterInstance, query: Query
) -> None:
    items = [{"id": 1}, {"id": 2, "do": "fail"}]
    result = _materialize(instance, run_config={"ops": {"library": {"config": {"notes": {"items": items}}}}})

    assert result.success
    assert query("SELECT batch_type, status FROM reliable_imports.import_batches ORDER BY id") == [
        ("authors", "completed"),
        ("notes", "completed_with_failures"),
    ]
    passed = {
        check.asset_key.to_user_string(): check.passed
        for check in result.get_asset_check_evaluations()
        if check.check_name == "no_failed_items"
    }
    assert passed == {"authors": True, "notes": False}


def test_what_is_not_selected_is_not_imported(dsn: str, instance: dg.DagsterInstance, query: Query) -> None:
    assert _materialize(instance, selection=["authors"]).success
    assert query("SELECT batch_type FROM reliable_imports.import_batches") == [("authors",)]


def test_a_partition_has_its_own_source_and_batch_and_the_processor_knows_it(
    days: dg.Definitions, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    job = days.resolve_job_def("import_days")
    for day in ("2024-01-01", "2024-01-02"):
        (tmp_path / f"days-{day}.jsonl").write_text('{"id": 1}\n')
        assert job.execute_in_process(instance=instance, partition_key=day).success

    assert query(
        "SELECT batch.metadata ->> 'partition', attempt.result ->> 'partition' FROM reliable_imports.import_batches"
        " AS batch JOIN reliable_imports.import_attempts AS attempt ON attempt.batch_id = batch.id ORDER BY batch.id"
    ) == [("2024-01-01", "2024-01-01"), ("2024-01-02", "2024-01-02")]
    assert instance.get_materialized_partitions(dg.AssetKey("days")) == {"2024-01-01", "2024-01-02"}


def test_a_run_that_is_given_partitions_as_a_range_imports_each_of_them(
    days: dg.Definitions, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "days-2024-01-01.jsonl").write_text('{"id": 1}\n')
    job = days.resolve_job_def("import_days")

    def run(start: str, end: str) -> dg.ExecuteInProcessResult:
        tags = {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}
        return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)

    assert run("2024-01-01", "2024-01-01").success
    assert query("SELECT metadata ->> 'partition' FROM reliable_imports.import_batches") == [("2024-01-01",)]
    assert "days-2024-01-02.jsonl: there is no such file" in problem(run("2024-01-01", "2024-01-02"))
    (tmp_path / "days-2024-01-02.jsonl").write_text('{"id": 2}\n')
    assert run("2024-01-01", "2024-01-02").success
    assert instance.get_materialized_partitions(dg.AssetKey("days")) == {"2024-01-01", "2024-01-02"}


def test_another_run_of_a_partition_resumes_what_is_unfinished_and_imports_anew_what_is_finished(
    days: dg.Definitions, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    job = days.resolve_job_def("import_days")
    (tmp_path / "days-2024-01-01.jsonl").write_text(f'{{"id": 1}}\n{{"id": 2, "until": "{tmp_path / "until"}"}}\n')
    statuses = "SELECT status FROM reliable_imports.import_batches ORDER BY id"

    def run() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            job.execute_in_process(instance=instance, partition_key="2024-01-01", raise_on_error=False)

    run()
    assert query(statuses) == [("processing",)]
    run()
    assert query(statuses) == [("completed",)]
    run()
    assert query(statuses) == [("completed",), ("completed",)]


def test_new_batch_makes_one_although_the_partition_has_an_unfinished_one(
    days: dg.Definitions, instance: dg.DagsterInstance, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "days-2024-01-01.jsonl").write_text('{"id": 1}\n')
    registry = ProcessorRegistry()
    registry.register(DaysProcessor)
    BatchManager(registry=registry).create_batch("days", [{"id": 9}], partition="2024-01-01")

    days.resolve_job_def("import_days").execute_in_process(
        instance=instance, partition_key="2024-01-01", run_config={"ops": {"days": {"config": {"new_batch": True}}}}
    )

    assert query("SELECT status FROM reliable_imports.import_batches ORDER BY id") == [("pending",), ("completed",)]


def test_a_reprocess_batch_materializes_the_partition_of_the_batch_it_repeats(
    days: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "days-2024-01-02.jsonl").write_text('{"id": 1}\n{"id": 2, "bad": true}\n')
    days.resolve_job_def("import_days").execute_in_process(instance=instance, partition_key="2024-01-02")
    monkeypatch.setattr(DaysProcessor, "is_mended", True)

    result = days.resolve_job_def("reprocess_failed_items").execute_in_process(
        instance=instance,
        run_config={"ops": {"reprocess_failed_items": {"config": {"batch_id": 1}}}},
    )

    [event] = result.get_asset_materialization_events()
    assert event.partition == "2024-01-02"


def test_the_schedule_of_partitions_asks_for_the_last_one_that_has_ended(
    days: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    schedule = days.resolve_schedule_def("import_days_schedule")
    at = datetime(2024, 3, 10, 1, 30, tzinfo=timezone.utc)

    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=days.get_repository_def()
    )
    [request] = schedule.evaluate_tick(context).run_requests or []

    assert request.partition_key == "2024-03-09"


def test_new_batch_makes_one_at_every_launch_and_only_one_for_automatic_retries(
    dsn: str, instance: dg.DagsterInstance, query: Query
) -> None:
    config = {"ops": {"notes": {"config": {"items": notes(1), "new_batch": True}}}}
    first = project.import_notes().execute_in_process(instance=instance, run_config=config)

    def repeat(**tags: str) -> None:
        with dg.execute_job(
            dg.reconstructable(project.import_notes),
            instance,
            tags=tags,
            reexecution_options=dg.ReexecutionOptions(parent_run_id=first.run_id),
        ) as result:
            assert result.success

    repeat()
    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(2,)]
    repeat(**{"dagster/retry_number": "1"})
    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(2,)]
