"""The example's Dagster definitions, as `dagster dev` and `dagster job execute -m` load them."""

import dagster as dg

from reliable_imports_dagster import ReliableImportsResource, build_reliable_imports_defs

defs = build_reliable_imports_defs(
    "example_repo.processors",
    resource=ReliableImportsResource(),
    sensor_status=dg.DefaultSensorStatus.RUNNING,
    reprocess_sensor_status=dg.DefaultSensorStatus.RUNNING,
)
