"""The tables of the processors, and what a file has for them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import psycopg2

from reliable_imports.batches.column_check import ColumnCheck
from reliable_imports.errors import ConfigurationError, ItemError, SourceError
from reliable_imports.postgres.connect import Connection
from reliable_imports.postgres.queries import load
from reliable_imports.preflight.finding import Finding, fine, problem, warning
from reliable_imports.preflight.questions import ask
from reliable_imports.processor.table_reading import describe_table, read_facts
from reliable_imports.writes.identifiers import quoted_table
from reliable_imports.writes.plans import Plans

if TYPE_CHECKING:
    from reliable_imports.manager import BatchManager
    from reliable_imports.processor.base import BaseProcessor

_PREFLIGHT = load("preflight.sql")
_FIRST_ITEMS = 100


def check_target(connection: Connection, processor: type[BaseProcessor]) -> Iterator[Finding]:
    """Whether the table that a processor declares is there, takes its columns, and has its key."""
    subject = processor.batch_type
    table = getattr(processor, "table", None)
    if table is None:
        yield fine(subject, "its tables are named in its code, and were not looked at")
        return
    with connection.cursor() as cursor:
        described = describe_table(cursor, table)
    if described is None and processor.setup_sql is not None:
        yield fine(subject, f"the first run makes {table}, by {processor.setup_sql.name}")
        return
    if described is not None and (
        missing := ask(connection, _PREFLIGHT["rights_on_table"], {"table": quoted_table(table)})
    ):
        rights = ", ".join(privilege for (privilege,) in missing)
        yield problem(subject, f"this role lacks {rights} on {table}", f"GRANT {rights} ON {table} TO its role")
        return
    try:
        plans = Plans()
        target = plans.learn(table, described)
        with connection.cursor() as cursor:
            facts = read_facts(cursor, processor)
        for request in facts.write_requests():
            plans.make(request, target, connection.server_version)
    except (ItemError, ConfigurationError) as error:
        yield problem(subject, str(error), "alter the table, or what the processor declares of it")
        return
    yield fine(subject, f"{table} takes what the processor writes")


def check_file(
    connection: Connection, manager: BatchManager, batch_type: str, file: str, *, may_try: bool
) -> Iterator[Finding]:
    """Whether a file can be read, and has the fields that the processor asks for; its first items are tried.

    Args:
        may_try: the schema is there; trying would else make it.
    """
    processor = manager.registry.get(batch_type)
    try:
        source = manager.open_source(batch_type, file)
        check = _column_check(connection, processor)
        first = list(islice(iter(source) if check is None else check.begin(source), _FIRST_ITEMS))
    except SourceError as error:
        yield problem("file", str(error), "correct the file, or the processor's source_options")
        return
    told = [] if check is None else check.warnings()
    for each in told:
        yield warning("file", each, "rename the field, or say so in the processor")
    if processor.has_effects or not may_try:
        why = "they have effects outside the database" if processor.has_effects else "the schema is not up to date"
        yield fine("file", f"{file} can be read; its items were not tried, as {why}")
        return
    report = manager.try_items(batch_type, source.first(_FIRST_ITEMS))
    failed = [item for item in report.items if item.outcome.value == "failed"]
    for words in dict.fromkeys(item.words or "" for item in failed):
        number = sum(item.words == words for item in failed)
        yield problem(
            "file",
            f"{number:,} of its first {len(first):,} items would fail: {words}",
            f"reliable-imports import {file} --as {batch_type} --try",
        )
    if not failed:
        yield fine("file", f"its first {len(first):,} items would go in")


def _column_check(connection: Connection, processor: type[BaseProcessor]) -> ColumnCheck | None:
    """None where nobody can say which columns a file should have: there is no model, and no table yet."""
    try:
        with connection.cursor() as cursor:
            return ColumnCheck.of(read_facts(cursor, processor))
    except (ConfigurationError, psycopg2.Error):  # of a table that is not there, in a schema that is not there
        return None
