"""The sensor of batches that an application has created and nobody has begun to work."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from reliable_imports import BatchManager
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.sensors.frame import Decision, build_sensor, choose
from reliable_imports_dagster.sensors.resuming import MAX_BATCHES, candidate


def build_waiting_batches_sensor(
    packages: Packages,
    jobs: Sequence[Any],
    *,
    age: timedelta = timedelta(minutes=1),
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
    max_runs_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `import_waiting_batches_sensor`, which launches `import_<type>` for batches that an application has
    created (`manager.create_batch`) and nobody has begun to work.

    Args:
        jobs: the import jobs, as `build_import_jobs` makes them.
        age: how old a batch must be; a run that has made one is about to work it.
    """
    registry = discover(packages)

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        waiting = manager.orchestration.waiting_batches(age=age, limit=MAX_BATCHES)
        if not waiting:
            return "no batch is waiting that nobody has begun to work"
        candidates = [candidate(context, manager, registry, batch, "waiting") for batch in waiting]
        return choose(context, manager, registry, candidates, max_runs=max_runs_per_tick).decision()

    return build_sensor(
        "import_waiting_batches_sensor",
        registry,
        decide,
        jobs=jobs,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Works batches that an application has created.",
    )
