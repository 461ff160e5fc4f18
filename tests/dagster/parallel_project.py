"""A batch for several workers, by one executor or another; one of them dies."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_celery import celery_executor
from dagster_dask import dask_executor

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext
from reliable_imports_dagster import ReliableImportsResource, build_parallel_import_job


class SharedProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        died = item.source_data.get("die")
        if died and not Path(died).exists():
            Path(died).touch()
            until = time.monotonic() + 120
            while not Path(item.source_data.get("with", died)).exists() and time.monotonic() < until:
                time.sleep(0.01)
            if item.source_data.get("with its group"):
                os.killpg(0, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(item.source_data.get("seconds", 0))
        if wanted := item.source_data.get("runs"):
            until = time.monotonic() + 120
            while ctx.fetch_value("SELECT count(*) FROM reliable_imports.import_runs") < wanted:
                assert time.monotonic() < until
                time.sleep(0.01)
        ctx.insert("writes", {"batch": item.batch_id, "id": item.item_number})
        return None


# Not by a forkserver: that would keep the first test's environment.
PROCESSES = dg.multiprocess_executor.configured({"max_concurrent": 2, "start_method": {"spawn": {}}})


def _job(executor: dg.ExecutorDefinition, **options: Any) -> dg.JobDefinition:
    defs = dg.Definitions(
        jobs=[build_parallel_import_job(SharedProcessor, workers=2, executor=executor, **options)],
        resources={"reliable_imports": ReliableImportsResource()},
    )
    return defs.resolve_job_def("import_shared_in_parallel")


def in_processes() -> dg.JobDefinition:
    return _job(PROCESSES)


def on_celery() -> dg.JobDefinition:
    return _job(celery_executor)


def on_dask() -> dg.JobDefinition:
    return _job(dask_executor, op_tags={"dagster-dask/resource_requirements": {"IMPORTS": 1}})
