"""The values of a row become texts, as its columns take them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from reliable_imports.errors import ContextMisuse
from reliable_imports.writes.target import Column
from reliable_imports.writes.values import Expression, Writer, simple_writers_for, writer_for

_MAX_KINDS = 100

Texts = tuple[str | None, ...]
"""A text for each column, or None."""

Expressions = tuple[tuple[int, str], ...]
"""Instead of some of the texts: the column's place, and SQL in which `{}` stands for the text."""


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


class RowTexts:
    """Writes the values of rows with some columns of a table as texts.

    Most rows have values of the same types as one before them, and what was found out for that one is used again.
    """

    def __init__(self, table: str, columns: Sequence[Column], places: Sequence[int]) -> None:
        """
        Args:
            table: as the processor calls it.
            places: those of the columns among the values that are given.
        """
        self._table = table
        self._columns = [column.name for column in columns]
        self._places = places
        self._writers = tuple(writer_for(column.type) for column in columns)
        self._simple_writers = tuple(simple_writers_for(column.type) for column in columns)
        self._take_text = tuple(column.type.kind != "json" for column in columns)
        self._any_row = _RowOfKinds(tuple(enumerate(self._writers)), (), may_take_sql=True)
        self._rows_of_kinds: dict[tuple[type, ...], _RowOfKinds] = {}

    def of(self, values: Collection[Any]) -> tuple[Texts, Expressions]:
        """The row as texts.

        Raises:
            ContextMisuse: a value cannot be written to its column.
        """
        if len(self._places) != len(values):
            given = list(values)
            values = [given[place] for place in self._places]
        kinds = tuple(map(type, values))
        row = self._rows_of_kinds.get(kinds) or self._row_of(kinds)
        try:
            try:
                written = self._written(values, row)
            except ValueError:  # a number that is longer than Python prints
                row = self._any_row
                written = self._written(values, row)
        except ContextMisuse:
            self._name_the_column(values)
            raise
        if not row.may_take_sql:
            return tuple(written), ()
        texts = tuple([each.text if isinstance(each, Expression) else each for each in written])
        return texts, tuple((place, each.sql) for place, each in enumerate(written) if isinstance(each, Expression))

    def _written(self, values: Collection[Any], row: _RowOfKinds) -> list[Any]:
        written = list(values)
        for place, write in row.writers:
            written[place] = write(written[place])
        for place in row.texts:
            text = written[place]
            if not text.isascii() or "\0" in text:
                written[place] = self._writers[place](text)
        return written

    def _row_of(self, kinds: tuple[type, ...]) -> _RowOfKinds:
        """How values of these types are written, which were not met before."""
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
        for column, write, value in zip(self._columns, self._writers, values, strict=True):
            try:
                write(value)
            except ContextMisuse as error:
                place = f"column {column} of table {self._table}"
                raise ContextMisuse(f"{place}: {error}", about=place) from None
