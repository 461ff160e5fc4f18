"""What a processor works with: the database inside its item's transaction, the log, and a way to skip."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reliable_imports.database import one_row, rows
from reliable_imports.errors import ContextMisuse
from reliable_imports.queries import load
from reliable_imports.upsert import adapted, insert_statement, natural_key, table_name

if TYPE_CHECKING:
    from psycopg2 import sql

    from reliable_imports.chunk_session import ChunkSession, ItemScope

logger = logging.getLogger("reliable_imports")

_WORK = load("work.sql")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class SkipItem(BaseException):
    """Ends an item as skipped. No `Exception`, so that a processor's `except Exception` lets it pass."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an item of a reprocess batch began; guards newer data of the same key from it."""

    batch_id: int
    item_number: int


@dataclass(slots=True)
class LogLine:
    level: str
    message: str
    details: Mapping[str, Any]


@dataclass(slots=True)
class ItemNotes:
    """What an item leaves behind besides its writes."""

    logs: list[LogLine] = field(default_factory=list)
    natural_key: str | None = None
    lookups: dict[tuple[Any, ...], Any] = field(default_factory=dict)


class ImportContext:
    """Lives as long as one item (or one hook of the batch) and is refused afterwards.

    All statements run in the transaction in which the outcome is recorded too: if the item fails, its writes are
    undone, and if it completes, both are committed together. COMMIT, ROLLBACK and SAVEPOINT are therefore refused.

    Attributes:
        batch_id: the batch that is worked on.
        run_id: the row of `import_runs` that works on it.
        item_number: the item's number; None in `on_batch_start` and `on_batch_complete`.
    """

    def __init__(
        self,
        session: ChunkSession,
        scope: ItemScope,
        *,
        batch_id: int,
        batch_type: str,
        run_id: int,
        item_number: int | None,
        found: dict[tuple[Any, ...], Any],
        guard: Origin | None = None,
    ) -> None:
        self.batch_id = batch_id
        self.batch_type = batch_type
        self.run_id = run_id
        self.item_number = item_number
        self._session = session
        self._scope = scope
        self._notes = ItemNotes()
        self._found = found
        self._guard = guard
        self._thread = threading.get_ident()
        self._ended = False

    def execute(self, statement: str | sql.Composable, params: Sequence[Any] | Mapping[str, Any] | None = None) -> int:
        """Run one or more statements and return how many rows the last one touched."""
        return int(self._run(statement, params).rowcount)

    def fetch_one(
        self, statement: str | sql.Composable, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The first row as a dict by column name, or None without a row."""
        return one_row(self._returning(statement, params))

    def fetch_all(
        self, statement: str | sql.Composable, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """All rows as dicts by column name, held in memory at once."""
        return rows(self._returning(statement, params))

    def fetch_value(
        self, statement: str | sql.Composable, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> Any:
        """The first column of the first row, or None without a row."""
        values = self._returning(statement, params).fetchone()
        return None if values is None else values[0]

    def upsert(
        self, table: str, row: Mapping[str, Any], *, key: Sequence[str] | str, returning: str | None = None
    ) -> Any:
        """Insert *row*, or update the row that has the same *key*; return the *returning* column, if one is named.

        Without *returning* the write is declared: it is sent with those of other items, in item order, when the chunk
        ends or somebody reads, and isolated on the server. If the server refuses it, this item fails (stage `write`),
        but `process_item` has returned by then and cannot catch it. With *returning* it runs at once.

        In a reprocess batch, an item whose key a newer item has completed meanwhile is skipped instead of overwriting
        it, unless the batch was made with `overwrite_newer=True`.

        Args:
            table: `name` or `schema.name`.
            key: the columns of a unique index or constraint of the table.
        """
        self._check()
        columns = (key,) if isinstance(key, str) else tuple(key)
        missing = [column for column in columns if column not in row]
        if missing:
            raise ContextMisuse(f"the row for {table} lacks its key: {', '.join(missing)}")
        self._guard_newer(natural_key(table, row, columns))
        return self._write(table, row, columns, returning)

    def insert(self, table: str, row: Mapping[str, Any], *, returning: str | None = None) -> Any:
        """Insert *row* and return the *returning* column, if one is named; declared or at once as `upsert`."""
        self._check()
        return self._write(table, row, None, returning)

    def lookup(self, table: str, key: Mapping[str, Any], *, column: str = "id") -> Any:
        """The *column* of the row whose columns equal *key*, or None; what is found is remembered for the run.

        Remembered across items only once the item that asked has been committed. A row that is not there is asked for
        again the next time, for it may have been made meanwhile.
        """
        self._check()
        name = (table, column, *sorted(key.items()))
        for known in (self._notes.lookups, self._found):
            if name in known:
                return known[name]
        from psycopg2 import sql

        conditions = [sql.SQL("{} = %s").format(sql.Identifier(each)) for each in key]
        value = self.fetch_value(
            sql.SQL("SELECT {} FROM {} WHERE {} LIMIT 1").format(
                sql.Identifier(column), table_name(table), sql.SQL(" AND ").join(conditions)
            ),
            list(key.values()),
        )
        if value is not None:
            self._notes.lookups[name] = value
        return value

    def log(self, message: str, *, level: str = "info", **details: Any) -> None:
        """Add a line to the audit trail, tied to batch, item and run, and forward the message to Python's logging.

        Kept also if the item fails. *details* are JSON values; they go to the table only.

        Args:
            level: `debug`, `info`, `warning` or `error`.
        """
        self._check()
        if level not in _LEVELS:
            raise ContextMisuse(f"unknown log level {level!r}; use one of {', '.join(_LEVELS)}")
        self._notes.logs.append(LogLine(level, message, details))
        facts = {"batch_id": self.batch_id, "item_number": self.item_number, "run_id": self.run_id}
        logger.log(_LEVELS[level], message, extra=facts)

    def skip(self, reason: str) -> None:
        """End this item as skipped: nothing is to be done, and *reason* says why. What it wrote is undone."""
        self._check()
        raise SkipItem(reason)

    def _end(self) -> ItemNotes:
        """Revoke the context: a thread that a processor left behind cannot write into the next item."""
        self._ended = True
        return self._notes

    def _check(self) -> None:
        if self._ended:
            raise ContextMisuse("this ImportContext belongs to an item that has ended; do not keep it")
        if threading.get_ident() != self._thread:
            raise ContextMisuse("an ImportContext can only be used in the thread that processes its item")

    def _run(self, statement: str | sql.Composable, params: Any) -> Any:
        self._check()
        return self._session.execute(self._scope, statement, params)

    def _returning(self, statement: str | sql.Composable, params: Any) -> Any:
        cursor = self._run(statement, params)
        if cursor.description is None:
            raise ContextMisuse("the statement returns no rows; use execute() or add RETURNING")
        return cursor

    def _write(self, table: str, row: Mapping[str, Any], key: tuple[str, ...] | None, returning: str | None) -> Any:
        template = insert_statement(self._session.connection, table, tuple(row), key, returning)
        values = adapted(list(row.values()))
        if returning is not None:
            return self.fetch_value(template, values)
        self._scope.declared.append(self._session.mogrify(template, values))
        return None

    def _guard_newer(self, key: str) -> None:
        if self._notes.natural_key is None:
            self._notes.natural_key = key
        if self._guard is None:
            return
        cursor = self._session.query(
            _WORK["find_newer"],
            {
                "natural_key": key,
                "batch_type": self.batch_type,
                "origin_batch_id": self._guard.batch_id,
                "origin_item_number": self._guard.item_number,
            },
        )
        newer = cursor.fetchone()
        if newer is not None:
            raise SkipItem(f"item {newer[1]} of batch {newer[0]} is newer and has completed the same key")
