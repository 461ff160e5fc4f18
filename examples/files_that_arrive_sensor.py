"""Each file is imported once and then put aside, by a sensor of Dagster's.

INBOX=/srv/inbox dagster dev -f examples/files_that_arrive_sensor.py
"""

import os

import dagster as dg

from examples.files_that_arrive import ProductsProcessor
from reliable_imports import ProcessorRegistry
from reliable_imports_dagster import ReliableImportsResource, build_file_sensor, build_reliable_imports_defs

registry = ProcessorRegistry()
registry.register(ProductsProcessor)

defs = dg.Definitions.merge(
    build_reliable_imports_defs(registry, resource=ReliableImportsResource()),
    dg.Definitions(
        sensors=[
            build_file_sensor(ProductsProcessor, os.environ.get("INBOX", "inbox"), pattern="*.csv", afterwards="move")
        ]
    ),
)
