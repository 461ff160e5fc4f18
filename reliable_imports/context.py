"""What a processor works with: the database inside its item's transaction, the log, and a way to skip."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from reliable_imports.database import one_row, rows
from reliable_imports.engine.columns import is_plain
from reliable_imports.errors import ContextMisuse
from reliable_imports.upsert import adapted, insert_template, natural_key, quoted, quoted_table

if TYPE_CHECKING:
    from psycopg2 import sql

    from reliable_imports.engine.session import ChunkSession, ItemScope

logger = logging.getLogger("reliable_imports")

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class SkipItem(BaseException):
    """Ends an item as skipped. No `Exception`, so that a processor's `except Exception` lets it pass."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(slots=True)
class LogLine:
    level: str
    message: str
    details: Mapping[str, Any]


class ItemNotes(msgspec.Struct, eq=False):
    """What an item leaves behind besides its writes."""

    logs: list[LogLine] = []  # a new one for each
    natural_key: str | None = None
    """What the item is about: its declared natural key, else the table and key of its first upsert."""
    writes: int = 0
    lookups: dict[tuple[Any, ...], Any] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What the contexts of a chunk have in common.

    Attributes:
        found: what earlier items of the run have looked up.
        thread: the only one that may use them, as `threading.get_ident` names it.
    """

    session: ChunkSession
    batch_id: int
    batch_type: str
    run_id: int
    found: dict[tuple[Any, ...], Any]
    thread: int


class ImportContext:
    """Lives as long as one item (or one hook of the batch) and is refused afterwards.

    All statements run in the transaction in which the outcome is recorded too: if the item fails, its writes are
    undone, and if it completes, both are committed together. COMMIT, ROLLBACK and SAVEPOINT are therefore refused.

    Attributes:
        batch_id: the batch that is worked on.
        run_id: the row of `import_runs` that works on it.
        item_number: the item's number; None in `on_batch_start` and `on_batch_complete`.
    """

    __slots__ = ("_ended", "_is_hook", "_notes", "_scope", "_setting", "item_number")

    def __init__(self, setting: Setting, scope: ItemScope, item_number: int | None, is_hook: bool = False) -> None:
        self.item_number = item_number
        self._setting = setting
        self._scope = scope
        self._notes = ItemNotes()
        self._is_hook = is_hook
        self._ended = False

    @property
    def batch_id(self) -> int:
        return self._setting.batch_id

    @property
    def batch_type(self) -> str:
        return self._setting.batch_type

    @property
    def run_id(self) -> int:
        return self._setting.run_id

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
        ends or somebody reads, and isolated on the server; neighbours may share one INSERT with many rows. If the
        server refuses it, this item fails (stage `write`), but `process_item` has returned by then and cannot catch
        it. With *returning* it runs at once.

        The table and key of an item's first upsert say what the item is about. Where a newer item has completed the
        same key meanwhile, one that is reprocessed does not overwrite it: it is skipped if the upsert is all that it
        writes, and else fails, for the rest of it would be lost. `overwrite_newer=True` lets it.

        Args:
            table: `name` or `schema.name`.
            key: the columns of a unique index or constraint of the table.
        """
        self._check()
        columns = (key,) if isinstance(key, str) else tuple(key)
        try:
            values = [row[column] for column in columns]
        except KeyError:
            missing = ", ".join(column for column in columns if column not in row)
            raise ContextMisuse(f"the row for {table} lacks its key: {missing}") from None
        about = natural_key(table.rpartition(".")[2], values)
        if self._notes.natural_key is None:
            self._notes.natural_key = about
        if not self._scope.declared:
            self._scope.key = about
        return self._write(table, row, columns, returning)

    def insert(self, table: str, row: Mapping[str, Any], *, returning: str | None = None) -> Any:
        """Insert *row* and return the *returning* column, if one is named; declared or at once as `upsert`."""
        self._check()
        return self._write(table, row, None, returning)

    def lookup(self, table: str, key: Mapping[str, Any], *, column: str = "id") -> Any:
        """The *column* of the row whose columns equal *key*, or None; what is found is remembered for the run.

        Forgotten if the item that asked fails. A row that is not there is asked for again the next time, for it may
        have been made meanwhile.
        """
        self._check()
        # With the types, for 1 and True are equal in Python.
        name = (table, column, *[(each, type(value), value) for each, value in sorted(key.items())])
        for known in (self._notes.lookups or {}, self._setting.found):
            if name in known:
                return known[name]
        conditions = " AND ".join(f"{quoted(each)} = %s" for each in key)
        statement = f"SELECT {quoted(column)} FROM {quoted_table(table)} WHERE {conditions} LIMIT 1"
        value = self._returning(statement, list(key.values()), writes=False).fetchone()
        value = None if value is None else value[0]
        if value is not None:
            if self._notes.lookups is None:
                self._notes.lookups = {}
            self._notes.lookups[name] = value
        return value

    def log(self, message: str, *, level: str = "info", **details: Any) -> None:
        """Add a line to the audit trail, tied to batch, item and run, and forward the message to Python's logging.

        Kept also if the item fails. *details* are JSON values; they go to the table only.

        Args:
            level: `debug`, `info`, `warning` or `error`.
        """
        self._check()
        if level not in LEVELS:
            raise ContextMisuse(f"unknown log level {level!r}; use one of {', '.join(LEVELS)}")
        self._notes.logs.append(LogLine(level, message, details))
        facts = {"batch_id": self.batch_id, "item_number": self.item_number, "run_id": self.run_id}
        logger.log(LEVELS[level], message, extra=facts)

    def skip(self, reason: str) -> None:
        """End this item as skipped: nothing is to be done, and *reason* says why. What it wrote is undone."""
        self._check()
        if self._is_hook:
            raise ContextMisuse("only validate_item and process_item can skip an item")
        raise SkipItem(reason)

    def _end(self) -> ItemNotes:
        """Revoke the context: a thread that a processor left behind cannot write into the next item."""
        self._ended = True
        return self._notes

    def _check(self) -> None:
        if self._ended:
            raise ContextMisuse("this ImportContext belongs to an item that has ended; do not keep it")
        if threading.get_ident() != self._setting.thread:
            raise ContextMisuse("an ImportContext can only be used in the thread that processes its item")

    def _run(self, statement: str | sql.Composable, params: Any, *, writes: bool = True) -> Any:
        self._check()
        cursor = self._setting.session.execute(self._scope, statement, params)
        self._notes.writes += writes and not str(cursor.statusmessage).startswith("SELECT")
        return cursor

    def _returning(self, statement: str | sql.Composable, params: Any, *, writes: bool = True) -> Any:
        cursor = self._run(statement, params, writes=writes)
        if cursor.description is None:
            raise ContextMisuse("the statement returns no rows; use execute() or add RETURNING")
        return cursor

    def _write(self, table: str, row: Mapping[str, Any], key: tuple[str, ...] | None, returning: str | None) -> Any:
        template = insert_template(table, tuple(row), key)
        if returning is not None:
            return self.fetch_value(f"{template.statement} RETURNING {quoted(returning)}", adapted(list(row.values())))
        values = tuple(row.values())
        if is_plain(values):
            self._scope.declared.append((template, values))
        else:
            literal = self._setting.session.mogrify(template.row, adapted(values))
            self._scope.declared.append((template, literal))
        self._notes.writes += 1
        return None
