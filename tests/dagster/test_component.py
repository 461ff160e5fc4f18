"""The component in a `dg` project on disk, by the commands that a person types."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import runpy
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import dagster as dg
import psycopg2
import pytest
from dagster.components.resolved.core_models import OpSpec
from pydantic import ValidationError

from reliable_imports import ConfigurationError, TableProcessor
from reliable_imports_dagster import ReliableImportsComponent
from reliable_imports_dagster.components.scaffolder import ReliableImportsScaffolder, ScaffoldParams
from tests.dagster.conftest import notes, observations_of
from tests.forking import fork

IMPORTED = ("dagster_dg_cli.cli", "dagster.components", "dagster._cli", "reliable_imports_dagster")
COMPONENT = "reliable_imports_dagster.ReliableImportsComponent"
NOBODY_LISTENS = "postgresql://nobody:secret@127.0.0.1:1/nothing"
PYPROJECT = """
[project]
name = "team"
version = "1"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "team"
"""
DEFINITIONS = """
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
CONTACTS = """
from reliable_imports import BaseProcessor


class ContactsProcessor(BaseProcessor):
    def process_item(self, item, ctx):
        ctx.execute("INSERT INTO contacts VALUES (%s)", [item.source_data["email"]])
        return {}
"""
NOTES_PROCESSOR = "from tests.dagster.doubles import NotesProcessor as N\n\nclass NotesProcessor(N): depends_on = ()\n"
PREFIXED = """
from reliable_imports_dagster import ReliableImportsComponent


class Prefixed(ReliableImportsComponent):
    def get_asset_spec(self, processor):
        spec = super().get_asset_spec(processor)
        return spec.replace_attributes(key=spec.key.with_prefix("crm"))
"""
TELLING = """
import dagster as dg

from reliable_imports_dagster import ReliableImportsComponent


class Telling(ReliableImportsComponent):
    def execute(self, context, processor, reliable_imports):
        yield from super().execute(context, processor, reliable_imports)
        yield dg.AssetObservation(f"after_{processor.batch_type}")
"""
VARIABLES = """
import dagster as dg


@dg.template_var
def patient():
    return dg.RetryPolicy(max_retries=4)
"""
POST_PROCESSING = """
post_processing:
  assets:
    - target: "*"
      attributes:
        group_name: crm
        owners: ["team:crm"]
        tags: {tier: gold}
"""
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of dg without any component."""
    team = tmp_path / "team"
    (team / "defs").mkdir(parents=True)
    (team / "__init__.py").touch()
    (team / "defs" / "__init__.py").touch()
    (team / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path


@pytest.fixture
def dg_command(project: Path) -> Command:
    """Runs dg in the project, where no database can be reached but by variables that the test gives."""
    home = project / "dagster-home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        variables = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "RELIABLE_IMPORTS_DSN": NOBODY_LISTENS,
            "COLUMNS": "200",
            **variables,
        }
        with closing(fork(IMPORTED, "tests.dagster.dg", arguments, cwd=project, env=variables)) as process:
            out, err = process.communicate(b"")
            return subprocess.CompletedProcess(arguments, process.wait(), out.decode(), err.decode())

    return run


def add_component(
    project: Path, folder: str, *, root: str = "team", attributes: str = "", rest: str = "", processor: str = CONTACTS
) -> Path:
    path = project / root / "defs" / folder
    path.mkdir(parents=True)
    (path / "processors.py").write_text(processor)
    (path / "defs.yaml").write_text(f"type: {COMPONENT}\nattributes:\n  packages: [.processors]\n{attributes}{rest}")
    return path


def scaffold_request(folder: Path) -> dg.ScaffoldRequest[Any]:
    return dg.ScaffoldRequest(
        type_name=COMPONENT,
        target_path=folder,
        scaffold_format="yaml",
        project_root=None,
        params=None,
    )


def test_dg_lists_the_component(dg_command: Command) -> None:
    listed = dg_command("list", "components", "--json")

    assert COMPONENT in [component["key"] for component in json.loads(listed.stdout)["items"]]


def test_what_is_scaffolded_loads_and_two_of_them_get_along(project: Path, dg_command: Command) -> None:
    for folder in ("crm/customer-data", "orders"):
        made = dg_command("scaffold", "defs", COMPONENT, folder)
        assert made.returncode == 0, made.stderr

    checked = dg_command("check", "yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = dg_command("check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    listed = json.loads(dg_command("list", "defs", "--json").stdout)
    assert {asset["asset_key"] for asset in listed["assets"]} == {"customer_data", "orders"}
    assert sorted(job["name"] for job in listed["jobs"]) == [
        "import_customer_data",
        "import_orders",
        "reprocess_customer_data",
        "reprocess_failed_items",
        "reprocess_orders",
    ]
    sensors = [sensor["name"] for sensor in listed["sensors"]]
    assert "reprocess_failed_items_sensor" in sensors
    assert len(sensors) == len(set(sensors))


def test_a_processor_is_scaffolded_for_a_table_or_those_there_are_are_named(project: Path, dg_command: Command) -> None:
    made = dg_command("scaffold", "defs", COMPONENT, "orders", "--table", "shop.orders")
    assert made.returncode == 0, made.stderr
    params = json.dumps({"packages": ["example_repo.processors"]})
    made = dg_command("scaffold", "defs", COMPONENT, "flights", "--json-params", params)
    assert made.returncode == 0, made.stderr
    made = dg_command("scaffold", "defs", COMPONENT, "both", "--table", "a", "--packages", "b")
    assert "packages hold" in made.stdout + made.stderr

    assert not (project / "team" / "defs" / "flights" / "processors.py").exists()
    checked = dg_command("check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = json.loads(dg_command("list", "defs", "--json").stdout)
    assert {"orders", "flights"} < {asset["asset_key"] for asset in listed["assets"]}


@pytest.mark.parametrize("table", ['"; DROP', "{name}", "a b"])
def test_what_is_no_table_is_refused(tmp_path: Path, table: str) -> None:
    (tmp_path / "orders").mkdir()
    request = scaffold_request(tmp_path / "orders")
    request.params = ScaffoldParams(table=table)

    with pytest.raises(click.ClickException, match="no name of a table"):
        ReliableImportsScaffolder().scaffold(request)


def test_an_import_goes_to_the_database_that_the_variable_names(
    project: Path, dg_command: Command, database: str
) -> None:
    add_component(project, "contacts", attributes="  dsn_variable: TEAM_DSN\n", rest=POST_PROCESSING)
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE contacts (email text PRIMARY KEY)")

    # The variable is not set here: definitions load without it.
    [asset] = json.loads(dg_command("list", "defs", "--json").stdout)["assets"]
    assert (asset["group_name"], asset["owners"], asset["tags"]) == (
        "crm",
        [{"team": "crm"}],
        [{"key": "tier", "value": "gold"}],
    )

    config = {"ops": {"contacts": {"config": {"items": [{"email": "a@example.com"}, {"name": "nobody"}]}}}}
    launched = dg_command("launch", "--job", "import_contacts", "--config-json", json.dumps(config), TEAM_DSN=database)

    assert launched.returncode == 0, launched.stderr
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT batch_type, completed_items, failed_items FROM reliable_imports.import_batches")
        assert cursor.fetchall() == [("contacts", 1, 1)]
        cursor.execute("SELECT email FROM contacts")
        assert cursor.fetchall() == [("a@example.com",)]


def test_the_variable_is_read_when_a_run_starts(project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "team").rename(project / "read_late")  # a name that no other test imports in this process
    (project / "pyproject.toml").write_text(PYPROJECT.replace("team", "read_late"))
    add_component(
        project, "notes", root="read_late", attributes="  dsn_variable: TEAM_DSN\n", processor=NOTES_PROCESSOR
    )
    monkeypatch.syspath_prepend(project)
    monkeypatch.setenv("TEAM_DSN", NOBODY_LISTENS)
    defs = dg.load_from_defs_folder(path_within_project=project)

    monkeypatch.setenv("TEAM_DSN", dsn)
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", NOBODY_LISTENS)
    result = defs.resolve_job_def("import_notes").execute_in_process(
        run_config={"ops": {"notes": {"config": {"items": notes(3)}}}}
    )

    [materialization] = result.asset_materializations_for_node("notes")
    assert materialization.metadata["completed_items"].value == 3


def test_a_subclass_changes_keys_for_imports_and_for_the_reprocess_job_of_all(
    project: Path, dsn: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "team").rename(project / "with_keys")  # a name that no other test imports in this process
    (project / "pyproject.toml").write_text(PYPROJECT.replace("team", "with_keys"))
    (project / "with_keys" / "prefixed.py").write_text(PREFIXED)
    path = add_component(project, "notes", root="with_keys", processor=NOTES_PROCESSOR)
    (path / "defs.yaml").write_text("type: with_keys.prefixed.Prefixed\nattributes:\n  packages: [.processors]\n")
    add_component(project, "others", root="with_keys")
    monkeypatch.syspath_prepend(project)
    defs = dg.load_from_defs_folder(path_within_project=project)

    def shown_by(job: str, config: dict[str, object]) -> list[dg.AssetKey]:
        run = defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            run_config={"ops": {job.removeprefix("import_"): {"config": config}}},
            raise_on_error=False,
        )
        kinds = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)
        return [event.asset_key for event in run.all_events if event.event_type in kinds and event.asset_key]

    items = [*notes(1), {"id": "no number"}]
    assert shown_by("import_notes", {"items": items}) == [dg.AssetKey(["crm", "notes"])]
    assert shown_by("reprocess_failed_items", {"batch_id": 1}) == [dg.AssetKey(["crm", "notes"])]


def test_check_yaml_refuses_an_attribute_that_there_is_not(project: Path, dg_command: Command) -> None:
    add_component(project, "contacts", attributes="  dsn: postgresql://somewhere\n")

    checked = dg_command("check", "yaml")

    assert checked.returncode == 1
    assert "'dsn' was unexpected" in checked.stdout + checked.stderr


def test_check_defs_names_the_component_that_is_wrong(project: Path, dg_command: Command) -> None:
    add_component(project, "contacts")
    add_component(
        project, "partners", attributes="  batch_types: [patners]\n", processor=CONTACTS.replace("Contacts", "Partners")
    )

    checked = dg_command("check", "defs")

    assert checked.returncode == 1
    told = checked.stdout + checked.stderr
    assert "building definitions for partners" in told
    assert "no processor for batch type 'patners'; registered: partners" in told


@pytest.mark.parametrize("folder", ["2024-orders", "my.orders", "---", "class", "Input"])
def test_a_folder_that_no_processor_can_be_named_after_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()

    with pytest.raises(click.ClickException, match=f"named after the folder {folder!r}"):
        ReliableImportsScaffolder().scaffold(scaffold_request(tmp_path / folder))

    assert list((tmp_path / folder).iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "name"),
    [("customer-data", "CustomerData"), ("crm_contacts", "CrmContacts"), ("café orders", "CaféOrders")],
)
def test_odd_names_become_class_names(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()

    ReliableImportsScaffolder().scaffold(scaffold_request(tmp_path / folder))

    assert f"class {name}Processor(BaseProcessor)" in (tmp_path / folder / "processors.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["none", "table", "base_model"])
def test_a_table_of_any_name_gets_a_module_that_loads(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    request = scaffold_request(tmp_path / folder)
    request.params = ScaffoldParams(table=f"shop.{folder}")

    ReliableImportsScaffolder().scaffold(request)

    made = runpy.run_path(str(tmp_path / folder / "processors.py"))
    [processor] = [each for name, each in made.items() if name.endswith("Processor") and "table" in vars(each)]
    assert issubclass(processor, TableProcessor)


def test_a_sample_becomes_a_processor_and_its_table(project: Path, dg_command: Command, tmp_path: Path) -> None:
    sample = tmp_path / "orders.csv"
    sample.write_text("Order No.;Total\nA-01;1,50\nA-02;2,25\n")

    made = dg_command("scaffold", "defs", COMPONENT, "orders", "--sample", str(sample), "--table", "shop.orders")

    assert made.returncode == 0, made.stderr
    folder = project / "team" / "defs" / "orders"
    assert "total numeric" in (folder / "processors.sql").read_text()
    processor = runpy.run_path(str(folder / "processors.py"))["OrdersProcessor"]
    assert (processor.table, processor.decimal_comma, processor.setup_sql) == (
        "shop.orders",
        True,
        folder / "processors.sql",
    )
    checked = dg_command("check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_param_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError, match="pakages"):
        ScaffoldParams.model_validate({"pakages": ["team.imports"]})


def test_scaffolding_overwrites_no_processor(tmp_path: Path) -> None:
    (tmp_path / "processors.py").write_text("# a week of work\n")

    with pytest.raises(click.ClickException, match="was left as it is"):
        ReliableImportsScaffolder().scaffold(scaffold_request(tmp_path))

    assert (tmp_path / "processors.py").read_text() == "# a week of work\n"
    assert not (tmp_path / "defs.yaml").exists()


def test_a_dsn_in_place_of_a_variable_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigurationError, match="not the name of an environment variable") as refusal:
        ReliableImportsComponent(packages=["tests.dagster.doubles"], dsn_variable=NOBODY_LISTENS)

    assert "secret" not in str(refusal.value)


def test_components_of_one_project_share_a_database(project: Path, dg_command: Command) -> None:
    add_component(project, "contacts")
    partners = CONTACTS.replace("Contacts", "Partners")
    add_component(project, "partners", attributes="  dsn_variable: ELSEWHERE\n", processor=partners)

    checked = dg_command("check", "defs")

    assert checked.returncode == 1
    assert "components of one project share a database and a resource" in checked.stdout + checked.stderr


def test_every_attribute_is_documented_and_the_example_loads(project: Path, dg_command: Command) -> None:
    page = (Path(__file__).parents[2] / "docs" / "dagster.md").read_text()
    section = page.split("## The component for `dg`")[1].split("\n## ")[0]
    named = "".join(line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `"))
    attributes = {attribute.name for attribute in dataclasses.fields(ReliableImportsComponent)}
    assert set(re.findall(r"`(\w+)`", named)) == attributes

    path = add_component(project, "contacts")
    [example] = re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    (path / "defs.yaml").write_text(example)

    [asset] = json.loads(dg_command("list", "defs", "--json").stdout)["assets"]
    assert (asset["asset_key"], asset["group_name"], asset["owners"]) == ("crm/contacts", "crm", [{"team": "crm"}])


def test_whether_values_are_shown_reaches_the_resource(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "team").rename(project / "with_values")
    (project / "pyproject.toml").write_text(PYPROJECT.replace("team", "with_values"))
    add_component(project, "contacts", root="with_values", attributes="  show_failed_values: true\n")
    monkeypatch.syspath_prepend(project)

    [resource] = (dg.load_from_defs_folder(path_within_project=project).resources or {}).values()

    assert resource.show_failed_values


def test_a_subclass_does_more_than_import(project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "team").rename(project / "with_more")  # a name that no other test imports in this process
    (project / "pyproject.toml").write_text(PYPROJECT.replace("team", "with_more"))
    (project / "with_more" / "telling.py").write_text(TELLING)
    path = add_component(project, "notes", root="with_more", processor=NOTES_PROCESSOR)
    (path / "defs.yaml").write_text("type: with_more.telling.Telling\nattributes:\n  packages: [.processors]\n")
    monkeypatch.syspath_prepend(project)
    job = dg.load_from_defs_folder(path_within_project=project).resolve_job_def("import_notes")

    result = job.execute_in_process(run_config={"ops": {"notes": {"config": {"items": notes(3)}}}})

    assert [observed.asset_key for observed in observations_of(result)] == [dg.AssetKey("after_notes")]
    assert len(result.asset_materializations_for_node("notes")) == 1


def test_a_translation_in_yaml_says_how_assets_show(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "team").rename(project / "translated")  # a name that no other test imports in this process
    (project / "pyproject.toml").write_text(PYPROJECT.replace("team", "translated"))
    attributes = """  translation:
    group_name: crm
    owners: ["team:crm"]
    key: "crm/{{ batch_type }}"
    automation_condition: "{{ automation_condition.eager() }}"
    partitions_def: {type: daily, start_date: "2024-01-01", timezone: Europe/Berlin}
  op:
    tags: {queue: slow}
    pool: databases
    backfill_policy: {type: single_run}
  retry_policy: "{{ patient }}"
template_vars_module: .variables
"""
    path = add_component(project, "notes", root="translated", attributes=attributes, processor=NOTES_PROCESSOR)
    (path / "variables.py").write_text(VARIABLES)
    monkeypatch.syspath_prepend(project)

    defs = dg.load_from_defs_folder(path_within_project=project)

    spec = defs.resolve_assets_def(["crm", "notes"]).specs_by_key[dg.AssetKey(["crm", "notes"])]
    assert (spec.group_name, list(spec.owners)) == ("crm", ["team:crm"])
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert spec.partitions_def == dg.DailyPartitionsDefinition("2024-01-01", timezone="Europe/Berlin")
    assets = defs.resolve_assets_def(["crm", "notes"])
    assert (assets.op.tags["queue"], assets.op.pool) == ("slow", "databases")
    assert assets.op.retry_policy == dg.RetryPolicy(max_retries=4)
    assert assets.backfill_policy == dg.BackfillPolicy.single_run()
    assert defs.resolve_job_def("import_notes").partitions_def == spec.partitions_def


def test_the_name_of_an_op_is_the_assets() -> None:
    with pytest.raises(ConfigurationError, match="its name and description are the asset's"):
        ReliableImportsComponent(packages=["tests.dagster.doubles"], op=OpSpec(name="mine"))
