"""A kind of write to a table: what is known of it, its rows, and the statements for one row."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from reliable_imports.errors import ContextMisuse
from reliable_imports.writes.identifiers import literal, quoted
from reliable_imports.writes.insert import Insert
from reliable_imports.writes.key import Key
from reliable_imports.writes.key_index import find_index
from reliable_imports.writes.many_rows import ManyRows
from reliable_imports.writes.origin import Origin
from reliable_imports.writes.prediction import Prediction
from reliable_imports.writes.request import WriteRequest
from reliable_imports.writes.row_texts import Expressions, RowTexts, Texts
from reliable_imports.writes.target import Column, IndexPart, Target

_HAS_FIELDS = re.compile(r"interval [a-z]")


class Write(msgspec.Struct, frozen=True, gc=False):
    """One row for a table.

    Attributes:
        texts: a text for each column of the plan, or None.
        expressions: instead of some of them: the column's place, and SQL in which `{}` stands for the text.
        key: the texts of the key; None where the row has no whole key, or only the server can tell it.
        needs_telling: it takes a statement of its own, which tells what became of it.
    """

    plan: Plan
    texts: Texts
    expressions: Expressions
    key: Texts | None
    needs_telling: bool


class Plan:
    """How rows with some columns are written to a table.

    Attributes:
        columns: those that are written; the table's own default takes the place of a model's.
        key: how the rows are found in the table.
        prediction: which rows the server will likely refuse.
        many_rows: the statements that write many rows at once.
        single_rows_for: why each row takes a statement of its own, which tells what became of it; empty if none does.
        has_deferrable: constraints of the table may be checked later, and are checked after each item.
        minds_order: another unique index or exclusion constraint than that of the key reads what is written, so rows
            with different keys may get in each other's way.
        returns_key: a statement that tells what became of a row returns the key as it is stored.
    """

    def __init__(self, request: WriteRequest, target: Target, *, server_version: int) -> None:
        """
        Raises:
            UnusableTarget: the table lacks a column, or a unique index for the key.
            ContextMisuse: the rows have no columns, or not those of the key.
        """
        self.request = request
        self.target = target
        index = None if request.key is None or target.takes_plain_inserts else find_index(target, request.key)
        left_out = {name for name in request.defaulted if name in target.columns and target.columns[name].has_default}
        places = tuple(place for place, name in enumerate(request.columns) if name not in left_out)
        self.columns = tuple(request.columns[place] for place in places)
        if not self.columns:
            raise ContextMisuse(f"a row for table {request.table} needs at least one column")
        columns = [target.column_to_write(name) for name in self.columns]
        self.key = key = Key(request, target, index, columns, server_version)
        for name in set(request.never_updated).difference(target.columns):
            target.column_to_write(name)
        self.prediction = Prediction(target, columns, server_version, key=index)
        self._insert = insert = Insert(request, target, columns, key)
        self.many_rows = ManyRows(target, columns, key, insert, self.prediction)
        self.single_rows_for = (*target.single_rows_for, *_reasons_for_single_rows(request, columns, key))
        self.has_deferrable = target.has_deferrable
        written = frozenset(self.columns)
        self.minds_order = target.has_exclusions or any(
            other is not index and target.bases_of(other) & written for other in target.indexes
        )
        self.returns_key = key.exists and not target.has_rules
        self._tells_moves = self.returns_key and key.is_in_row and target.has_triggers
        self._needs_single_rows = bool(self.single_rows_for)
        self._casts = [column.type.cast for column in columns]
        self._texts_of = RowTexts(request.table, columns, places).of
        self._key_of = key.of

    def write(self, values: Collection[Any]) -> Write:
        """The row as texts; *values* are in the order of the request's columns.

        Raises:
            ContextMisuse: a value cannot be written to its column.
            NullInKey: the key has no value, and the request says that it must.
        """
        texts, expressions = self._texts_of(values)
        key, only_server_tells = self._key_of(texts, expressions)
        return Write(self, texts, expressions, key, self._needs_single_rows or only_server_tells)

    def always_inserts(self, write: Write) -> bool:
        """Whether the row meets no other one: it has no key, or NULL in it."""
        return self.request.key is None or self.key.meets_no_row(write.texts, write.expressions)

    # Statements for one row

    def statement(self, write: Write, returning: str | None = None) -> str:
        """The plain INSERT of one row, which tells how many rows it touched, and the column that is asked for."""
        return f"{self._insert_of(write)}{self._insert.on_conflict}{_answer(returning)}"

    def form(self, returning: str) -> str:
        """What all such statements have in common, whatever their values."""
        return f"{self._insert.into}VALUES (){self._insert.on_conflict}{_answer(returning)}"

    def telling_statement(self, write: Write, origin: Origin | None = None, returning: str | None = None) -> str:
        """The INSERT of one row that leaves in a setting what it has met; see `may_update`.

        It returns the key of the row as it is stored, if `returns_key`, whether that is the key that was given, where
        triggers may have changed it, and the column that is asked for.

        Args:
            origin: of an item that is repeated, which must not overwrite what was delivered later.
        """
        is_guarded = origin is not None and self.key.exists
        batch_id, item_number = origin if origin is not None and is_guarded else ("NULL", "NULL")
        guard = f"{batch_id}, {item_number}"
        if self._insert.is_upsert:
            text = f"{self._insert_of(write)}{self._insert.on_conflict_tell(guard)}"
        elif is_guarded:
            row = f"SELECT {', '.join(quoted(name) for name in self.columns)} FROM ({self._given(write)}) AS given"
            may_insert = f"reliable_imports.may_update_v1(true, {self._key_given(write)}, {guard})"
            text = f"{self._insert.into}{row} WHERE {may_insert}"
        else:
            text = self._insert_of(write)
        returned = [self.key.hash_of_stored_row()] if self.returns_key else []
        if self._tells_moves:
            returned.append(f"({self.key.hash_of_stored_row()}) IS NOT DISTINCT FROM {self._key_given(write)}")
        if returning is not None:
            returned.append(f"stands.{quoted(returning)}")
        return text + (f" RETURNING {', '.join(returned)}" if returned else "")

    def standing_row(self, write: Write, returning: str) -> str:
        """A SELECT of a column of the row that an upsert of this key meets."""
        conditions = []
        given = dict(zip(self.columns, self._sql_of(write), strict=True))
        for part in self.key.parts:
            if part.column is not None:
                value = given[part.column]
                test = "IS NULL" if value == "NULL" else f"= {value}"
                conditions.append(f"stands.{quoted(part.column)} {test}")
            else:
                conditions.append(f"({part.sql}) = {self._part_given(part, write)}")
        return f"SELECT {quoted(returning)} FROM {self.target.name} AS stands WHERE {self._all_of(conditions)}"

    def standing_rows(self, writes: Sequence[Write]) -> str:
        """A SELECT of the rows that stand under the keys of *writes*: the place in *writes*, and all columns."""
        parts = self.key.parts
        names = [quoted(f"reliable_imports key {number}") for number in range(len(parts))]
        place = quoted("reliable_imports place")
        rows = []
        for number, write in enumerate(writes):
            typed = self._insert.typed(list(map(literal, write.texts)), write.expressions)
            given = dict(zip(self.columns, typed, strict=True))
            keys = [self._part_given(part, write) if part.column is None else given[part.column] for part in parts]
            rows.append(f"({', '.join([str(number), *keys])})")
        is_equal = "IS NOT DISTINCT FROM" if self.key.nulls_are_equal else "="
        conditions = [
            f"({part.sql}) {is_equal} given.{name}"
            if part.column is None
            else f"stands.{quoted(part.column)} {is_equal} given.{name}"
            for part, name in zip(parts, names, strict=True)
        ]
        return (
            f"SELECT given.{place}, stands.* FROM (VALUES {', '.join(rows)}) AS given ({', '.join([place, *names])}) "
            f"JOIN {self.target.name} AS stands ON {self._all_of(conditions)}"
        )

    def _insert_of(self, write: Write) -> str:
        return f"{self._insert.into}VALUES ({', '.join(self._sql_of(write))})"

    def _sql_of(self, write: Write) -> list[str]:
        """SQL for each value of the row."""
        parts = list(map(literal, write.texts))
        for place, expression in write.expressions:
            parts[place] = expression.format(parts[place])
        return parts

    def _given(self, write: Write) -> str:
        """A SELECT of the row as it was given, by column, typed."""
        return "SELECT " + ", ".join(
            f"({value})::{cast} AS {quoted(name)}"
            for value, cast, name in zip(self._sql_of(write), self._casts, self.columns, strict=True)
        )

    def _key_given(self, write: Write) -> str:
        """The key of the row as it was given, hashed."""
        return f"(SELECT {self.key.hash_of_only_row()} FROM ({self._given(write)}) AS given)"

    def _part_given(self, part: IndexPart, write: Write) -> str:
        """The value of an expression of the key in the row as it was given."""
        return f"(SELECT {part.sql} FROM ({self._given(write)}) AS given)"

    def _all_of(self, conditions: Sequence[str]) -> str:
        """That a row of the table is equal to a key, and one of those that the index is over."""
        index = self.key.index
        partial = [f"({index.predicate})"] if index is not None and index.predicate is not None else []
        return " AND ".join([*conditions, *partial])


def _answer(returning: str | None) -> str:
    return "" if returning is None else f" RETURNING stands.{quoted(returning)}"


def _reasons_for_single_rows(request: WriteRequest, columns: Sequence[Column], key: Key) -> list[str]:
    """What makes single statements necessary that is not due to the table alone, in words."""
    reasons = {
        "rows that are there are to be kept": request.existing == "keep",
        # A text is read as the fields of `interval day` say only where it is a constant.
        "an interval of certain fields": any(_HAS_FIELDS.match(column.exact_type) for column in columns),
        "rows that lack a part of the key": not key.is_in_row,
        # Only the stored row tells whether it is one of those that it is over.
        "a partial index": key.index is not None and key.index.predicate is not None,
    }
    return [words for words, is_so in reasons.items() if is_so]
