from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from reliable_imports_dagster import ReliableImportsResource, build_reprocess_sensor
from tests.dagster import project

Tick = Callable[[], list[dg.RunRequest]]


@pytest.fixture
def evaluate(dsn: str, instance: dg.DagsterInstance) -> Callable[..., dg.SensorResult | dg.SkipReason]:
    def tick(**options: int) -> dg.SensorResult | dg.SkipReason:
        sensor = build_reprocess_sensor("tests.dagster.doubles", **options)  # type: ignore[arg-type]
        with dg.build_sensor_context(
            instance=instance,
            sensor_name=sensor.name,
            definitions=project.defs,
            resources={"reliable_imports": ReliableImportsResource()},
        ) as context:
            answer = sensor(context)
        assert isinstance(answer, dg.SensorResult | dg.SkipReason)
        return answer

    return tick
