"""Every snippet of docs/dagster.md loads, beside the definitions that the page begins with, and runs."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reliable_imports import ProcessorRegistry
from reliable_imports_dagster import ReliableImportsResource, build_import_asset
from tests.dagster.conftest import Query

PAGE = Path(__file__).parents[2] / "docs" / "dagster.md"


@pytest.fixture
def page(dsn: str) -> dict[str, Any]:
    """The names that the snippets leave behind, one after the other."""
    names: dict[str, Any] = {"__name__": "docs_dagster"}
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) >= 6
    for number, snippet in enumerate(snippets, 1):
        exec(compile(snippet, f"{PAGE.name}, snippet {number}", "exec"), names)
    return names


def test_all_snippets_load_together(page: dict[str, Any]) -> None:
    dg.Definitions.validate_loadable(page["defs"])

    assert page["flights_sensor"] in (page["defs"].sensors or [])
    assert page["defs"].resolve_job_def("flights_twice")


def test_the_job_of_ops_reprocesses_the_batch_that_it_imported(
    page: dict[str, Any], instance: dg.DagsterInstance, query: Query
) -> None:
    for job in ("import_airlines", "import_airports", "import_planes"):
        assert page["defs"].resolve_job_def(job).execute_in_process(instance=instance).success

    result = page["defs"].resolve_job_def("flights_twice").execute_in_process(instance=instance)

    assert result.success
    assert result.output_for_node("import_flights_first") == 4
    assert result.output_for_node("try_flights_again") == [5]
    assert query("SELECT batch_id, mode FROM reliable_imports.import_runs ORDER BY id DESC LIMIT 2") == [
        (5, "reprocess"),
        (4, "import"),
    ]


def test_several_assets_in_one_step_run(page: dict[str, Any], instance: dg.DagsterInstance) -> None:
    result = dg.materialize(
        [page["imports"]],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource()},
        selection=["airlines", "airports"],
    )

    assert len(result.get_asset_materialization_events()) == 2


def test_documented_params_are_asked_for(page: dict[str, Any], instance: dg.DagsterInstance) -> None:
    registry = ProcessorRegistry()
    registry.register(page["PricesProcessor"])

    result = dg.materialize(
        [build_import_asset(page["PricesProcessor"])],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource()},
        run_config={"ops": {"prices": {"config": {"items": [{}], "params": {"since": "2024-01-31"}}}}},
    )

    assert result.success
