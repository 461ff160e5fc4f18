"""Ops for graphs of a team's own, and assets and ops that a test calls directly."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import BaseModel

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext, ProcessorRegistry
from reliable_imports_dagster import (
    ReliableImportsResource,
    build_import_asset,
    build_import_op,
    build_reliable_imports_defs,
    build_reprocess_op,
    reliable_imports_assets,
)
from tests.dagster.conftest import Launch, Query, notes, problem
from tests.dagster.doubles import AUTHORS, AuthorsProcessor, NotesProcessor

PACKAGE = "tests.dagster.doubles"
RESOURCES = {"reliable_imports": ReliableImportsResource()}


@dg.job(executor_def=dg.in_process_executor)
def note_twice() -> None:
    build_reprocess_op(PACKAGE).alias("again")(batch_id=build_import_op(NotesProcessor).alias("notes")())


def _with_definitions(job: dg.JobDefinition) -> dg.JobDefinition:
    defs = dg.Definitions.merge(build_reliable_imports_defs(PACKAGE), dg.Definitions(jobs=[job]))
    dg.Definitions.validate_loadable(defs)
    return defs.resolve_job_def(job.name)


def test_a_reprocess_op_takes_the_batch_of_an_import_op_beside_the_definitions(
    dsn: str, instance: dg.DagsterInstance, query: Query
) -> None:
    items = [{"id": 1}, {"id": 2, "do": "fail"}]
    result = _with_definitions(note_twice).execute_in_process(
        instance=instance,
        run_config={
            "ops": {"notes": {"config": {"items": items}}, "again": {"config": {"fail_run_on": "never"}}},
        },
    )

    assert result.output_for_node("again") == [2]
    assert query("SELECT id, reprocess_of FROM reliable_imports.import_batches ORDER BY id") == [(1, None), (2, 1)]


def test_two_ops_of_one_kind_have_names_of_their_own(dsn: str) -> None:
    first, second = build_reprocess_op(PACKAGE), build_reprocess_op(PACKAGE, name="last_chance")

    @dg.job
    def both() -> None:
        second(first())

    assert {node.name for node in _with_definitions(both).nodes} == {"reprocess_failed_items_op", "last_chance"}


def test_an_input_and_a_config_that_name_two_batches_are_refused(dsn: str, instance: dg.DagsterInstance) -> None:
    result = _with_definitions(note_twice).execute_in_process(
        instance=instance,
        run_config={"ops": {"notes": {"config": {"items": notes(1)}}, "again": {"config": {"batch_id": 7}}}},
        raise_on_error=False,
    )

    assert problem(result) == "the config names batch 7, and the input batch 1; give one of them"


def test_the_job_of_one_type_takes_all_its_failures(
    launch: Launch, manager: BatchManager, query: Query, tmp_path: Path
) -> None:
    mended = str(tmp_path / "mended")
    for kind in ("fail", "be busy"):
        manager.process_batch(manager.create_batch("notes", [{"id": 1}, {"id": 2, "do": kind, "until": mended}]))
    cancelled = manager.create_batch("notes", [{"id": 3}])
    manager.cancel_batch(cancelled)
    Path(mended).touch()

    assert launch("reprocess_notes").success

    assert query("SELECT reprocess_of, status FROM reliable_imports.import_batches WHERE reprocess_of > 0") == [
        (1, "completed"),
        (2, "completed"),
    ]
    assert launch("reprocess_notes", batch_id=cancelled).success
    assert query("SELECT id FROM notes ORDER BY id") == [(1,), (2,), (3,)]


def test_the_job_of_all_types_says_how_many_others_wait(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance
) -> None:
    manager.process_batch(manager.create_batch("notes", [{"id": number, "do": "fail"} for number in range(3)]))

    result = launch("reprocess_failed_items")

    assert result.success
    said = [record.user_message for record in instance.all_logs(result.run_id)]
    assert any(text.startswith("3 failures of notes wait for a person: launch reprocess_notes") for text in said)


class StrictProcessor(BaseProcessor):
    class Params(BaseModel):
        since: int

    source = AUTHORS

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        return None


STRICT = ProcessorRegistry()
for processor in (StrictProcessor, AuthorsProcessor):
    STRICT.register(processor)


@reliable_imports_assets(STRICT)
def strict(context: dg.AssetExecutionContext, reliable_imports: ReliableImportsResource) -> Any:
    yield from reliable_imports.run(context, STRICT)


def test_params_are_asked_for_of_those_that_are_selected(dsn: str, instance: dg.DagsterInstance) -> None:
    def run(*selection: str, **config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [strict],
            instance=instance,
            resources=RESOURCES,
            selection=list(selection),
            run_config={"ops": {"strict": {"config": config}}},
            raise_on_error=False,
        )

    assert run("authors").success
    assert "since" in problem(run("strict"))
    assert run("strict", "authors", strict={"items": [{}], "params": {"since": 1}}).success


def test_without_a_partition_a_partitioned_import_is_refused(dsn: str, instance: dg.DagsterInstance) -> None:
    class DaysProcessor(StrictProcessor):
        Params = None
        batch_type = "days"
        partitions = "daily from 2024-01-01"
        source = Path("days-{partition}.jsonl")

    result = dg.materialize(
        [build_import_asset(DaysProcessor)], instance=instance, resources=RESOURCES, raise_on_error=False
    )

    assert problem(result).startswith("import_days was given no partition, and its source days-{partition}.jsonl")


def test_an_asset_can_be_called_directly(dsn: str, query: Query) -> None:
    for _ in range(2):
        with dg.build_asset_context(resources=RESOURCES) as context:
            [materialized, *checks] = build_import_asset(AuthorsProcessor)(context)
        assert materialized.metadata["completed_items"] == 2
        assert [check.passed for check in checks] == [True, True, True]

    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(2,)]
    assert query("SELECT DISTINCT runner FROM reliable_imports.import_runs") == [("python",)]


def test_ops_can_be_called_directly(dsn: str) -> None:
    items = [{"id": 1}, {"id": 2, "do": "fail"}]
    with dg.build_op_context(config={"items": items}, resources=RESOURCES) as context:
        *told, batch_id = build_import_op(NotesProcessor)(context)
    assert [type(event) for event in told] == [dg.AssetMaterialization]
    with dg.build_op_context(config={"fail_run_on": "never"}, resources=RESOURCES) as context:
        *told, batches = build_reprocess_op(PACKAGE)(context, batch_id=batch_id.value)

    assert [type(event) for event in told] == [dg.AssetObservation]
    assert (batch_id.value, batches.value) == (1, [2])


def test_several_assets_can_be_called_directly(dsn: str) -> None:
    with dg.build_asset_context(
        resources=RESOURCES, asset_config={"strict": {"items": [{}], "params": {"since": 1}}}
    ) as context:
        told = list(strict(context))

    assert [type(event) for event in told].count(dg.MaterializeResult) == 2


@pytest.mark.parametrize("wanted", [{"batch_id": 99}, {"path": "gone.csv"}])
def test_what_is_wrong_is_told_in_a_direct_call_too(dsn: str, wanted: dict[str, Any]) -> None:
    with dg.build_op_context(config=wanted, resources=RESOURCES) as context, pytest.raises(dg.Failure) as error:
        list(build_import_op(NotesProcessor)(context))

    assert "there is no batch 99" in str(error.value) or "gone.csv" in str(error.value)
