"""A job whose workers are processes; one of them dies."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext
from reliable_imports_dagster import ReliableImportsResource, build_parallel_import_job


class SharedProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        died = item.source_data.get("die")
        if died and not Path(died).exists():
            Path(died).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(item.source_data.get("seconds", 0))
        ctx.insert("writes", {"batch": item.batch_id, "id": item.item_number})
        return None


defs = dg.Definitions(
    jobs=[
        build_parallel_import_job(
            SharedProcessor,
            workers=2,
            # Not by a forkserver: that would keep the first test's environment.
            executor=dg.multiprocess_executor.configured({"max_concurrent": 2, "start_method": {"spawn": {}}}),
        )
    ],
    resources={"reliable_imports": ReliableImportsResource()},
)


def job() -> dg.JobDefinition:
    return defs.resolve_job_def("import_shared_in_parallel")
