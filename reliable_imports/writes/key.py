"""The key of rows that are written to a table: its texts in a row, and SQL that finds and names the row it is for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from reliable_imports.errors import ContextMisuse, NullInKey
from reliable_imports.writes.identifiers import array_text, literal, quoted
from reliable_imports.writes.joined_texts import columns_of_texts, cut
from reliable_imports.writes.request import UniqueIndex, WriteRequest
from reliable_imports.writes.row_texts import Expressions, Texts
from reliable_imports.writes.target import Column, Index, IndexPart, Target

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_ONE_TEXT = {
    "text": None,
    "varchar": None,
    "int2": _INTEGER,
    "int4": _INTEGER,
    "int8": _INTEGER,
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
}
"""Types of which a value has one text only, if it looks like this; of others 7 and 007 may be equal."""


class Key:
    """The key by which rows with some columns are found in a table.

    Attributes:
        exists: the rows have one; else each is inserted, whatever there is.
        index: the unique index that ON CONFLICT is to use; None for a view, and where ON CONFLICT is not used.
        parts: what the index is over, or the columns that take its place.
        columns: those that a row must have to be found.
        plain_columns: those that are a part by themselves, and not in an expression.
        nulls_are_equal: a row with NULL in its key is found again.
        is_in_row: a row has all columns that the key is made of.
        is_plain: the index is over columns alone, and over all rows.
    """

    def __init__(
        self, request: WriteRequest, target: Target, index: Index | None, columns: Sequence[Column], server_version: int
    ) -> None:
        """
        Args:
            columns: those that the rows have.

        Raises:
            ContextMisuse: the rows lack a column that the processor has named.
            UnusableTarget: the table has no such column.
        """
        self.index = index
        self.parts = _parts(target, request.key, index)
        self.exists = bool(self.parts)
        self.columns = _columns(request.key, index)
        self.plain_columns = frozenset(part.column for part in self.parts if part.column is not None)
        self.nulls_are_equal = index is not None and index.nulls_are_equal
        self.is_plain = index is not None and index.is_plain
        names = [column.name for column in columns]
        read = self.columns if index is None else index.read_by_parts
        self._places = tuple(place for place, name in enumerate(names) if name in read)
        self._in_row = [columns[place] for place in self._places]
        self.is_in_row = len(self._places) == len(read)
        if missing := sorted(self.columns.difference(names)):
            raise ContextMisuse(f"the row for {request.table} lacks its key: {', '.join(missing)}")
        self._table = request.table
        self._must_have_values = request.null_keys == "fail"
        self._patterns = _patterns_of_one_text(self.parts, self._in_row)
        self._seed = _seed(target, self.parts)
        self._server_version = server_version

    # In a row

    def of(self, texts: Texts, expressions: Expressions) -> tuple[Texts | None, bool]:
        """The key of a row: its texts, or None; and whether only the server can tell it.

        There are no texts either where the row has no whole key, and so meets no other row.

        Raises:
            NullInKey: a part has no value, and the request says that it must.
        """
        if not self.exists or not self.is_in_row:
            return None, self.exists
        key = tuple([texts[place] for place in self._places])
        if None in key and not self.nulls_are_equal:
            missing = self._columns_without_value(texts, expressions)
            if missing and self._must_have_values:
                raise NullInKey(self._table, sorted(self.columns), missing)
            # Of an expression, such as one with coalesce(), only the server can tell.
            if not self.plain_columns.isdisjoint(missing):
                return None, False
        # What only psycopg2 could write may be another value the next time it is asked for.
        if expressions and any(texts[place] is None for place, _ in expressions if place in self._places):
            return None, True
        return key, False

    def expressions_of(self, expressions: Expressions) -> Expressions:
        """Those of a row's expressions that its key is made of."""
        return tuple(each for each in expressions if each[0] in self._places)

    def meets_no_row(self, texts: Texts, expressions: Expressions) -> bool:
        """Whether a row has NULL in its key, which no other row equals."""
        if not self.is_in_row or self.nulls_are_equal:
            return False
        return bool(self._columns_without_value(texts, expressions))

    def show_equality(self, keys: Iterable[Texts]) -> bool:
        """Whether those of these keys that are equal to the server are sure to have the same texts."""
        if self._patterns is None:
            return False
        patterns = [(place, pattern) for place, pattern in enumerate(self._patterns) if pattern is not None]
        return not patterns or all(
            (text := key[place]) is None or pattern.fullmatch(text) is not None
            for key in keys
            for place, pattern in patterns
        )

    def _columns_without_value(self, texts: Texts, expressions: Expressions) -> list[str]:
        taken = {place for place, _ in expressions}
        return [
            column.name
            for place, column in zip(self._places, self._in_row, strict=True)
            if texts[place] is None and place not in taken
        ]

    # In SQL

    def arbiter(self) -> str:
        """What ON CONFLICT is about."""
        index = self.index
        if index is None:  # a view: the server knows the table behind it
            return f"({', '.join(map(quoted, sorted(self.columns)))})"
        if index.is_constraint:
            return f"ON CONSTRAINT {quoted(index.name)}"
        parts = ", ".join(part.sql if part.column is not None else f"({part.sql})" for part in index.parts)
        return f"({parts})" + ("" if index.predicate is None else f" WHERE {index.predicate}")

    def hash_of_row(self, row: str) -> str:
        """The key of a row, hashed; NULL if rows have none."""
        if not self.exists:
            return "NULL"
        if any(part.column is None for part in self.parts):
            # What an index is over names its columns alone.
            return f"(SELECT {self.hash_of_only_row()} FROM (SELECT {row}.*) AS it)"
        return self._hash(f"{row}.")

    def hash_of_only_row(self) -> str:
        """The same where no other row has columns of these names."""
        return self._hash("")

    def hash_of_stored_row(self) -> str:
        """The key of the row `stands` that was written; NULL if a partial index is not over such rows."""
        key = self.hash_of_row("stands")
        if self.index is None or self.index.predicate is None:
            return key
        return f"CASE WHEN (SELECT {self.index.predicate} FROM (SELECT stands.*) AS it) THEN {key} END"

    def hashes_of_given_rows(self, place: str) -> str:
        """A SELECT of the places and keys of the rows `given`, which have the typed columns."""
        names = [quoted(column.name) for column in self._in_row]
        exact = [f"{name}::{column.exact_type} AS {name}" for name, column in zip(names, self._in_row, strict=True)]
        return (
            f"SELECT {place}, {self.hash_of_only_row()} AS row_key "
            f"FROM (SELECT {place}, {', '.join(exact)} FROM given) AS given"
        )

    def hashes_of_keys(self, expressions: Expressions, numbers: Sequence[int], keys: Sequence[Texts]) -> str:
        """A SELECT of item numbers and the keys of their rows, hashed as the server compares them.

        Args:
            expressions: the `expressions_of` all of these rows.
        """
        texts = columns_of_texts(keys)
        if texts is None:  # a text with a separator in it: one at a time, and this one by values
            if len(numbers) > 1:
                return " UNION ALL ".join(
                    self.hashes_of_keys(expressions, [number], [key]) for number, key in zip(numbers, keys, strict=True)
                )
            texts_in_sql = [f"{literal(text)}::text AS c{number}" for number, text in enumerate(keys[0], 1)]
        else:
            texts_in_sql = [
                f"pg_catalog.unnest({cut(literal(text))}) AS c{number}" for number, text in enumerate(texts, 1)
            ]
        instead = dict(expressions)
        exact = []
        for number, (place, column) in enumerate(zip(self._places, self._in_row, strict=True), 1):
            value = instead.get(place, "{}").format(f"c{number}")
            exact.append(f"({value})::{column.exact_type} AS {quoted(column.name)}")
        # A column of the key may be called item_number.
        item = quoted("reliable_imports item")
        items = f"pg_catalog.unnest('{array_text(numbers)}'::bigint[]) AS {item}"
        return (
            f"SELECT {item} AS item_number, {self.hash_of_only_row()} AS row_key "
            f"FROM (SELECT {item}, {', '.join(exact)} FROM (SELECT {items}, {', '.join(texts_in_sql)}) AS texts) "
            "AS given"
        )

    def _hash(self, prefix: str) -> str:
        # By name: a view and its table are to agree.
        ordered = sorted(self.parts, key=lambda part: part.column or part.sql)
        parts = [part.sql if part.column is None else prefix + quoted(part.column) for part in ordered]
        hashed = _hash_of(list(zip(parts, ordered, strict=True)), self._seed, self._server_version)
        if self.nulls_are_equal:
            return hashed
        return f"CASE WHEN {' AND '.join(f'({part}) IS NOT NULL' for part in parts)} THEN {hashed} END"


def _parts(target: Target, key: tuple[str, ...] | UniqueIndex | None, index: Index | None) -> tuple[IndexPart, ...]:
    if index is not None:
        return index.parts
    columns = key.columns if isinstance(key, UniqueIndex) else key or ()
    return tuple(
        IndexPart(column.name, quoted(column.name), column.type, None)
        for column in [target.column_to_write(name) for name in columns]
    )


def _columns(key: tuple[str, ...] | UniqueIndex | None, index: Index | None) -> frozenset[str]:
    if isinstance(key, tuple):
        return frozenset(key)
    if isinstance(key, UniqueIndex) and key.columns:
        return frozenset(key.columns)
    if index is not None and all(part.column is not None for part in index.parts):
        return index.columns
    return frozenset() if index is None else index.reads


def _patterns_of_one_text(
    parts: Sequence[IndexPart], columns: Sequence[Column]
) -> Sequence[re.Pattern[str] | None] | None:
    """How the texts of a key must look so that no others are equal to them; None where looks do not tell."""
    if any(part.column is None or part.collation is not None for part in parts):
        return None
    if any(column.type.kind not in _ONE_TEXT for column in columns):
        return None
    return [_ONE_TEXT[column.type.kind] for column in columns]


def _seed(target: Target, parts: Sequence[IndexPart]) -> int:
    """Tells keys of different tables, and over different columns, apart."""
    text = "\0".join([target.root, *sorted(part.column or part.sql for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _hash_of(parts: Sequence[tuple[str, IndexPart]], seed: int, server_version: int) -> str:
    """SQL for 64 bits that are equal where the unique index finds the values equal."""
    if server_version < 140_000:  # rows cannot be hashed; texts that differ may still be equal then
        hashed = str(seed)
        for sql, _ in parts:
            hashed = f"pg_catalog.hashtextextended(({sql})::text, {hashed})"
        return hashed
    values = []
    for sql, part in parts:
        if part.collation is not None:
            values.append(f"pg_catalog.hashtextextended(({sql})::text COLLATE {part.collation}, 0)")
        elif part.type.is_hashable:
            values.append(f"({sql})")
        else:
            values.append(f"({sql})::text")
    return f"pg_catalog.hash_record_extended(ROW({', '.join(values)}), {seed})"
