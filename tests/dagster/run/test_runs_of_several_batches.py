"""A run that works several batches: each of them is found from Dagster's side, and each run from the batch's."""

import re
from pathlib import Path
from typing import Any

import dagster as dg

from reliable_imports import BatchManager
from reliable_imports.processor.code_version import code_version
from reliable_imports_dagster import ReliableImportsResource, build_import_asset, reliable_imports_assets
from reliable_imports_dagster.run.tags import batch_id_tag
from tests.dagster.conftest import Launch, Query, notes, tags_of
from tests.dagster.doubles import AuthorsProcessor, NotesProcessor

PACKAGE = "tests.dagster.doubles"


@reliable_imports_assets(PACKAGE)
def library(context: dg.AssetExecutionContext, reliable_imports: ReliableImportsResource) -> Any:
    yield from reliable_imports.run(context, PACKAGE)


def _both(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Batch 1 is of authors, batch 2 of notes."""
    return dg.materialize(
        [library],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource()},
        run_config={"ops": {"library": {"config": {"notes": {"items": notes(2)}}}}},
    )


def _linked(result: dg.ExecuteInProcessResult) -> dict[str, list[list[str]]]:
    """For each batch that the run reports, the runs that its links lead to."""
    found = {}
    for event in result.get_asset_materialization_events():
        metadata = event.materialization.metadata
        links = re.findall(r"\(/runs\?(.*?)\)", str(metadata["runs"].value))
        found[str(metadata["batch_id"].value)] = [re.findall(r"q%5B\d+%5D=id%3A([0-9a-f-]+)", link) for link in links]
    return found


def _all_tags(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return dict(run.tags)


def test_the_links_of_each_batch_lead_to_its_runs(dsn: str, instance: dg.DagsterInstance) -> None:
    result = _both(instance)

    assert _linked(result) == {"1": [[result.run_id]], "2": [[result.run_id]]}


def test_a_run_is_found_by_each_batch_that_it_worked(dsn: str, instance: dg.DagsterInstance) -> None:
    result = _both(instance)

    for batch_type, batch_id in (("authors", "1"), ("notes", "2")):
        [run] = instance.get_runs(dg.RunsFilter(tags={batch_id_tag(batch_type): batch_id}))
        assert run.run_id == result.run_id
    assert tags_of(instance, result.run_id)["batch_id"] == "2"  # the last


def test_a_tag_has_a_key_that_dagster_takes() -> None:
    assert batch_id_tag("sales-2024") == "reliable_imports/batch_id.sales_2024"
    assert re.fullmatch(r"reliable_imports/[A-Za-z0-9_.-]{1,63}", batch_id_tag("x" * 100))


def test_a_reprocess_of_several_lines_is_linked_from_each(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    mended = str(tmp_path / "mended")
    imports = [launch("import_notes", items=[{"id": 1}, {"id": 2, "do": "be busy", "until": mended}]) for _ in range(2)]
    (tmp_path / "mended").touch()

    result = launch("reprocess_failed_items")

    first, second = imports
    assert _linked(result) == {
        "3": [[result.run_id], [first.run_id, result.run_id]],
        "4": [[result.run_id], [second.run_id, result.run_id]],
    }


def test_a_reexecution_does_not_pass_for_one_that_worked_its_parents_batches(
    dsn: str, instance: dg.DagsterInstance
) -> None:
    tags = _all_tags(instance, _both(instance).run_id)

    result = dg.materialize(
        [build_import_asset(NotesProcessor)],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource()},
        run_config={"ops": {"notes": {"config": {"items": notes(1)}}}},
        tags=tags,  # as Dagster copies them
    )

    told = tags_of(instance, result.run_id)
    assert (told["batch_id"], told["batch_id.notes"], told["batch_id.authors"]) == ("3", "3", "")


def test_a_run_that_is_given_a_finished_batch_is_not_tagged_as_if_it_worked_it(
    launch: Launch, manager: BatchManager, instance: dg.DagsterInstance, query: Query
) -> None:
    first = launch("import_notes", items=notes(1))
    fresh = launch("import_notes", batch_id=1)
    repeated = launch("import_notes", tags=_all_tags(instance, first.run_id), batch_id=1)

    assert tags_of(instance, fresh.run_id) == {"outcome": "nothing_to_do"}
    told = tags_of(instance, repeated.run_id)
    assert (told["batch_id"], told["batch_id.notes"], told["outcome"]) == ("", "", "nothing_to_do")
    assert query("SELECT dagster_run_id FROM reliable_imports.import_runs") == [(first.run_id,)]
    assert repeated.success


def test_every_run_keeps_the_code_that_it_worked_with(launch: Launch, manager: BatchManager, query: Query) -> None:
    manager.process_batch(manager.create_batch("authors", [{"name": "Ada"}]))
    launch("import_notes", items=notes(1))

    assert query("SELECT runner, code_version FROM reliable_imports.run_history ORDER BY run_id") == [
        ("python", code_version(AuthorsProcessor)),
        ("dagster", code_version(NotesProcessor)),
    ]
    assert [run.code_version for run in manager.list_runs(batch_id=1)] == [code_version(AuthorsProcessor)]


def test_a_batch_that_no_run_of_dagsters_has_worked_says_so(launch: Launch, manager: BatchManager) -> None:
    manager.process_batch(manager.create_batch("notes", notes(1)))

    result = launch("import_notes", batch_id=1)

    [event] = result.filter_events(lambda event: event.event_type is dg.DagsterEventType.ASSET_OBSERVATION)
    assert event.asset_observation_data.asset_observation.metadata["runs"].value == "runs of batch 1: none of Dagster's"
