"""A code location beside the example: slow on demand, and with parameters. Runs work in the folder they start in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import BaseModel, Field

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, ProcessorRegistry
from reliable_imports_dagster import ReliableImportsResource, build_import_assets, build_import_jobs

READINGS = Path("readings.jsonl")
HURRY = Path("hurry")


class ReadingsProcessor(BaseProcessor):
    """Readings of a meter, each of which takes its time until the file `hurry` is there."""

    class Params(BaseModel):
        """How readings are taken."""

        unit: Literal["kWh", "MJ"] = Field(default="kWh", description="What the meter counts.")
        factor: Decimal = Field(default=Decimal("1.0"), gt=0, description="What every reading is multiplied by.")

    params: Params
    source = READINGS
    setup_sql = Path(__file__).with_name("readings.sql")

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if not HURRY.exists():  # a hundred of them soon, and then time for whoever stops the run
            time.sleep(0.02 if item.item_number <= 150 else 0.2)
        ctx.insert("readings", {"number": item.source_data["number"], "unit": self.params.unit})
        return None


_registry = ProcessorRegistry()
_registry.register(ReadingsProcessor)
# In the run's own process, as `build_reliable_imports_defs` has it. No sensors: those of the example do for the tests.
defs = dg.Definitions(
    assets=build_import_assets(_registry),
    jobs=build_import_jobs(_registry),
    resources={"reliable_imports": ReliableImportsResource()},
    executor=dg.in_process_executor,
)
