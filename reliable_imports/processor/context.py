"""What a processor works with: the database inside its item's transaction, the log, and a way to skip."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import msgspec

from reliable_imports.errors import ContextMisuse
from reliable_imports.items.log_details import details_json
from reliable_imports.items.redaction import without_secrets
from reliable_imports.items.rejection import Rejection
from reliable_imports.log import LEVELS, logger
from reliable_imports.postgres.connect import one_row, rows
from reliable_imports.processor.this_process import process_id
from reliable_imports.writes.request import Existing, NullKeys, UniqueIndex, WriteRequest

if TYPE_CHECKING:
    from psycopg2 import sql


class SkipItem(BaseException):
    """Ends an item as skipped. No `Exception`, so that a processor's `except Exception` lets it pass."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(slots=True)
class LogLine:
    """What was logged; *details* as JSON, as they were then: what they are made of may change before they are kept."""

    level: str
    message: str
    details: str | None = None


class ItemDatabase(Protocol):
    """What an item may do to the database. The engine keeps it apart from what other items do."""

    def execute(self, statement: str | sql.Composable, params: Any = None, *, hides_rows: bool = False) -> Any:
        """Run statements of the item and return the cursor.

        Args:
            hides_rows: of what the statements return, the item gets nothing but how many rows there are.
        """

    def look_up(self, table: str, key: Mapping[str, Any], column: str) -> Any:
        """The column of the row whose columns equal the key; None if there is no row."""

    def declare(self, request: WriteRequest, values: Collection[Any]) -> None:
        """Write a row later, together with others."""

    def write_returning(self, request: WriteRequest, values: Collection[Any], returning: str) -> Any:
        """Write a row at once, and return a column of it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the contexts of a chunk have in common.

    Attributes:
        lookup_cache: what earlier items of the run have looked up.
        thread: the only one that may use them, as `threading.get_ident` names it.
        process: the only one that may; a process that an item has forked has a thread of the same name.
        sensitive: the fields whose values no log line may hold.
    """

    batch_id: int
    batch_type: str
    run_id: int
    lookup_cache: dict[tuple[Any, ...], Any]
    thread: int
    process: int
    sensitive: frozenset[str] = frozenset()


class ContextState(msgspec.Struct, eq=False):
    """What there is behind one ImportContext. The engine makes it, asks it and ends it; the context is what the
    processor sees of it.

    Attributes:
        item_number: None in `on_batch_start` and `on_batch_complete`.
        is_hook: it is for a hook, which can neither skip nor reject its item.
        logs: what was logged through the context.
        lookups: what was looked up through it; None for nothing, as for most items.
        source_data: the item, of whose sensitive fields no log line may tell.
        has_ended: the context is refused from now on.
    """

    setting: Setting
    database: ItemDatabase
    item_number: int | None
    is_hook: bool = False
    logs: list[LogLine] = []  # a new list for each state
    lookups: dict[tuple[Any, ...], Any] | None = None
    source_data: Any = None
    has_ended: bool = False

    def end(self) -> list[LogLine]:
        """Revoke the context, so that a thread that a processor left behind cannot write into the next item.

        Returns what was logged.
        """
        self.has_ended = True
        return self.logs

    def keep_lookups(self) -> None:
        """Let later items of the run know what this one has looked up."""
        if self.lookups:
            self.setting.lookup_cache.update(self.lookups)

    def require_use(self) -> None:
        """Raise ContextMisuse unless the context may be used here and now."""
        if self.has_ended:
            raise ContextMisuse("this ImportContext belongs to an item that has ended; do not keep it")
        if threading.get_ident() != self.setting.thread:
            raise ContextMisuse("an ImportContext can only be used in the thread that processes its item")
        if process_id() != self.setting.process:
            raise ContextMisuse(
                "an ImportContext can only be used in the process that works its item, not in one that was forked"
            )


class ImportContext:
    """Lives as long as one item (or one hook of the batch) and is refused afterwards.

    All statements run in the transaction in which the outcome is recorded too: if the item fails, its writes are
    undone, and if it completes, both are committed together. COMMIT, ROLLBACK and SAVEPOINT are therefore refused.

    Attributes:
        batch_id: the batch that is worked on.
        run_id: the row of `import_runs` that works on it.
        item_number: the item's number; None in `on_batch_start` and `on_batch_complete`.
    """

    __slots__ = ("_state",)

    def __init__(self, state: ContextState) -> None:
        self._state = state

    @property
    def batch_id(self) -> int:
        """The batch that is worked; in a try of items without one, the number of a batch that is never made."""
        return self._state.setting.batch_id

    @property
    def batch_type(self) -> str:
        """What is imported."""
        return self._state.setting.batch_type

    @property
    def run_id(self) -> int:
        """The run that works the batch, as in `import_runs`; 0 in a try."""
        return self._state.setting.run_id

    @property
    def item_number(self) -> int | None:
        """The item within its batch, from 1; None in a hook of the whole batch."""
        return self._state.item_number

    def execute(self, statement: str | sql.Composable, params: Sequence[Any] | Mapping[str, Any] | None = None) -> int:
        """Run one or more statements and return how many rows the last one touched."""
        return int(self._usable().database.execute(statement, params, hides_rows=True).rowcount)

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
        self,
        table: str,
        row: Mapping[str, Any],
        *,
        key: Sequence[str] | str | UniqueIndex,
        existing: Existing = "update",
        never_updated: Sequence[str] = (),
        null_keys: NullKeys = "insert",
        returning: str | None = None,
    ) -> Any:
        """Insert *row*, or update the row that has the same *key*; return the *returning* column, if one is named.

        Without *returning* the write is declared: it is sent with those of other items, in item order, when the chunk
        ends or somebody reads, and isolated on the server; neighbours may share one INSERT with many rows. If the
        server refuses it, this item fails (stage `write`), but `process_item` has returned by then and cannot catch
        it. With *returning* it runs at once.

        Values are written as the type of their column wants them; see `reliable_imports.writes.values`.

        When an item is repeated, a row that an item delivered later has written (by whatever processor, under an equal
        key of the same table) is left as it is, and *returning* gives what stands there; `overwrite_newer=True` of the
        request writes it all the same. An item all of whose writes were left is skipped.

        Args:
            table: `name` or `schema.name`; a name with a dot in quotes, as in SQL.
            key: the columns of a unique index of the table, also of a partial one or one over expressions; or which
                one it is, as `UniqueIndex("its_name")`.
            existing: what becomes of a row that is there: `update` (only where it differs), `rewrite` (in any case),
                or `keep`.
            never_updated: columns that are written only when the row is inserted.
            null_keys: a row with NULL in its key equals no other row: `insert` it every time, or `fail` the item.

        Raises:
            UnusableTarget: there is no such table, it lacks a column, or it has no unique index for the key.
            NullInKey: the key has no value, and *null_keys* is `fail`.
        """
        wanted = key if isinstance(key, str | UniqueIndex) else tuple(key)
        kept = (never_updated,) if isinstance(never_updated, str) else tuple(never_updated)
        request = _upsert_of(table, tuple(row), wanted, existing, kept, null_keys)
        return self._write(request, row, returning)

    def insert(self, table: str, row: Mapping[str, Any], *, returning: str | None = None) -> Any:
        """Insert *row* and return the *returning* column, if one is named; declared or at once as `upsert`."""
        return self._write(WriteRequest(table, tuple(row)), row, returning)

    def lookup(self, table: str, key: Mapping[str, Any], *, column: str = "id") -> Any:
        """The *column* of the row whose columns equal *key*, or None; what is found is remembered for the run.

        Forgotten if the item that asked fails. A row that is not there is asked for again the next time, for it may
        have been made meanwhile.
        """
        state = self._usable()
        # With the types, for 1 and True are equal in Python.
        name = (table, column, *[(each, type(value), value) for each, value in sorted(key.items())])
        for known in (state.lookups or {}, state.setting.lookup_cache):
            if name in known:
                return known[name]
        value = state.database.look_up(table, key, column)
        if value is not None:
            state.lookups = {**(state.lookups or {}), name: value}
        return value

    def log(self, message: str, *, level: str = "info", **details: Any) -> None:
        """Add a line to the audit log, tied to batch, item and run, and forward the message to Python's logging.

        Kept also if the item fails. *details* are JSON values, kept as they are now; they go to the table only. What
        sensitive fields of the item hold is replaced by `***` in both.

        Args:
            level: `debug`, `info`, `warning` or `error`.
        """
        state = self._usable()
        if level not in LEVELS:
            raise ContextMisuse(f"unknown log level {level!r}; use one of {', '.join(LEVELS)}")
        if state.setting.sensitive:
            message, details = without_secrets([message, details], state.source_data, state.setting.sensitive)
        state.logs.append(LogLine(level, message, details_json(details)))
        facts = {"batch_id": self.batch_id, "item_number": self.item_number, "run_id": self.run_id}
        logger.log(LEVELS[level], message, extra=facts)

    def skip(self, reason: str) -> None:
        """End this item as skipped: nothing is to be done, and *reason* says why. What it wrote is undone."""
        if self._usable().is_hook:
            raise ContextMisuse("only validate_item and process_item can skip an item")
        raise SkipItem(reason)

    def reject(self, words: str, *, field: str | None = None) -> NoReturn:
        """End this item as failed (stage `validate`) for a reason that only a person can name; its writes are undone.

        The items that were rejected with the same words and field are one reason, so *words* hold no value of the item.
        """
        if self._usable().is_hook:
            raise ContextMisuse("only validate_item and process_item can reject an item")
        raise Rejection(words, field)

    def _usable(self) -> ContextState:
        self._state.require_use()
        return self._state

    def _returning(self, statement: str | sql.Composable, params: Any) -> Any:
        cursor = self._usable().database.execute(statement, params)
        if cursor.description is None:
            raise ContextMisuse("the statement returns no rows; use execute() or add RETURNING")
        return cursor

    def _write(self, request: WriteRequest, row: Mapping[str, Any], returning: str | None = None) -> Any:
        database = self._usable().database
        if returning is not None:
            return database.write_returning(request, row.values(), returning)
        database.declare(request, row.values())
        return None


@lru_cache(maxsize=256)
def _upsert_of(
    table: str,
    columns: tuple[str, ...],
    key: str | UniqueIndex | tuple[str, ...],
    existing: Existing,
    never_updated: tuple[str, ...],
    null_keys: NullKeys,
) -> WriteRequest:
    return WriteRequest(table, columns, (key,) if isinstance(key, str) else key, existing, never_updated, null_keys)
