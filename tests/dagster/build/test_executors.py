"""What is shipped for Dask and Kubernetes loads with their own libraries; a batch is worked by a real Dask cluster."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
from distributed import LocalCluster

from example_repo.deploy.parallel import executor_config
from tests.dagster import parallel_project
from tests.dagster.conftest import Query, jsonl

VARIABLES = {
    "IMPORTS_CELERY_BROKER": "redis://redis:6379/0",
    "IMPORTS_CELERY_BACKEND": "redis://redis:6379/1",
    "IMPORTS_DASK_SCHEDULER": "tcp://scheduler:8786",
    "IMPORTS_NAMESPACE": "imports",
}
JOB = "import_flights_in_parallel"


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def _shipped(place: str) -> dg.Definitions:
    defs = import_module(f"example_repo.deploy.parallel.on_{place}").defs
    assert isinstance(defs, dg.Definitions)
    return defs


@pytest.mark.parametrize("place", ["celery", "dask", "kubernetes"])
def test_the_definitions_that_are_shipped_load_and_take_a_runs_config(place: str) -> None:
    defs = _shipped(place)

    dg.Definitions.validate_loadable(defs)
    dg.validate_run_config(defs.resolve_job_def(JOB), {"ops": {"accept": {"config": {"workers": 2}}}})
    assert defs.resolve_job_def("import_flights").has_node("flights")


def test_the_pods_of_the_shipped_config_are_asked_for_with_what_they_need() -> None:
    [*_, step] = [node.name for node in _shipped("kubernetes").resolve_job_def(JOB).nodes]
    wanted = UserDefinedDagsterK8sConfig.from_dict(executor_config("kubernetes")["step_k8s_config"])

    pod = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image="imports", dagster_home="/dagster"),
        args=["dagster", "api", "execute_step"],
        job_name=step.replace("_", "-"),
        user_defined_k8s_config=wanted,
    ).to_dict()["spec"]["template"]["spec"]

    [container] = pod["containers"]
    assert container["resources"]["requests"] == {"cpu": "1", "memory": "256Mi"}
    assert pod["termination_grace_period_seconds"] == 60


def test_a_batch_is_shared_by_dask_workers_and_one_that_is_killed_costs_nothing(
    dsn: str, instance: dg.DagsterInstance, query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items: list[dict[str, Any]] = [{"seconds": 0.02} for _ in range(150)]
    items[20]["die"] = str(tmp_path / "died")

    with LocalCluster(n_workers=2, threads_per_worker=1, resources={"IMPORTS": 1}, dashboard_address=None) as cluster:
        monkeypatch.setenv("IMPORTS_DASK_SCHEDULER", cluster.scheduler_address)
        run_config = {
            "ops": {"accept": {"config": {"path": str(jsonl(tmp_path, items))}}},
            "execution": {"config": executor_config("dask")},
        }
        with dg.execute_job(dg.reconstructable(parallel_project.on_dask), instance, run_config=run_config) as result:
            assert result.success

    assert (tmp_path / "died").exists()
    assert query("SELECT status, completed_items FROM reliable_imports.import_batches") == [("completed", 150)]
    assert query("SELECT count(*), count(DISTINCT id) FROM writes") == [(150, 150)]
    # Dask gave the dead worker's step to another one.
    assert query("SELECT count(*) FROM reliable_imports.import_runs WHERE ended_at IS NULL") == [(1,)]
    assert len(instance.fetch_materializations(dg.AssetKey("shared"), limit=2).records) == 1
