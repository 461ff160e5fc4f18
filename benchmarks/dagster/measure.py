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
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, ProcessorRegistry
from reliable_imports.embedded import EmbeddedPostgres
from reliable_imports.orchestration import code_version
from reliable_imports.settings import Settings
from reliable_imports_dagster import (
    ReliableImportsResource,
    build_abandoned_batches_sensor,
    build_all_failures_sensor,
    build_changed_code_sensor,
    build_import_jobs,
    build_missing_references_sensor,
    build_reliable_imports_defs,
    build_report_sensor,
    build_reprocess_sensor,
    build_waiting_batches_sensor,
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
    yield "definitions of 300 processors, built and validated", f"{median(load_300, 3):.2f} s"
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
    yield "a run of Dagster's alone, of an asset that does nothing", f"{median(lambda: dagster_alone(instance)):.2f} s"
    for items in (10, 10_000):
        alone = median(lambda items=items: plain(items))
        with_dagster = median(lambda items=items: in_dagster(items))
        yield (
            f"a run of {items:,} items, over process_batch alone",
            f"{with_dagster:.2f} s, over {alone:.2f} s: {with_dagster - alone:+.2f} s",
        )
    fill(dsn, in_dagster(10).run_id)
    jobs = build_import_jobs(registry)
    sensors = [
        build_reprocess_sensor(registry),
        build_changed_code_sensor(registry),
        build_all_failures_sensor(registry),
        build_all_failures_sensor(registry, backoff=timedelta(0)),
        build_missing_references_sensor(registry),
        build_waiting_batches_sensor(registry, jobs),
        build_abandoned_batches_sensor(registry, jobs),
        build_report_sensor(registry),
    ]
    for sensor in sensors:
        seconds, told = tick(sensor, instance, resource)
        yield f"tick of {sensor.name}: {told}", f"{seconds:.2f} s"
    make_missing(dsn)
    seconds, told = tick(sensors[4], instance, resource)
    yield f"tick of {sensors[4].name}, all failures for want of rows: {told}", f"{seconds:.2f} s"
    make_retryable(dsn)
    seconds, told = tick(sensors[0], instance, resource)
    yield f"tick of {sensors[0].name}, all failures retryable and resting: {told}", f"{seconds:.2f} s"


@dg.asset
def empty() -> None:
    """What Dagster itself costs."""


def dagster_alone(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions(assets=[empty]).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance)


def load_300() -> None:
    registry = ProcessorRegistry()
    for number in range(300):
        registry.register(type(f"Number{number}Processor", (NothingProcessor,), {"schedule": None}))
    dg.Definitions.validate_loadable(build_reliable_imports_defs(registry))


def fill(dsn: str, run_id: str) -> None:
    """Batches that have ended, a hundred failures in each, written straight into the tables; and a Dagster run for
    each of them, a copy of the one that is named."""
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
                batch_id, item_number, attempt, run_id, outcome, is_final, stage, error_type, message, reason, reasons,
                faults, retryable
            )
            SELECT
                batch_id, item_number, 1, 1, 'failed', true, 'process', 'ValueError', 'no', 'a-reason', '{a-reason}',
                '[]', false
            FROM reliable_imports.import_items
            WHERE batch_id > 100000
            """
        )
        cursor.execute(
            """
            INSERT INTO reliable_imports.import_runs (
                batch_id, runner, mode, code_version, dagster_run_id, host, process_id, failed, ended_at, outcome
            )
            SELECT id, 'dagster', 'import', %s, 'copy-' || id, 'here', 1, failed_items, now(), 'finished'
            FROM reliable_imports.import_batches
            WHERE id > 100000
            """,
            [code_version(NothingProcessor)],
        )
        cursor.execute(
            """
            INSERT INTO dagster.runs (run_id, snapshot_id, pipeline_name, status, run_body, start_time, end_time)
            SELECT
                'copy-' || batch.id, run.snapshot_id, run.pipeline_name, run.status,
                replace(run.run_body, run.run_id, 'copy-' || batch.id), run.start_time, run.end_time
            FROM dagster.runs AS run, reliable_imports.import_batches AS batch
            WHERE run.run_id = %s AND batch.id > 100000
            """,
            [run_id],
        )
        cursor.execute(
            """
            INSERT INTO dagster.run_tags (run_id, key, value)
            SELECT 'copy-' || batch.id, tag.key, tag.value
            FROM dagster.run_tags AS tag, reliable_imports.import_batches AS batch
            WHERE tag.run_id = %s AND batch.id > 100000
            """,
            [run_id],
        )
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def make_missing(dsn: str) -> None:
    """All failures as if they lacked a row of another table, each a row of its own."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE parents (id bigint PRIMARY KEY)")
            cursor.execute("CREATE TABLE children (parent bigint REFERENCES parents)")
            cursor.execute("INSERT INTO parents SELECT generate_series(1, 1000000)")
            cursor.execute(
                """
                INSERT INTO reliable_imports.import_failure_reasons (
                    fingerprint, version, batch_type, stage, error_type, sqlstate, constraint_name, rule, title
                )
                VALUES (
                    'a-reason', 1, 'nothing', 'write', 'ForeignKeyViolation', '23503', 'children_parent_fkey',
                    'children_parent_fkey', 'no'
                )
                """
            )
            cursor.execute("SET session_replication_role = replica")  # attempts are not to be changed
            cursor.execute(
                """
                UPDATE reliable_imports.import_attempts
                SET constraint_name = 'children_parent_fkey', missing_key = -(batch_id * 1000 + item_number)
                """
            )
            cursor.execute("VACUUM ANALYZE")


def make_retryable(dsn: str) -> None:
    """All failures as if they waited to be tried again tomorrow."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")  # attempts are not to be changed
            cursor.execute("UPDATE reliable_imports.import_attempts SET retryable = true, retry_after = '1 day'")
            cursor.execute("VACUUM ANALYZE")


def tick(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, resource: ReliableImportsResource
) -> tuple[float, str]:
    """The median seconds of a first tick, and what it led to."""
    answers: list[object] = []

    def once() -> None:
        with dg.build_sensor_context(
            instance=instance, sensor_name=sensor.name, resources={"reliable_imports": resource}
        ) as context:
            answers.append(sensor(context))

    return median(once), outcome(answers[-1])


def outcome(answer: object) -> str:
    match answer:
        case dg.SensorResult(run_requests=[_, *_] as requests):
            return f"{len(requests)} runs"
        case dg.SensorResult(skip_reason=dg.SkipReason(skip_message=reason)) | dg.SkipReason(skip_message=reason):
            return str(reason)
        case _:
            return "nothing"


def median(call: Callable[[], object], times: int = 5) -> float:
    call()
    measured = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        measured.append(time.perf_counter() - begin)
    return statistics.median(measured)


if __name__ == "__main__":
    main()
