"""The example's Dagster definitions: `dagster dev`, `dg dev` and `dagster job execute -m example_repo.definitions` use it."""

import dagster as dg

from reliable_imports_dagster import ReliableImportsResource, build_reliable_imports_defs

defs = build_reliable_imports_defs(
    "example_repo.processors",
    resource=ReliableImportsResource(),
    reprocess_sensor_status=dg.DefaultSensorStatus.RUNNING,
)
