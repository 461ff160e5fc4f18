"""What the database says of a processor's table, which Dagster shows with the asset."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
import psycopg2
from psycopg2 import sql

from reliable_imports import BatchManager, ContextMisuse, TableProcessor
from reliable_imports.orchestration import facts_of
from reliable_imports.postgres import Connection, connect, load, rows, transaction
from reliable_imports.writes import quoted, quoted_table

_TABLES = load("target_tables.sql", "reliable_imports_dagster")
_PATIENCE = "1s"
TABLE_NAME = "dagster/table_name"


def table_metadata(
    manager: BatchManager,
    batch_type: str,
    *,
    asset_key: dg.AssetKey,
    partition: str | None,
    tables: Mapping[dg.AssetKey, str],
) -> dict[str, Any]:
    """The table's full name, how many rows it has, and which of its columns refer to other assets' tables; and which
    columns it has, where no model says them.

    Nothing if the processor names no table. What the database refuses to say, or takes longer than a second for, is
    left out: it is an extra, and no reason to fail a batch that is done.

    Args:
        tables: the names of the tables that other assets say they are.
    """
    processor = manager.registry.get(batch_type)
    if not issubclass(processor, TableProcessor):
        return {}
    table = quoted_table(processor.table)
    told: dict[str, Any] = {}

    def ask(tell: Callable[[Any], Mapping[str, Any]]) -> None:
        """In a transaction of its own: what is refused there keeps nothing from the others."""
        try:
            with _impatient(connection) as cursor:
                told.update(tell(cursor))
        except psycopg2.Error:
            pass

    try:
        with connect(manager.dsn) as connection:
            others = {key: name for key, name in tables.items() if key != asset_key}
            ask(lambda cursor: {**_name(cursor, table), **_lineage(cursor, table, others)})
            if processor.model is None:
                ask(lambda cursor: _columns(cursor, table, processor))
            ask(lambda cursor: _row_count(cursor, table))
            if partition is not None:
                ask(lambda cursor: _partition_row_count(cursor, batch_type, partition))
    except psycopg2.Error:
        pass
    return told


@contextmanager
def _impatient(connection: Connection) -> Iterator[Any]:
    with transaction(connection) as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{_PATIENCE}'")
        yield cursor


def _name(cursor: Any, table: str) -> Mapping[str, Any]:
    cursor.execute(_TABLES["table_name"], {"table": table})
    found = cursor.fetchone()
    return {} if found is None else {TABLE_NAME: ".".join(found)}


def _columns(cursor: Any, table: str, processor: type[TableProcessor]) -> Mapping[str, Any]:
    cursor.execute(_TABLES["columns"], {"table": table})
    told_names = facts_of(processor).spelling.told_names
    columns = []
    for row in rows(cursor):
        sources = told_names(row["name"])
        origin = "" if sources == (row["name"],) else f"Read from {' or '.join(sources)}."
        constraints = dg.TableColumnConstraints(
            nullable=row["is_nullable"],
            unique=row["is_unique"],
            other=["part of the key"] if row["is_part_of_key"] else [],
        )
        told = " ".join(filter(None, [row["description"], origin])) or None
        columns.append(dg.TableColumn(row["name"], row["type"], description=told, constraints=constraints))
    return {"dagster/column_schema": dg.TableSchema(columns=columns)} if columns else {}


def _row_count(cursor: Any, table: str) -> Mapping[str, Any]:
    """Counted, for the sum of what batches completed is another number: a row may be written by many."""
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(table)))
    return {"dagster/row_count": cursor.fetchone()[0]}


def _partition_row_count(cursor: Any, batch_type: str, partition: str) -> Mapping[str, Any]:
    cursor.execute(_TABLES["rows_of_partition"], {"batch_type": batch_type, "partition": partition})
    return {"dagster/partition_row_count": cursor.fetchone()[0]}


def _lineage(cursor: Any, table: str, tables: Mapping[dg.AssetKey, str]) -> Mapping[str, Any]:
    """From the foreign keys alone: that a column has the name of another's key says nothing."""
    if not tables:
        return {}
    cursor.execute(_TABLES["references"], {"table": table})
    columns: dict[str, list[dg.TableColumnDep]] = {}
    for reference in rows(cursor):
        for key in sorted(key for key, name in tables.items() if _quoted(name) in _names_of_referenced(reference)):
            dep = dg.TableColumnDep(key, reference["referenced_column"])
            deps = columns.setdefault(reference["column_name"], [])
            if dep not in deps:
                deps.append(dep)
    return {"dagster/column_lineage": dg.TableColumnLineage(columns)} if columns else {}


def _names_of_referenced(reference: Mapping[str, Any]) -> Collection[str]:
    """All that a table can be called by the role that asks."""
    table = quoted(reference["referenced_table"])
    full = f"{quoted(reference['referenced_schema'])}.{table}"
    names = [full, f"{quoted(reference['referenced_database'])}.{full}"]
    return [*names, table] if reference["is_visible"] else names


def _quoted(name: str) -> str | None:
    """The name that an asset gives its table, in quotes; also with the database, as dbt and others write it."""
    try:
        return quoted_table(name)
    except ContextMisuse:
        parts = name.split(".")
        return ".".join(f'"{part}"' for part in parts) if len(parts) == 3 else None


def tables_of(graph: Any) -> dict[dg.AssetKey, str]:
    """The tables of the assets of a code location, or of a job, as their definitions name them; none of no graph."""
    if graph is None:
        return {}
    named = {key: graph.get(key).metadata.get(TABLE_NAME) for key in graph.get_all_asset_keys()}
    return {key: name for key, value in named.items() if (name := getattr(value, "value", value))}
