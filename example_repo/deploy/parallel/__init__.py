"""Flights imported by several workers at once: the job `import_flights_in_parallel`, by one executor or another."""

from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from example_repo.deploy.definitions import defs
from example_repo.processors.flights import FlightsProcessor
from reliable_imports_dagster import build_parallel_import_job

FOLDER = Path(__file__).parent


def executor_config(name: str) -> dict[str, Any]:
    """What the YAML file of that name says to its executor. It is run config, so a single run can be given it too."""
    run_config = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return dict(run_config["execution"]["config"])


def with_parallel_flights(executor: dg.ExecutorDefinition, **options: Any) -> dg.Definitions:
    """The definitions of production, and the job; *options* are those of `build_parallel_import_job`."""
    job = build_parallel_import_job(FlightsProcessor, executor=executor, **options)
    return dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
