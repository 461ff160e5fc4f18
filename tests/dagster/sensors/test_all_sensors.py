"""All sensors at once, on three related tables, with failures of every kind: quiet, bounded, in the end all is in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from pydantic import BaseModel

from reliable_imports import (
    BaseProcessor,
    BatchManager,
    ImportBatchItem,
    ImportContext,
    ProcessorRegistry,
    TableProcessor,
    TransientError,
)
from reliable_imports_dagster import build_all_failures_sensor, build_reliable_imports_defs
from tests.dagster.conftest import Query
from tests.dagster.daemon import Daemon

TABLES = """
CREATE TABLE regions (code text PRIMARY KEY);
CREATE TABLE shops (code text PRIMARY KEY, region text NOT NULL REFERENCES regions);
CREATE TABLE sales (id integer PRIMARY KEY, shop text NOT NULL REFERENCES shops);
"""


ATTEMPTS = """
SELECT coalesce(item.source_data ->> 'do', batch.batch_type), max(attempt.attempt)
FROM reliable_imports.import_attempts AS attempt
JOIN reliable_imports.stored_items AS item USING (batch_id, item_number)
JOIN reliable_imports.import_batches AS batch ON batch.id = attempt.batch_id
GROUP BY 1
"""


class Region(BaseModel):
    code: str


class RegionsProcessor(TableProcessor):
    table = "regions"
    key = ("code",)
    model = Region


class Shop(BaseModel):
    code: str
    region: str


class ShopsProcessor(TableProcessor):
    table = "shops"
    key = ("code",)
    model = Shop
    depends_on = ("regions",)


class SalesProcessor(BaseProcessor):
    depends_on = ("shops",)
    retry_backoff = timedelta(0)
    max_attempts = 3
    max_tries = 1

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        match item.source_data.get("do"):
            case "be busy":
                raise TransientError("the till is busy")
            case "fail":
                raise ValueError("this is no sale")
        ctx.upsert("sales", {"id": item.source_data["id"], "shop": item.source_data["shop"]}, key="id")
        return None


REGISTRY = ProcessorRegistry()
for processor in (RegionsProcessor, ShopsProcessor, SalesProcessor):
    REGISTRY.register(processor)
DEFS = build_reliable_imports_defs(REGISTRY)
ALL_FAILURES = build_all_failures_sensor(REGISTRY, max_attempts=4, backoff=timedelta(0))


class Daemons:
    """What Dagster's daemon does with all sensors that have ticks: each after the other, and then their runs."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        sensors = [sensor for sensor in DEFS.sensors or [] if type(sensor) is dg.SensorDefinition]
        self._daemons = [Daemon(sensor, instance, DEFS) for sensor in [*sensors, ALL_FAILURES]]
        self._instance = instance
        assert len(self._daemons) == 7

    def tick(self, times: int) -> list[str]:
        """The jobs of the runs that were launched, most of which were not needed if they are many."""
        launched = []
        for _ in range(times):
            for daemon in self._daemons:
                answer = daemon.tick()
                if not isinstance(answer, dg.SensorResult):
                    continue
                for request in answer.run_requests or []:
                    assert daemon.run(request).success, "somebody would be woken by a sensor"
                    launched.append(f"{daemon.sensor.name} {request.tags['reliable_imports/lineage']}")
                for event in answer.asset_events:
                    self._instance.report_runless_asset_event(event)
        return launched


@pytest.fixture
def manager(dsn: str, query: Query) -> BatchManager:
    query(TABLES)
    return BatchManager(dsn, registry=REGISTRY)


def _imported(instance: dg.DagsterInstance, batch_type: str, *items: Mapping[str, Any]) -> None:
    DEFS.resolve_job_def(f"import_{batch_type}").execute_in_process(
        instance=instance,
        run_config={"ops": {batch_type: {"config": {"items": list(items)}}}},
        raise_on_error=False,
    )


def test_with_all_sensors_on_runs_are_few_attempts_bounded_and_what_can_be_repaired_is(
    manager: BatchManager, instance: dg.DagsterInstance, query: Query
) -> None:
    _imported(
        instance,
        "sales",
        {"id": 1, "shop": "a"},
        {"id": 2, "shop": "b"},
        *[{"id": number, "do": "be busy"} for number in range(3, 9)],
        *[{"id": number, "do": "fail"} for number in range(9, 15)],
    )
    _imported(instance, "shops", {"code": "a", "region": "north"}, {"code": "b", "region": "south"}, {"code": "c"})
    for _ in range(3):  # parents that repair nothing
        _imported(instance, "regions", {"code": "east"})
    daemons = Daemons(instance)

    launched = daemons.tick(times=20)

    assert len(launched) <= 12, launched
    # Nothing beyond the four attempts that the most patient of the sensors allows, which takes every failure.
    assert dict(query(ATTEMPTS)) == {"be busy": 4, "fail": 4, "sales": 4, "shops": 4, "regions": 1}
    assert daemons.tick(times=3) == []

    # What failed for want of a row has used up no patience: it was not tried in vain more often than was asked for.
    query("ALTER TABLE reliable_imports.import_attempts DISABLE TRIGGER USER")
    query("UPDATE reliable_imports.import_attempts SET finished_at = finished_at - interval '1 day'")
    _imported(instance, "regions", {"code": "north"}, {"code": "south"})
    launched = daemons.tick(times=3)

    assert query("SELECT code FROM shops ORDER BY code") == [("a",), ("b",)]
    assert query("SELECT id FROM sales ORDER BY id") == [(1,), (2,)]
    assert len(launched) == 2, launched
    assert daemons.tick(times=3) == []
