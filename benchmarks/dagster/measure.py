"""What the Dagster integration costs. Run it by hand: `python benchmarks/dagster/measure.py`; it takes some minutes.

Starts a PostgreSQL of its own in a temporary folder, and keeps Dagster's storage in it too, as `reliable-imports dev`
does. Prints one Markdown table.
"""

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, ProcessorRegistry
from reliable_imports.embedded import EmbeddedPostgres
from reliable_imports.settings import Settings
from reliable_imports_dagster import (
    ReliableImportsResource,
    build_changed_code_sensor,
    build_reliable_imports_defs,
    build_reprocess_sensor,
)
from reliable_imports_dagster.storage import dagster_instance

BATCHES = 10_000
FAILURES = 1_000_000


class NothingProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        return None


def main() -> None:
    logging.disable(logging.INFO)
    print("| what | measured |\n|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="reliable-imports-benchmark-") as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder) / "server")
        server.start()
        try:
            dsn = server.dsn("postgres")
            with dagster_instance(dsn, Settings(dsn=dsn, home=Path(folder))) as instance:
                for what, figure in figures(dsn, instance):
                    print(f"| {what} | {figure} |", flush=True)
        finally:
            server.stop("immediate")


def figures(dsn: str, instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    yield "definitions of 300 processors, built and validated", seconds(load_300)
    registry = ProcessorRegistry()
    registry.register(NothingProcessor)
    resource = ReliableImportsResource(dsn=dsn)
    manager = resource.manager(registry)
    manager.migrate()
    job = build_reliable_imports_defs(registry, resource=resource).resolve_job_def("import_nothing")

    def plain(items: int) -> None:
        manager.process_batch(manager.create_batch("nothing", [{"id": number} for number in range(items)]))

    def in_dagster(items: int) -> dg.ExecuteInProcessResult:
        batch_id = manager.create_batch("nothing", [{"id": number} for number in range(items)])
        config = {"ops": {"nothing": {"config": {"batch_id": batch_id}}}}
        return job.execute_in_process(instance=instance, run_config=config)

    for items in (10, 10_000):
        run = in_dagster(items)
        count = len(instance.all_logs(run.run_id))
        yield f"events of a run of {items:,} items", str(count)
    for items in (10, 10_000):
        alone = median(lambda items=items: plain(items))
        with_dagster = median(lambda items=items: in_dagster(items))
        yield (
            f"a run of {items:,} items, over process_batch alone",
            f"{with_dagster:.2f} s, over {alone:.2f} s: {with_dagster - alone:+.2f} s",
        )
    fill(dsn)
    for name, sensor in (
        ("reprocess_failed_items_sensor", build_reprocess_sensor(registry)),
        ("reprocess_changed_code_sensor", build_changed_code_sensor(registry)),
    ):
        yield (
            f"tick of {name} with {BATCHES:,} batches and {FAILURES:,} failed items, none due",
            f"{tick(sensor, instance, resource):.2f} s",
        )


def load_300() -> None:
    registry = ProcessorRegistry()
    for number in range(300):
        registry.register(type(f"Number{number}Processor", (NothingProcessor,), {"schedule": None}))
    dg.Definitions.validate_loadable(build_reliable_imports_defs(registry))


def fill(dsn: str) -> None:
    """Batches that have ended, a hundred failures in each, written straight into the tables."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO reliable_imports.import_batches (
                id, first_batch_id, batch_type, status, total_items, completed_items, failed_items, skipped_items,
                started_at, finished_at
            )
            OVERRIDING SYSTEM VALUE
            SELECT 100000 + n, 100000 + n, 'nothing', 'failed', %(items)s, 0, %(items)s, 0, now(), now()
            FROM generate_series(1, %(batches)s) AS n
            """,
            {"batches": BATCHES, "items": FAILURES // BATCHES},
        )
        cursor.execute(
            """
            INSERT INTO reliable_imports.import_items (batch_id, item_number, source_data)
            SELECT 100000 + n, item, '{"id": 1}'
            FROM generate_series(1, %(batches)s) AS n, generate_series(1, %(items)s) AS item
            """,
            {"batches": BATCHES, "items": FAILURES // BATCHES},
        )
        cursor.execute(
            """
            INSERT INTO reliable_imports.import_attempts (
                batch_id, item_number, attempt, run_id, outcome, is_final, stage, error_type, message, reason, retryable
            )
            SELECT batch_id, item_number, 1, 1, 'failed', true, 'process', 'ValueError', 'no', 'a-reason', false
            FROM reliable_imports.import_items
            WHERE batch_id > 100000
            """
        )
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, resource: ReliableImportsResource) -> float:
    def once() -> None:
        with dg.build_sensor_context(instance=instance, resources={"reliable_imports": resource}) as context:
            sensor(context)

    return median(once)


def median(call: Callable[[], object], times: int = 5) -> float:
    call()
    measured = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        measured.append(time.perf_counter() - begin)
    return statistics.median(measured)


def seconds(call: Callable[[], object]) -> str:
    return f"{median(call, 3):.2f} s"


if __name__ == "__main__":
    main()
