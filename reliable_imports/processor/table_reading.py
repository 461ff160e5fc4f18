"""Facts of a processor that leaves something to its table: what the table says is read once a run, and once a batch is
made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2

from reliable_imports.errors import InvalidTarget, SetupFailed, UnusableTarget
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.facts import Facts, facts_of
from reliable_imports.sources.options import FORMATS_OF_CELLS
from reliable_imports.writes.identifiers import quoted_table
from reliable_imports.writes.target import found_target

_READING = load("reading.sql")
_WRITES = load("writes.sql")


def read_facts(
    cursor: Any, processor: type[BaseProcessor], *, may_set_up: bool = False, batch_id: int | None = None
) -> Facts:
    """The facts of a processor, with those of its table where it leaves something to it.

    Args:
        batch_id: whose items are going to be worked; not needed for other questions.
        may_set_up: a table that is missing is made by the processor's `setup_sql`, in the cursor's transaction.

    Raises:
        InvalidTarget: the table is not there, or does not say what its key is.
        SetupFailed: `setup_sql` cannot be run.
    """
    facts = facts_of(processor)
    table = facts.table_to_read()
    if table is None:
        return facts
    try:
        described = describe_table(cursor, table)
        if described is None and may_set_up and processor.setup_sql is not None:
            _set_up(cursor, processor.setup_sql)
            described = describe_table(cursor, table)
        target = found_target(table, described)
        return facts.with_table(target, texts_are_cells=batch_id is not None and _texts_are_cells(cursor, batch_id))
    except UnusableTarget as error:
        raise InvalidTarget(processor.__qualname__, str(error)) from None


def known_facts(cursor: Any, processor: type[BaseProcessor]) -> Facts:
    """Likewise; without those of the table where that does not say them."""
    try:
        return read_facts(cursor, processor)
    except InvalidTarget:
        return facts_of(processor)


def describe_table(cursor: Any, table: str) -> Any:
    """What the catalogue says of a table, for `Target`; None if it is not there."""
    cursor.execute(_WRITES["describe_target"], {"table": quoted_table(table)})
    (described,) = cursor.fetchone()
    return described


def _texts_are_cells(cursor: Any, batch_id: int) -> bool:
    cursor.execute(_READING["format_of_source"], {"batch_id": batch_id})
    (found,) = cursor.fetchone()
    return found in FORMATS_OF_CELLS


def _set_up(cursor: Any, path: Path) -> None:
    try:
        cursor.execute(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, psycopg2.Error) as error:
        if isinstance(error, psycopg2.Error) and cursor.connection.closed:
            raise
        raise SetupFailed(str(path), str(error).partition("\n")[0], None) from error
