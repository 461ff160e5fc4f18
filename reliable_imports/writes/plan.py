"""A kind of write to a table: which rows it takes, and the SQL for one row, for many rows, and for repeated items."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import re
import secrets
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from reliable_imports.errors import ContextMisuse, NullInKey, UnusableTarget
from reliable_imports.postgres.queries import load
from reliable_imports.writes.identifiers import literal, quoted
from reliable_imports.writes.prediction import NEWER, UNREADABLE, Prediction, Refusal, in_the_way
from reliable_imports.writes.target import Column, Index, IndexPart, Target
from reliable_imports.writes.values import Expression, Writer, simple_writers_for, writer_for

_WRITES = load("writes.sql")

SEPARATOR = "\x1e"
NULL = "\x1f"
"""Between the texts of a column, and in place of a text where there is none; a text that holds one is written apart."""

Existing = Literal["update", "rewrite", "keep"]
NullKeys = Literal["fail", "insert"]


@dataclass(frozen=True)
class UniqueIndex:
    """The key of a table by the name of its unique index or constraint, which may be partial or over expressions.

    Attributes:
        name: of the index, or of the constraint, without a schema.
        columns: what it is about, as the columns of a row; they say what an item is about. None need be given.
    """

    name: str
    columns: tuple[str, ...] = ()

    def __init__(self, name: str, *columns: str) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "columns", columns)


class WriteRequest(NamedTuple):
    """What a processor asks for; a plan is made of it once a run.

    Attributes:
        key: the columns of a unique index, or its name; None inserts the row whatever there is.
        existing: what becomes of a row that is there: `update` where it differs, `rewrite` in any case, or `keep`.
        never_updated: columns that are written only when a row is inserted.
        null_keys: a row with NULL in its key, which no other row equals: `fail` or `insert`.
        defaulted: columns that the source did not give, and for which the model has a default: written when a row is
            inserted, if the table has no default of its own.
    """

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...] | UniqueIndex | None = None
    existing: Existing = "update"
    never_updated: tuple[str, ...] = ()
    null_keys: NullKeys = "insert"
    defaulted: tuple[str, ...] = ()


class Write(NamedTuple):
    """One row for a table.

    Attributes:
        texts: a text for each column of the plan, or None.
        expressions: instead of some of them: the column's place, and SQL in which `{}` stands for the text.
        key: the texts of the key; None where the row has no whole key, or only the server can tell it.
        needs_telling: it takes a statement of its own, which tells what became of it.
    """

    plan: Plan
    texts: tuple[str | None, ...]
    expressions: tuple[tuple[int, str], ...]
    key: tuple[str | None, ...] | None
    needs_telling: bool


class Origin(NamedTuple):
    """Where the series of repeats of an item began: its place in the order of deliveries."""

    batch_id: int
    item_number: int


class _RowsGiven(NamedTuple):
    """Rows as texts.

    Attributes:
        query: a SELECT of all of them.
        texts: the names of its columns of texts.
        place: the name of the column that counts the rows.
    """

    query: str
    texts: Sequence[str]
    place: str

    def as_text(self, origins: tuple[str, str] | None) -> str:
        """SQL that joins rows into one text: of each its place, the numbers of its origin, and its texts.

        Args:
            origins: SQL for arrays of the numbers, by place; None if rows are not guarded.
        """
        numbers = [f"({array})[{self.place}]::text" for array in origins or ()]
        cells = f"ARRAY[{', '.join([f'{self.place}::text', *numbers, *self.texts])}]"
        return f"pg_catalog.array_to_string(pg_catalog.array_agg({cells} ORDER BY {self.place}), {_SEPARATOR_AND_NULL})"


class _RowOfKinds(NamedTuple):
    """How a row is written whose values are of certain types.

    Attributes:
        writers: of the places whose values are neither texts nor NULL.
        texts: the places of texts.
        may_take_sql: what a writer gives may be an Expression.
    """

    writers: Sequence[tuple[int, Writer]]
    texts: Sequence[int]
    may_take_sql: bool


class Plan:
    """How rows with some columns are written to a table.

    Attributes:
        single_rows_for: why each row takes a statement of its own, which tells what became of it; empty if none does.
        knows_keys: a row has all columns that its key is made of.
        has_deferrable: constraints of the table may be checked later, and are checked after each item.
        prediction: which rows the server will likely refuse.
        minds_order: another unique index or exclusion constraint than that of the key reads what is written, so rows
            with different keys may get in each other's way.
    """

    def __init__(self, request: WriteRequest, target: Target, *, server_version: int) -> None:
        """
        Raises:
            UnusableTarget: the table lacks a column, or a unique index for the key.
        """
        self.request = request
        self.target = target
        self._index = None if request.key is None or target.takes_plain_inserts else _find_index(target, request.key)
        left_out = {name for name in request.defaulted if name in target.columns and target.columns[name].has_default}
        self._places = tuple(place for place, name in enumerate(request.columns) if name not in left_out)
        self.columns = tuple(request.columns[place] for place in self._places)
        if not self.columns:
            raise ContextMisuse(f"a row for table {request.table} needs at least one column")
        columns = [_known_column(target, name) for name in self.columns]
        self._columns = columns
        self._writers = tuple(writer_for(column.type) for column in columns)
        self._simple_writers = tuple(simple_writers_for(column.type) for column in columns)
        self._rows_of_kinds: dict[tuple[type, ...], _RowOfKinds] = {}
        self._any_row = _RowOfKinds(tuple(enumerate(self._writers)), (), may_take_sql=True)
        self._take_text = tuple(column.type.kind != "json" for column in columns)
        self._casts = tuple(column.type.cast for column in columns)
        self._parts = _key_parts(target, request.key, self._index)
        self._key_columns = _columns_of_key(request.key, self._index)
        read = self._key_columns if self._index is None else self._index.read_by_parts
        self._key_places = tuple(place for place, name in enumerate(self.columns) if name in read)
        self.knows_keys = len(self._key_places) == len(read)
        if request.key is not None and (missing := [name for name in self._key_columns if name not in self.columns]):
            raise ContextMisuse(f"the row for {request.table} lacks its key: {', '.join(missing)}")
        for name in set(request.never_updated).difference(target.columns):
            _known_column(target, name)
        self._index_is_plain = self._index is not None and self._index.is_plain
        self._nulls_are_equal = self._index is not None and self._index.nulls_are_equal
        key_types = [columns[place].type.kind for place in self._key_places]
        self._keys_are_plain = all(part.column is not None and part.collation is None for part in self._parts) and all(
            kind in _ONE_TEXT for kind in key_types
        )
        self._key_patterns = tuple(_ONE_TEXT.get(kind) for kind in key_types)
        self._seed = _seed(target, self._parts)
        self._server_version = server_version
        self.has_key = bool(self._parts)
        # A text is read as the fields of `interval day` say only where it is a constant.
        has_fields = any(_HAS_FIELDS.match(column.exact_type) for column in columns)
        own_reasons = {
            "rows that are there are to be kept": request.existing == "keep",
            "an interval of certain fields": has_fields,
            "rows that lack a part of the key": not self.knows_keys,
            # Only the stored row tells whether it is one of those that it is over.
            "a partial index": self._index is not None and self._index.predicate is not None,
        }
        self.single_rows_for = (*target.single_rows_for, *[words for words, is_so in own_reasons.items() if is_so])
        self.needs_single_rows = bool(self.single_rows_for)
        self.has_deferrable = target.has_deferrable
        self.returns_key = self.has_key and not target.has_rules
        self._tells_moves = self.returns_key and self.knows_keys and target.has_triggers
        self._is_upsert = self._index is not None or (
            request.key is not None and target.is_view and not target.takes_plain_inserts
        )
        self._spares_sequence = (
            self._is_upsert
            and self.knows_keys
            and request.existing == "update"
            and self._index_is_plain
            and any(column.has_sequence for column in target.columns.values() if column.name not in self.columns)
        )
        names = ", ".join(map(quoted, self.columns))
        overriding = " OVERRIDING SYSTEM VALUE" if any(column.is_always_identity for column in columns) else ""
        self._into = f"INSERT INTO {target.name} AS stands ({names}){overriding} "
        self._changed = [
            quoted(column.name)
            for column in columns
            if column.name not in self._plain_key_columns()
            and column.name not in request.never_updated
            and column.name not in request.defaulted
            and not column.is_always_identity
        ]
        written = frozenset(self.columns)
        self.minds_order = target.has_exclusions or any(
            index is not self._index and (index.reads | index.columns) & written for index in target.indexes
        )
        self.prediction = Prediction(target, columns, server_version, key=self._index)
        self.head = f"{self._into}VALUES "
        self.tail = self._on_conflict(self._where_it_differs()) if self._is_upsert else ""

    # A row

    def write(self, values: Collection[Any]) -> Write:
        """The row as texts; *values* are in the order of the request's columns.

        Raises:
            ContextMisuse: a value cannot be written to its column.
            NullInKey: the key has no value, and the request says that it must.
        """
        if len(self._places) != len(values):
            given = list(values)
            values = [given[place] for place in self._places]
        try:
            row = self._row_of(values)
            try:
                written = self._written(values, row)
            except ValueError:  # a number that is longer than Python prints
                row = self._any_row
                written = self._written(values, row)
        except ContextMisuse:
            self._name_the_column(values)
            raise
        if not row.may_take_sql:
            return self._write_of(tuple(written), ())
        expressions = tuple((place, each.sql) for place, each in enumerate(written) if isinstance(each, Expression))
        texts = tuple([each.text if isinstance(each, Expression) else each for each in written])
        return self._write_of(texts, expressions)

    def _written(self, values: Collection[Any], row: _RowOfKinds) -> list[Any]:
        written = list(values)
        for place, write in row.writers:
            written[place] = write(written[place])
        for place in row.texts:
            text = written[place]
            if not text.isascii() or "\0" in text:
                written[place] = self._writers[place](text)
        return written

    def _row_of(self, values: Collection[Any]) -> _RowOfKinds:
        """How values of these types are written: most rows have those of one that was met before."""
        kinds = tuple(map(type, values))
        known = self._rows_of_kinds.get(kinds)
        if known is not None:
            return known
        if len(self._rows_of_kinds) >= _MAX_KINDS:  # any of many columns may have a NULL, or none
            return self._any_row
        writers: list[tuple[int, Writer]] = []
        texts = []
        may_take_sql = False
        for place, kind in enumerate(kinds):
            if kind is str and self._take_text[place]:
                texts.append(place)
            elif kind is not type(None):
                simple = self._simple_writers[place].get(kind)
                writers.append((place, simple or self._writers[place]))
                may_take_sql = may_take_sql or simple is None
        row = self._rows_of_kinds[kinds] = _RowOfKinds(writers, texts, may_take_sql)
        return row

    def _name_the_column(self, values: Collection[Any]) -> None:
        for column, write, value in zip(self.columns, self._writers, values, strict=True):
            try:
                write(value)
            except ContextMisuse as error:
                place = f"column {column} of table {self.request.table}"
                raise ContextMisuse(f"{place}: {error}", about=place) from None

    def _write_of(self, texts: tuple[str | None, ...], expressions: tuple[tuple[int, str], ...]) -> Write:
        if not self.has_key:
            return Write(self, texts, expressions, None, self.needs_single_rows)
        if not self.knows_keys:
            return Write(self, texts, expressions, None, True)
        key: tuple[str | None, ...] = tuple([texts[place] for place in self._key_places])
        if None in key and not self._nulls_are_equal:
            taken = {place for place, _ in expressions}
            missing = [self.columns[p] for p in self._key_places if texts[p] is None and p not in taken]
            if missing and self.request.null_keys == "fail":
                raise NullInKey(self.request.table, sorted(self._key_columns), missing)
            # Of an expression, such as one with coalesce(), only the server can tell.
            if not self._plain_key_columns().isdisjoint(missing):
                return Write(self, texts, expressions, None, self.needs_single_rows)
        # What only psycopg2 could write may be another value the next time it is asked for.
        if expressions and any(texts[place] is None for place, _ in expressions if place in self._key_places):
            return Write(self, texts, expressions, None, True)
        return Write(self, texts, expressions, key, self.needs_single_rows)

    def key_expressions(self, write: Write) -> tuple[tuple[int, str], ...]:
        """Those of the row's expressions that its key is made of."""
        return tuple(each for each in write.expressions if each[0] in self._key_places)

    def _sql_of(self, write: Write) -> list[str]:
        """SQL for each value of the row."""
        parts = list(map(literal, write.texts))
        for place, expression in write.expressions:
            parts[place] = expression.format(parts[place])
        return parts

    def values(self, write: Write) -> str:
        """The row in parentheses, as it stands behind VALUES."""
        return f"({', '.join(self._sql_of(write))})"

    def show_equal_keys(self, keys: Iterable[Sequence[str | None]]) -> bool:
        """Whether keys that are equal to the server are sure to have the same texts."""
        if not self._keys_are_plain:
            return False
        patterns = [(place, pattern) for place, pattern in enumerate(self._key_patterns) if pattern is not None]
        return not patterns or all(
            (text := key[place]) is None or pattern.fullmatch(text) is not None
            for key in keys
            for place, pattern in patterns
        )

    # Statements for one row

    def statement(self, write: Write, returning: str | None = None) -> str:
        """The plain INSERT of one row, which tells how many rows it touched, and the column that is asked for."""
        answer = "" if returning is None else f" RETURNING stands.{quoted(returning)}"
        return f"{self.head}{self.values(write)}{self.tail}{answer}"

    def telling_statement(self, write: Write, origin: Origin | None = None, returning: str | None = None) -> str:
        """The INSERT of one row that leaves in a setting what it has met; see `may_update`.

        It returns the key of the row as it is stored, if `returns_key`, whether that is the key that was given, where
        triggers may have changed it, and the column that is asked for.

        Args:
            origin: of an item that is repeated, which must not overwrite what was delivered later.
        """
        guard = f"{origin.batch_id}, {origin.item_number}" if origin is not None and self.has_key else "NULL, NULL"
        if self._is_upsert:
            text = f"{self.head}{self.values(write)}{self._on_conflict(self._may_update(guard))}"
        elif origin is not None and self.has_key:
            given = f"(SELECT {self._hash('')} FROM ({self._given(write)}) AS given)"
            row = f"SELECT {', '.join(quoted(name) for name in self.columns)} FROM ({self._given(write)}) AS given"
            text = f"{self._into}{row} WHERE reliable_imports.may_update_v1(true, {given}, {guard})"
        else:
            text = f"{self.head}{self.values(write)}"
        returned = [self._stored_key()] if self.returns_key else []
        if self._tells_moves:
            given = f"(SELECT {self._hash('')} FROM ({self._given(write)}) AS given)"
            returned.append(f"({self._stored_key()}) IS NOT DISTINCT FROM {given}")
        if returning is not None:
            returned.append(f"stands.{quoted(returning)}")
        return text + (f" RETURNING {', '.join(filter(None, returned))}" if returned else "")

    def standing_row(self, write: Write, returning: str) -> str:
        """A SELECT of a column of the row that an upsert of this key meets."""
        conditions = []
        given = dict(zip(self.columns, self._sql_of(write), strict=True))
        for part in self._parts:
            if part.column is not None:
                value = given[part.column]
                test = "IS NULL" if value == "NULL" else f"= {value}"
                conditions.append(f"stands.{quoted(part.column)} {test}")
            else:
                conditions.append(f"({part.sql}) = (SELECT {part.sql} FROM ({self._given(write)}) AS given)")
        if self._index is not None and self._index.predicate is not None:
            conditions.append(f"({self._index.predicate})")
        return f"SELECT {quoted(returning)} FROM {self.target.name} AS stands WHERE {' AND '.join(conditions)}"

    def standing_rows(self, writes: Sequence[Write]) -> str:
        """A SELECT of the rows that stand under the keys of *writes*: the place in *writes*, and all columns."""
        names = [quoted(f"reliable_imports key {number}") for number in range(len(self._parts))]
        place = quoted("reliable_imports place")
        rows = []
        for number, write in enumerate(writes):
            given = dict(
                zip(self.columns, self._typed(list(map(literal, write.texts)), write.expressions), strict=True)
            )
            keys = [
                given[part.column]
                if part.column is not None
                else f"(SELECT {part.sql} FROM ({self._given(write)}) AS given)"
                for part in self._parts
            ]
            rows.append(f"({', '.join([str(number), *keys])})")
        is_equal = "IS NOT DISTINCT FROM" if self._nulls_are_equal else "="
        conditions = [
            f"({part.sql}) {is_equal} given.{name}"
            if part.column is None
            else f"stands.{quoted(part.column)} {is_equal} given.{name}"
            for part, name in zip(self._parts, names, strict=True)
        ]
        if self._index is not None and self._index.predicate is not None:
            conditions.append(f"({self._index.predicate})")
        return (
            f"SELECT given.{place}, stands.* FROM (VALUES {', '.join(rows)}) AS given ({', '.join([place, *names])}) "
            f"JOIN {self.target.name} AS stands ON {' AND '.join(conditions)}"
        )

    def always_inserts(self, write: Write) -> bool:
        """Whether the row meets no other one: it has no key, or NULL in it."""
        if self.request.key is None:
            return True
        if not self.knows_keys or self._nulls_are_equal:
            return False
        taken = {place for place, _ in write.expressions}
        return any(write.texts[place] is None and place not in taken for place in self._key_places)

    def _given(self, write: Write) -> str:
        """A SELECT of the row as it was given, by column, typed."""
        return "SELECT " + ", ".join(
            f"({value})::{cast} AS {quoted(name)}"
            for value, cast, name in zip(self._sql_of(write), self._casts, self.columns, strict=True)
        )

    # Statements for many rows

    def guards(self, origins: Sequence[Origin | None]) -> bool:
        """Whether rows of such items must not overwrite what was delivered later."""
        return self.has_key and any(origins)

    def statement_of_all(
        self,
        writes: Sequence[Write],
        origins: Sequence[Origin | None],
        suspected: AbstractSet[Refusal],
        *,
        told: str,
        rows_left: str,
    ) -> str | None:
        """A statement that writes the rows at once, but for those that are suspected; None if a text holds a separator.

        All *writes* have the same expressions. See `write_as_one_v1`.

        Args:
            origins: of the rows' items.
            suspected: the refusals that are looked for.
            told: the name of the setting that holds the answer afterwards.
            rows_left: likewise, of the rows that are left.
        """
        columns = columns_of_texts([write.texts for write in writes])
        if columns is None:
            return None
        is_guarded = self.guards(origins)
        given = self._rows_given([f"$1[{number}]" for number in range(1, len(columns) + 1)], len(writes))
        numbers = _numbers_of(origins) if is_guarded else None
        insert = self._insert_of_all(
            given, given.as_text(numbers and ("$2", "$3")), writes[0].expressions, suspected, is_guarded=is_guarded
        )
        batches, items = numbers or ("NULL", "NULL")
        return _WRITES["write_as_one"].format(
            statement=literal(insert),
            columns=", ".join(map(literal, columns)),
            origin_batches=batches,
            origin_items=items,
            told=literal(told),
            rows_left=literal(rows_left),
        )

    def statement_of_none(
        self, writes: Sequence[Write], origins: Sequence[Origin | None], *, told: str, rows_left: str
    ) -> str | None:
        """Like `statement_of_all`, but all rows are left."""
        columns = columns_of_texts([write.texts for write in writes])
        if columns is None:
            return None
        given = self._rows_given(list(map(literal, columns)), len(writes))
        left = given.as_text(_numbers_of(origins) if self.guards(origins) else None)
        rows = f"SELECT {left} FROM ({given.query}) AS texts"
        return _WRITES["leave_rows"].format(rows=rows, told=literal(told), rows_left=literal(rows_left))

    def _rows_given(self, columns: Sequence[str], count: int) -> _RowsGiven:
        """
        Args:
            columns: SQL for the joined texts of each.
        """
        texts = [f"c{number}" for number in range(1, len(columns) + 1)]
        place = quoted(next(name for name in map("place{}".format, itertools.count()) if name not in self.columns))
        cut = [f"pg_catalog.unnest({_cut(column)}) AS {text}" for column, text in zip(columns, texts, strict=True)]
        cut.append(f"pg_catalog.generate_series(1, {count}) AS {place}")
        return _RowsGiven(f"SELECT {', '.join(cut)}", texts, place)

    def block_of_the_rest(
        self,
        write: Write,
        origins: Sequence[Origin | None],
        suspected: AbstractSet[Refusal],
        *,
        told: str,
        rows_left: str,
        together: int,
    ) -> str:
        """A block that writes the rows one by one that the statement of all has left, and tells which are refused, and
        which are left for newer data.

        Nobody may have altered the table since the plan was made: the block raises RI002 then. See `write_left_rows`.

        Args:
            write: one of the rows.
            origins: of all rows' items.
            suspected: what the statement of all has looked for.
            together: how many rows share a subtransaction at most.
        """
        is_guarded = self.guards(origins)
        width = len(self.columns) + (3 if is_guarded else 1)
        cells = [f"cells[at + {number}]" for number in range(width - len(self.columns) + 1, width + 1)]
        insert = f"{self._into}VALUES ({', '.join(self._typed(cells, write.expressions))})"
        if is_guarded:
            # What stands behind ON CONFLICT may name columns of the table.
            origin = "block.cells[block.at + 2]::bigint, block.cells[block.at + 3]::bigint"
            insert += f"{self._on_conflict(self._may_update(origin))}; {_WRITES['note_fate'].format(width=width)}"
        else:
            insert += self.tail
        return _WRITES["write_left_rows"].format(
            tag=f"$rows_{secrets.token_hex(8)}$",
            table=self.target.name,
            unaltered=self._unaltered(),
            together=together,
            in_the_way=in_the_way(suspected),
            insert=insert,
            told=literal(told),
            cells=_cut(f"pg_catalog.current_setting({literal(rows_left)})"),
            width=width,
        )

    def _insert_of_all(
        self,
        rows: _RowsGiven,
        left: str,
        expressions: Sequence[tuple[int, str]],
        suspected: AbstractSet[Refusal],
        *,
        is_guarded: bool,
    ) -> str:
        """A statement that inserts all rows but those that are suspected, and returns these.

        If rows are guarded, it also returns the places of the rows that it inserts, and their keys.

        Args:
            left: an aggregate of rows into what is returned.
            suspected: the refusals that are looked for.
        """
        query, texts, place = rows
        names = [quoted(name) for name in self.columns]
        typed = self._typed(texts, expressions)
        given = ", ".join(f"{each} AS {name}" for each, name in zip(typed, names, strict=True))
        unreadable = None
        if UNREADABLE in suspected:
            unreadable = self.prediction.unreadable(texts, [number for number, _ in expressions])
        suspects = self.prediction.suspects(suspected, place)
        looks_for_newer = is_guarded and NEWER in suspected and self._index_is_plain
        if looks_for_newer:
            suspects.append(f"SELECT {place} FROM given WHERE {place} IN (TABLE newer) AND {self._stands()}")
        # What is read more than once is made once.
        made = "AS MATERIALIZED" if suspects or unreadable is not None or is_guarded else "AS"
        parts = [f"texts {made} ({query})"]
        readable = ""
        if unreadable is not None:
            parts.append(f"unreadable {made} (SELECT {place} FROM texts WHERE {unreadable})")
            readable = f" WHERE {place} NOT IN (SELECT {place} FROM unreadable)"
            suspects.append(f"SELECT {place} FROM unreadable")
        parts.append(f"given {made} (SELECT {given}, {place} FROM texts{readable})")
        if is_guarded:
            parts.append(f"keyed AS MATERIALIZED ({self._keys_given(place)})")
        if looks_for_newer:
            keys = f"ARRAY(SELECT {place} FROM keyed), ARRAY(SELECT row_key FROM keyed)"
            parts.append(f"newer AS MATERIALIZED (SELECT reliable_imports.newer_rows_v1({keys}, $2, $3))")
        conditions = []
        left_out, inserted = "NULL::text", ""
        if suspects:
            parts.append(f"suspect {made} ({' UNION '.join(suspects)})")
            conditions.append(f"given.{place} NOT IN (SELECT {place} FROM suspect)")
            left_out = f"(SELECT {left} FROM texts WHERE {place} IN (SELECT {place} FROM suspect))"
            inserted = f" WHERE {place} NOT IN (SELECT {place} FROM suspect)"
        if self._spares_sequence:
            conditions.append(f"NOT EXISTS ({self._unchanged_row()})")
        # What joins the rows to others need not keep their order.
        which = f" WHERE {' AND '.join(conditions)} ORDER BY given.{place}" if conditions else ""
        parts.append(f"written AS ({self._into}SELECT {', '.join(names)} FROM given{which}{self.tail})")
        told = [left_out]
        if is_guarded:
            told += [f"ARRAY(SELECT {each} FROM keyed{inserted})" for each in (place, "row_key")]
        return f"WITH {', '.join(parts)} SELECT {', '.join(told)} WHERE {self._unaltered()}"

    def _keys_given(self, place: str) -> str:
        """A SELECT of the places and keys of the rows `given`."""
        names = [self.columns[each] for each in self._key_places]
        exact = [f"{quoted(name)}::{self.target.columns[name].exact_type} AS {quoted(name)}" for name in names]
        return (
            f"SELECT {place}, {self._hash('')} AS row_key FROM (SELECT {place}, {', '.join(exact)} FROM given) AS given"
        )

    def _stands(self) -> str:
        """Whether a row `given` is there already; its index is over columns alone."""
        return f"EXISTS ({self._standing_row_given()})"

    def _typed(self, texts: Sequence[str], expressions: Iterable[tuple[int, str]]) -> list[str]:
        """SQL for the values of the columns, of SQL for their texts."""
        typed = [f"{text}::{cast}" for text, cast in zip(texts, self._casts, strict=True)]
        for place, expression in expressions:
            typed[place] = expression.format(texts[place])
        return typed

    def _unaltered(self) -> str:
        return f"reliable_imports.require_version_v1({literal(self.target.name)}, {literal(self.target.version)})"

    @property
    def spares_sequence(self) -> bool:
        """Whether rows that are there already must not take numbers from a sequence."""
        return self._spares_sequence

    def _standing_row_given(self) -> str:
        """A SELECT of the row that stands under the key of a row `given`."""
        keys = [f"stands.{quoted(name)} = given.{quoted(name)}" for name in sorted(self._plain_key_columns())]
        return f"SELECT FROM {self.target.name} AS stands WHERE {' AND '.join(keys)}"

    def _unchanged_row(self) -> str:
        changed = set(self._changed)
        pairs = [
            (f"stands.{quoted(name)}::{cast}", f"given.{quoted(name)}")
            for name, cast in zip(self.columns, self._casts, strict=True)
            if quoted(name) in changed
        ]
        same = ""
        if pairs:
            stands, given = zip(*pairs, strict=True)
            same = f" AND ROW({', '.join(stands)})::record OPERATOR(pg_catalog.*=) ROW({', '.join(given)})::record"
        return self._standing_row_given() + same

    def keys_query(
        self,
        expressions: Iterable[tuple[int, str]],
        numbers: Sequence[int],
        keys: Sequence[tuple[str | None, ...]],
    ) -> str:
        """A SELECT of item numbers and the keys of their rows, hashed as the server compares them.

        Args:
            expressions: the `key_expressions` that all of these rows have.
        """
        texts = columns_of_texts(keys)
        if texts is None:  # a text with a separator in it: one at a time, and this one by values
            if len(numbers) > 1:
                return " UNION ALL ".join(
                    self.keys_query(expressions, [number], [key]) for number, key in zip(numbers, keys, strict=True)
                )
            cut = [f"{literal(text)}::text AS c{number}" for number, text in enumerate(keys[0], 1)]
        else:
            cut = [f"pg_catalog.unnest({_cut(literal(text))}) AS c{number}" for number, text in enumerate(texts, 1)]
        instead = dict(expressions)
        exact = []
        for number, place in enumerate(self._key_places, 1):
            name = self.columns[place]
            value = instead.get(place, "{}").format(f"c{number}")
            exact.append(f"({value})::{self.target.columns[name].exact_type} AS {quoted(name)}")
        # A column of the key may be called item_number.
        item = quoted("reliable_imports item")
        items = f"pg_catalog.unnest('{{{','.join(map(str, numbers))}}}'::bigint[]) AS {item}"
        return (
            f"SELECT {item} AS item_number, {self._key_of('')} AS row_key "
            f"FROM (SELECT {item}, {', '.join(exact)} FROM (SELECT {items}, {', '.join(cut)}) AS texts) AS given"
        )

    # Parts of statements

    def _plain_key_columns(self) -> set[str]:
        return {part.column for part in self._parts if part.column is not None}

    def _on_conflict(self, condition: str | None) -> str:
        assignments = ", ".join(f"{name} = EXCLUDED.{name}" for name in self._changed)
        if not assignments:  # the server wants one, and takes none of a column that it numbers itself
            columns = [self.target.columns[name] for name in (*sorted(self._key_columns), *self.target.columns)]
            same = next((each for each in columns if not each.is_always_identity and not each.is_generated), columns[0])
            assignments = f"{quoted(same.name)} = stands.{quoted(same.name)}"
        where = "" if condition is None else f" WHERE {condition}"
        return f" ON CONFLICT {self._arbiter()} DO UPDATE SET {assignments}{where}"

    def _arbiter(self) -> str:
        index = self._index
        if index is None:  # a view: the server knows the table behind it
            return f"({', '.join(map(quoted, sorted(self._key_columns)))})"
        if index.is_constraint:
            return f"ON CONSTRAINT {quoted(index.name)}"
        parts = ", ".join(part.sql if part.column is not None else f"({part.sql})" for part in index.parts)
        return f"({parts})" + ("" if index.predicate is None else f" WHERE {index.predicate}")

    def _may_update(self, guard: str) -> str:
        """Whether a row that is met is to be updated, which leaves in a setting what was found.

        Args:
            guard: SQL for the two numbers of an origin.
        """
        differs = {"update": self._differs(), "rewrite": "true", "keep": "NULL"}[self.request.existing]
        return f"reliable_imports.may_update_v1({differs}, {self._key_of('stands') or 'NULL'}, {guard})"

    def _where_it_differs(self) -> str | None:
        return None if self.request.existing == "rewrite" else self._differs()

    def _differs(self) -> str:
        """Compared as stored, byte by byte: every type has that, and 1.0 is not 1.00."""
        if not self._changed:
            return "false"
        stands = ", ".join(f"stands.{name}" for name in self._changed)
        given = ", ".join(f"EXCLUDED.{name}" for name in self._changed)
        return f"ROW({stands})::record OPERATOR(pg_catalog.*<>) ROW({given})::record"

    def _key_of(self, row: str) -> str | None:
        """The key of a row, hashed; of the only row there is if *row* is empty."""
        if not self._parts:
            return None
        if row and any(part.column is None for part in self._parts):
            # What an index is over names its columns alone.
            return f"(SELECT {self._hash('')} FROM (SELECT {row}.*) AS it)"
        return self._hash(f"{row}." if row else "")

    def _stored_key(self) -> str | None:
        """The key of a row that was written; NULL if a partial index is not over such rows."""
        key = self._key_of("stands")
        if self._index is None or self._index.predicate is None:
            return key
        return f"CASE WHEN (SELECT {self._index.predicate} FROM (SELECT stands.*) AS it) THEN {key} END"

    def _hash(self, prefix: str) -> str:
        # By name: a view and its table are to agree.
        ordered = sorted(self._parts, key=lambda part: part.column or part.sql)
        parts = [part.sql if part.column is None else prefix + quoted(part.column) for part in ordered]
        hashed = hash_of(list(zip(parts, ordered, strict=True)), self._seed, self._server_version)
        if self._nulls_are_equal:
            return hashed
        return f"CASE WHEN {' AND '.join(f'({part}) IS NOT NULL' for part in parts)} THEN {hashed} END"


_SEPARATOR_AND_NULL = r"E'\x1e', E'\x1f'"
_MAX_KINDS = 100
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

_HAS_FIELDS = re.compile(r"interval [a-z]")


def hash_of(parts: Sequence[tuple[str, IndexPart]], seed: int, server_version: int) -> str:
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


def columns_of_texts(rows: Sequence[Sequence[str | None]]) -> list[str] | None:
    """One text for each column, its values separated by SEPARATOR; None if a value holds what stands between them."""
    texts = []
    for values in zip(*rows, strict=True):
        try:
            text = SEPARATOR.join(values)
        except TypeError:
            text = SEPARATOR.join([NULL if value is None else value for value in values])
            if text.count(NULL) != values.count(None):
                return None
        else:
            if NULL in text:
                return None
        # An empty text alone would be cut into nothing.
        if text.count(SEPARATOR) != len(rows) - 1 or not text:
            return None
        texts.append(text)
    return texts


def _numbers_of(origins: Iterable[Origin | None]) -> tuple[str, str]:
    """SQL for the numbers of the batches and those of the items, as arrays."""
    batches, items = zip(*[origin or ("NULL", "NULL") for origin in origins], strict=True)
    return f"'{{{','.join(map(str, batches))}}}'::bigint[]", f"'{{{','.join(map(str, items))}}}'::integer[]"


def _cut(sql: str) -> str:
    """SQL that cuts a text into the values that were joined; the text as SQL."""
    return f"pg_catalog.string_to_array({sql}, {_SEPARATOR_AND_NULL})"


def _known_column(target: Target, name: str) -> Column:
    column = target.columns.get(name)
    if column is None:
        close = difflib.get_close_matches(name, target.columns, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(target.columns)}"
        raise UnusableTarget(f"table {target.name} has no column {name}; {hint}")
    if column.is_generated:
        raise UnusableTarget(f"column {name} of table {target.name} is generated by the database; do not write it")
    return column


def _find_index(target: Target, key: tuple[str, ...] | UniqueIndex) -> Index | None:
    """The unique index that ON CONFLICT is to use; None for a view, behind which the server looks itself.

    Raises:
        UnusableTarget: there is none; says how to make one.
    """
    if target.is_view:
        return None
    if isinstance(key, UniqueIndex):
        found = [index for index in target.indexes if index.name == key.name]
        if not found:
            known = ", ".join(index.name for index in target.indexes) or "none"
            raise UnusableTarget(f"table {target.name} has no unique index {key.name}; its unique indexes: {known}")
    else:
        for name in key:
            _known_column(target, name)
        found = _indexes_over(target, frozenset(key))
        columns = ", ".join(map(quoted, key))
        if not found:
            raise UnusableTarget(
                f"table {target.name} has no unique index on ({columns}), which an upsert by that key needs: "
                f"CREATE UNIQUE INDEX ON {target.name} ({columns}); or name another key"
            )
        if len(found) > 1 and not found[0].is_plain:
            names = ", ".join(index.name for index in found)
            raise UnusableTarget(
                f"table {target.name} has several partial or expression indexes over ({columns}): {names}; "
                f"name one of them, as in key = UniqueIndex({found[0].name!r})"
            )
    deferrable = [index for index in found if not index.is_immediate]
    # Where the columns alone name the index, the server takes a deferrable one along, and refuses it.
    usable = [index for index in found if index.is_immediate and (index.is_constraint or not deferrable)]
    if not usable:
        columns = ", ".join(part.sql for part in found[0].parts)
        raise UnusableTarget(
            f"the unique constraint {deferrable[0].name} of table {target.name} is deferrable, and ON CONFLICT cannot "
            f"use it; make it NOT DEFERRABLE, or add one that is: ALTER TABLE {target.name} ADD UNIQUE ({columns})"
        )
    return usable[0]


def _indexes_over(target: Target, key: frozenset[str]) -> list[Index]:
    """Plain ones over exactly these columns; if there are none, partial and expression ones."""
    plain = [index for index in target.indexes if index.is_plain and index.columns == key]
    return plain or [
        index
        for index in target.indexes
        if not index.is_plain
        and index.columns <= key
        and key <= index.reads
        and (index.predicate is not None or index.reads == key)
        and (any(part.column is None for part in index.parts) or index.columns == key)
    ]


def _key_parts(target: Target, key: tuple[str, ...] | UniqueIndex | None, index: Index | None) -> tuple[IndexPart, ...]:
    if index is not None:
        return index.parts
    columns = key.columns if isinstance(key, UniqueIndex) else key or ()
    return tuple(
        IndexPart(column.name, quoted(column.name), column.type, None)
        for column in [_known_column(target, name) for name in columns]
    )


def _columns_of_key(key: tuple[str, ...] | UniqueIndex | None, index: Index | None) -> frozenset[str]:
    """The columns that a row must have to be found by its key."""
    if isinstance(key, tuple):
        return frozenset(key)
    if isinstance(key, UniqueIndex) and key.columns:
        return frozenset(key.columns)
    if index is not None and all(part.column is not None for part in index.parts):
        return index.columns
    return frozenset() if index is None else index.reads


def _seed(target: Target, parts: Sequence[IndexPart]) -> int:
    """Tells keys of different tables, and over different columns, apart."""
    text = "\0".join([target.root, *sorted(part.column or part.sql for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
