from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, InvalidProcessor, ProcessorRegistry
from reliable_imports_dagster import (
    DagsterReliableImportsTranslator,
    ReliableImportsResource,
    build_import_schedule,
    build_reliable_imports_defs,
)
from tests.dagster import doubles, project
from tests.dagster.conftest import observations_of, tags_of
from tests.dagster.doubles import AUTHORS, AuthorsProcessor, NotesProcessor

NOBODY_LISTENS = "postgresql://nobody:secret@127.0.0.1:1/nothing"


class _PrefixedKeys(DagsterReliableImportsTranslator):
    def get_asset_spec(self, processor: type[BaseProcessor]) -> dg.AssetSpec:
        spec = super().get_asset_spec(processor)
        return spec.replace_attributes(key=spec.key.with_prefix("crm"), group_name="crm", owners=["team:crm"])


def _spec(defs: dg.Definitions, *key: str) -> dg.AssetSpec:
    [spec] = [spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey(key)]
    return spec


def test_everything_is_there_for_each_processor() -> None:
    jobs = {job.name for job in project.defs.resolve_all_job_defs()}

    assert jobs >= {
        "import_authors",
        "import_notes",
        "reprocess_failed_items",
        "reprocess_authors",
        "reprocess_notes",
    }
    assert {spec.key.to_user_string() for spec in project.defs.resolve_all_asset_specs()} == {"authors", "notes"}


def test_a_processor_may_be_called_by_a_word_that_dagster_keeps_for_its_own_code(
    dsn: str, instance: dg.DagsterInstance
) -> None:
    class InputProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None: ...

    registry = ProcessorRegistry()
    registry.register(InputProcessor)
    with pytest.raises(
        InvalidProcessor, match=r"InputProcessor cannot be used: .*the word 'input' for itself; give the processor"
    ):
        build_reliable_imports_defs(registry)

    defs = build_reliable_imports_defs(registry, translator=_PrefixedKeys())

    dg.Definitions.validate_loadable(defs)
    result = defs.resolve_job_def("import_input").execute_in_process(
        instance=instance, run_config={"ops": {"input_": {"config": {"items": [{"id": 1}]}}}}
    )
    assert [event.materialization.asset_key for event in result.get_asset_materialization_events()] == [
        dg.AssetKey(["crm", "input"])
    ]
    assert tags_of(instance, result.run_id)["batch_id.input"] == "1"


def test_definitions_load_while_the_database_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", NOBODY_LISTENS)

    defs = build_reliable_imports_defs("tests.dagster.doubles", resource=ReliableImportsResource(dsn=NOBODY_LISTENS))

    dg.Definitions.validate_loadable(defs)


def test_definitions_load_while_a_variable_is_not_set() -> None:
    resource = ReliableImportsResource(dsn=dg.EnvVar("NOT_SET_ANYWHERE"))

    dg.Definitions.validate_loadable(build_reliable_imports_defs("tests.dagster.doubles", resource=resource))


def test_a_run_while_the_database_is_down_fails_without_telling_the_password(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", NOBODY_LISTENS)

    result = project.defs.resolve_job_def("import_authors").execute_in_process(raise_on_error=False)

    assert not result.success
    told = capfd.readouterr().err
    assert "Connection refused" in told
    assert "secret" not in told


def test_an_asset_shows_what_its_processor_says() -> None:
    notes = _spec(project.defs, "notes")
    authors = _spec(project.defs, "authors")

    assert notes.description == "Notes, as people\nwrite them."
    assert notes.group_name == "reliable_imports"
    assert notes.kinds == {"postgres", "python"}
    assert [dep.asset_key for dep in notes.deps] == [dg.AssetKey("authors")]
    assert notes.code_version != authors.code_version
    assert authors.metadata["dagster/table_name"] == "authors"
    assert authors.metadata["source"] == dg.MetadataValue.path(str(AUTHORS))
    schema: Any = authors.metadata["dagster/column_schema"]
    assert [(column.name, column.type, column.description) for column in schema.columns] == [
        ("name", "str", "As on the title page."),
        ("born", "int", None),
    ]
    assert [(column.constraints.nullable, column.constraints.unique) for column in schema.columns] == [
        (False, True),
        (True, False),
    ]


def test_the_code_version_follows_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = inspect.getsource(doubles)
    (tmp_path / "first_copy.py").write_text(text)
    (tmp_path / "second_copy.py").write_text(text.replace("the library is closed", "the library is open"))
    (tmp_path / "third_copy.py").write_text(text.replace('key = ("name",)', 'key = ("born",)'))

    def versions(module: str) -> list[str | None]:
        defs = build_reliable_imports_defs(module)
        return [_spec(defs, key).code_version for key in ("authors", "notes")]

    first = versions("first_copy")
    assert first == versions("second_copy")  # the class's own text is what counts
    assert versions("third_copy")[0] != first[0]
    assert versions("third_copy")[1] == first[1]


def test_a_translator_changes_keys_and_what_depends_on_them() -> None:
    defs = build_reliable_imports_defs("tests.dagster.doubles", translator=_PrefixedKeys())

    notes = _spec(defs, "crm", "notes")
    assert notes.group_name == "crm"
    assert notes.owners == ["team:crm"]
    assert [dep.asset_key for dep in notes.deps] == [dg.AssetKey(["crm", "authors"])]
    dg.Definitions.validate_loadable(defs)


def test_a_translated_asset_is_what_runs_materialize(dsn: str, instance: dg.DagsterInstance) -> None:
    defs = build_reliable_imports_defs("tests.dagster.doubles", translator=_PrefixedKeys())
    items = {"items": [{"id": 1}, {"id": 2, "do": "fail"}]}

    defs.resolve_job_def("import_notes").execute_in_process(
        instance=instance, run_config={"ops": {"notes": {"config": items}}}
    )
    reprocessed = defs.resolve_job_def("reprocess_notes").execute_in_process(
        instance=instance, run_config={"ops": {"reprocess_notes": {"config": {"batch_id": 1}}}}, raise_on_error=False
    )

    records = instance.fetch_materializations(dg.AssetKey(["crm", "notes"]), limit=10).records
    assert len(records) == 1
    assert [observed.asset_key for observed in observations_of(reprocessed)] == [dg.AssetKey(["crm", "notes"])]


def test_a_schedule_comes_from_the_processor_and_is_stopped() -> None:
    schedule = project.defs.resolve_schedule_def("import_authors_schedule")

    assert schedule.cron_schedule == "0 6 * * *"
    assert schedule.job_name == "import_authors"
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert len(project.defs.schedules or []) == 1


def test_what_the_schedule_launches_imports_the_source(dsn: str, instance: dg.DagsterInstance, query: Any) -> None:
    schedule = project.defs.resolve_schedule_def("import_authors_schedule")
    data = schedule.evaluate_tick(dg.build_schedule_context(instance=instance))
    [request] = data.run_requests or []

    project.defs.resolve_job_def(schedule.job_name).execute_in_process(
        instance=instance, run_config=request.run_config, tags=dict(request.tags)
    )

    assert query("SELECT count(*) FROM authors") == [(2,)]


def test_a_schedule_without_a_source_is_refused_when_definitions_load() -> None:
    class Nightly(NotesProcessor):
        schedule = "0 6 * * *"

    with pytest.raises(InvalidProcessor, match="a schedule but no source"):
        build_import_schedule(Nightly)


def test_the_sensor_is_stopped_unless_the_team_says_otherwise() -> None:
    registry = ProcessorRegistry()
    registry.register(AuthorsProcessor)

    stopped = project.defs.resolve_sensor_def("reprocess_failed_items_sensor")
    running = build_reliable_imports_defs(registry, reprocess_sensor_status=dg.DefaultSensorStatus.RUNNING)

    assert stopped.default_status is dg.DefaultSensorStatus.STOPPED
    sensor = running.resolve_sensor_def("reprocess_failed_items_sensor")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30


def test_definitions_merge_with_a_teams_own() -> None:
    @dg.asset
    def own() -> None: ...

    merged = dg.Definitions.merge(project.defs, dg.Definitions(assets=[own]))

    dg.Definitions.validate_loadable(merged)


def test_a_batch_type_that_is_no_identifier_works_all_the_same(dsn: str, instance: dg.DagsterInstance) -> None:
    class Dotted(NotesProcessor):
        batch_type = "crm.notes-v2"
        depends_on = ()

    registry = ProcessorRegistry()
    registry.register(Dotted)
    job = build_reliable_imports_defs(registry).resolve_job_def("import_crm_notes_v2")

    config = {"ops": {"crm_notes_v2": {"config": {"items": [{"id": 1}]}}}}
    assert job.execute_in_process(instance=instance, run_config=config).success


def test_an_empty_package_makes_definitions_without_assets() -> None:
    defs = build_reliable_imports_defs(ProcessorRegistry())

    dg.Definitions.validate_loadable(defs)
    assert not list(defs.resolve_all_asset_specs())
