"""The example's Dagster definitions in production: the worker's role may not make tables, so no run tries to."""

import dagster as dg

from reliable_imports_dagster import ReliableImportsResource, build_reliable_imports_defs

defs = build_reliable_imports_defs(
    "example_repo.processors",
    resource=ReliableImportsResource(migrate=False),
    sensor_status=dg.DefaultSensorStatus.RUNNING,
    reprocess_sensor_status=dg.DefaultSensorStatus.RUNNING,
)
